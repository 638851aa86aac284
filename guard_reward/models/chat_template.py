"""Conversations → token ids through a chat template, so that content cannot forge special tokens.

A guard reads text that its adversary wrote, and a chat template escapes nothing: a rollout that contains ``<|im_end|>``
would end the guard's turn and could speak for the guard. Here only the template itself can produce special tokens;
content is encoded as ordinary text. Text without special tokens gets exactly the ids of
``tokenizer.apply_chat_template(messages, tokenize=True)``.

Conversations are encoded many at a time: one call of the tokenizer, which uses all cores, and, for templates that only
copy contents (`guard_reward.models.copying_template`), one rendering per sequence of roles.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guard_reward.conversation import Message, Turns, normalize
from guard_reward.models.alternating import alternating
from guard_reward.models.copying_template import copies_contents
from guard_reward.models.wrapping import wrapped

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase

__all__ = ["Ids", "Prompter", "instruction_hash", "own_template"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_LAYOUTS = 256  # sequences of roles whose rendering is kept
Ids = NDArray[np.int64]
"""Token ids, shape (tokens,)."""


def own_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The tokenizer's chat template; of several, the one named ``default``. None if it has none.

    Raises:
        ValueError: several templates, but none is named ``default``.
    """
    return tokenizer.get_chat_template() if tokenizer.chat_template else None


def instruction_hash(wrapping: Mapping[str, str], options: Mapping[str, Any], template: str = "") -> str:
    """The first 16 hex digits of the SHA-256 of a template and of what it is given: for the run's record."""
    given = json.dumps([dict(wrapping), dict(options)], default=str) if wrapping or options else ""
    return hashlib.sha256((template + given).encode()).hexdigest()[:16]


class Prompter:
    """Encodes conversations with one tokenizer and one chat template.

    Special tokens are hard boundaries of tokenisation, so the rendered text can be cut at them and the pieces encoded
    one by one. The template's special tokens are told from forged ones in one of two ways:

    - A template that only copies contents is rendered with place holders. What it wrote around them is cut at the
      special tokens and kept; contents are put in afterwards.
    - For any other template, every place in the conversation where a special token could begin is marked before
      rendering; a marked place cannot match a special token, whole or put together from several messages. The marks are
      removed before the pieces are encoded.

    Args:
        tokenizer: of the checkpoint.
        template: a Jinja template over ``messages``; by default the tokenizer's own chat template.
        roles: which roles the template shows; see `guard_reward.conversation.normalize`.
        wrapping: the messages that the template is given in the conversation's stead (`guard_reward.models.wrapping`).
        options: further variables of the template, such as ``add_generation_prompt``.
        alternates: whether the template refuses neighbouring turns of one role, so that they are joined.

    Some templates show a content only if it is a list of parts, ``[{"type": "text", "text": …}]``; some refuse the role
    ``system``, and a wrapping's system message becomes part of the user's then. Both is found out by trying.

    Raises:
        ValueError: there is no chat template, or the tokenizer has no special tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str | None = None,
        roles: Collection[str] = ("system", "user", "assistant"),
        wrapping: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        alternates: bool = False,
    ):
        self.tokenizer = tokenizer
        found = template or own_template(tokenizer)
        self.roles, self._alternates = tuple(roles), alternates
        self.wrapping, self.options = dict(wrapping or {}), dict(options or {})
        if not found:
            raise ValueError(
                "the tokenizer has no chat template; a guard checkpoint such as Qwen3Guard-Gen brings its own "
                "(chat_template.jinja next to tokenizer.json), and other guards need GuardSpec(chat_template=...)"
            )
        self.template: str = found
        if not tokenizer.all_special_tokens:
            raise ValueError("the tokenizer has no special tokens: is it a chat model's tokenizer?")
        added = {token.content: token for token in tokenizer.added_tokens_decoder.values() if token.special}
        # Longest first, so that no token is cut short by one that it begins with.
        self.special_tokens = tuple(sorted({*tokenizer.all_special_tokens, *added}, key=lambda t: (-len(t), t)))
        self._ids = {token: tokenizer.convert_tokens_to_ids(token) for token in self.special_tokens}
        patterns = (_with_swallowed_blanks(token, added.get(token)) for token in self.special_tokens)
        self._special = re.compile("(" + "|".join(patterns) + ")")
        self._first_characters = {token[0] for token in self.special_tokens if len(token) > 1}
        self._lone_characters = [token for token in self.special_tokens if len(token) == 1]
        templates = (found, *self.wrapping.values())
        self._characters = frozenset().union(*templates, *self.special_tokens)  # a mark is none of them
        self._takes_parts = False
        if not self._finds_form() and "system" in self.wrapping:
            self._join_system()
        # A token that takes the blanks beside it would take those of a content too.
        takes_blanks = any(token.lstrip or token.rstrip for token in added.values())
        self._copies = not (takes_blanks or self._takes_parts) and all(map(copies_contents, templates))
        self._layouts: dict[tuple[str, ...], list[_Piece]] = {}  # roles → what the template writes

    @property
    def template_hash(self) -> str:
        """Of the template, and of what it is given: for the run's record."""
        return instruction_hash(self.wrapping, self.options, self.template)

    def encode(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of the model's whole input for one conversation, ready for its answer.

        Raises:
            ValueError: a conversation that the template cannot show in full; names the message and the fault.
        """
        return self.encode_turns(self.normalize(messages))

    def encode_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Ids | Exception]:
        """The ids of many conversations whose turns are normal, each of shape (tokens,).

        A conversation that the template or the tokenizer refuses has the exception as its entry.
        """
        rows = [self._pieces_or_error(turns) for turns in conversations]
        texts = [piece for row in rows if isinstance(row, list) for piece in row if isinstance(piece, str)]
        encoded = iter(self._tokenize(texts))
        return [
            row if isinstance(row, Exception) else _joined([next(encoded) if isinstance(p, str) else p for p in row])
            for row in rows
        ]

    def normalize(self, messages: Sequence[Mapping[str, Any]]) -> Turns:
        """The turns that the template shows (`guard_reward.conversation.normalize`), as text that can be encoded."""
        turns = normalize(messages, shows_system="system" in self.roles)
        return Turns({**turn, "content": _plain(turn["content"])} for turn in turns)

    def encode_turns(self, turns: Sequence[Message]) -> list[int]:
        """As `encode`, for turns that are already normal."""
        (ids,) = self.encode_batch([turns])
        if isinstance(ids, Exception):
            raise ids
        return ids.tolist()

    def preamble(self, *, is_response: bool) -> list[int]:
        """The token ids with which every input begins: the template's text in front of the conversation."""

        def conversation(text: str) -> list[int]:
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
            return self.encode_turns(messages if is_response else messages[:1])

        pairs = zip(conversation("a"), conversation("b"), strict=False)
        return [first for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]

    def shows(self, text: str) -> bool:
        """Whether inputs contain `text`, whatever the conversation; true if the template refuses to be tried."""
        turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}]
        try:
            rendered = self._render(turns)
        except Exception:  # a template may raise anything; the conversations that it refuses are named later
            return True
        # A template may strip the text, or write it as JSON.
        forms = (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        return any(_in_one_line(form) in _in_one_line(rendered) for form in forms)

    def _pieces_or_error(self, turns: Sequence[Message]) -> list[str | Ids] | Exception:
        """The guard's input in order: ids that are known, and texts to encode."""
        try:
            turns = alternating(turns) if self._alternates else turns
            if self._copies:
                contents = [turn["content"] for turn in turns]
                return [piece.filled(contents) for piece in self._layout(tuple(turn["role"] for turn in turns))]
            used = self._characters.union(*(turn["content"] for turn in turns))
            marks = _unused_characters(used, 1 + len(self._lone_characters))
            rendered = self._render([{**turn, "content": self._mark(turn["content"], *marks)} for turn in turns])
            return [
                self._without_marks(piece, *marks) if isinstance(piece, str) else piece
                for piece in self._cut_at_tokens(rendered)
            ]
        except Exception as error:  # a template may raise anything
            return error

    def _layout(self, roles: tuple[str, ...]) -> list[_Piece]:
        """What a copying template writes for turns with these roles."""
        pieces = self._layouts.get(roles)
        if pieces is None:
            marks = _unused_characters(self._characters, len(roles) or 1)
            rendered = self._render([{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=False)])
            pieces = [self._piece(piece, marks) for piece in self._cut_at_tokens(rendered)]
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[roles] = pieces
        return pieces

    def _piece(self, rendered: str | Ids, marks: str) -> _Piece:
        """A piece in which the mark of each turn stands for its content."""
        if not isinstance(rendered, str):
            return _Piece(ids=rendered)
        text, *parts = re.split(f"([{marks}])", rendered)  # text, mark, text, mark, …, text
        if not parts:
            ids = _joined(self._tokenize([rendered]))
            if isinstance(ids, Exception):
                raise ids
            return _Piece(ids=ids)
        return _Piece(texts=(text, *parts[1::2]), contents=tuple(map(marks.index, parts[::2])))

    def _render(self, turns: Sequence[Message]) -> str:
        messages: list[Any] = wrapped(turns, self.wrapping) if self.wrapping else list(turns)
        if self._takes_parts:
            messages = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in messages]
        return self.tokenizer.apply_chat_template(messages, chat_template=self.template, tokenize=False, **self.options)

    def _finds_form(self) -> bool:
        """Whether the template shows messages, as texts or as lists of parts; texts if neither."""
        self._takes_parts = False
        self._takes_parts = not self._shows_content() and self._shows_parts()
        return self._takes_parts or self._shows_content()

    def _join_system(self) -> None:
        """Let the user's message begin with the system's, for templates that refuse the role or leave it out."""
        given, others = self.wrapping, dict(self.wrapping)
        system = others.pop("system")
        self.wrapping = {**others, "user": f"{system}\n\n{others.get('user', '')}"}
        if not self._finds_form():
            self.wrapping = given

    def _shows_content(self) -> bool:
        """Whether the template shows what a user's message says, and a system's instruction."""
        mark = _unused_characters(self._characters, 1)
        turns = [{"role": "user", "content": mark}]
        try:
            rendered = self._render(turns)
            messages = wrapped(turns, self.wrapping)
            systems = [message["content"] for message in messages if message["role"] == "system"]
            return mark in rendered and all(_in_one_line(text) in _in_one_line(rendered) for text in systems)
        except Exception:  # a template may raise anything; the conversations that it refuses are named later
            return False

    def _shows_parts(self) -> bool:
        """As `_shows_content`, of a content that is a list of parts."""
        self._takes_parts = True
        return self._shows_content()

    def _cut_at_tokens(self, rendered: str) -> Iterator[str | Ids]:
        """The rendered text, with the ids of the template's own special tokens."""
        # With one group in the pattern, every second piece is one of them.
        for index, piece in enumerate(self._special.split(rendered)):
            if index % 2:
                yield np.array([self._ids[piece if piece in self._ids else piece.strip()]])
            elif piece:
                yield piece

    def _tokenize(self, texts: list[str]) -> list[Ids | Exception]:
        """The ids of ordinary texts, in one call; one by one if that fails, so that one bad text fails alone."""
        if not texts:
            return []
        options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        try:
            batch = self.tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, **options)
            return [np.array(ids, dtype=np.int64) for ids in batch["input_ids"]]
        except Exception as error:
            if len(texts) == 1:
                return [error]
            return [ids for text in texts for ids in self._tokenize([text])]

    def _mark(self, text: str, mark: str, *stand_ins: str) -> str:
        """Put `mark` behind every character with which a special token could begin.

        A token of one character has a character in its stead.
        """
        for character in self._first_characters:
            text = text.replace(character, character + mark)
        for character, stand_in in zip(self._lone_characters, stand_ins, strict=True):
            text = text.replace(character, stand_in)
        return text

    def _without_marks(self, text: str, mark: str, *stand_ins: str) -> str:
        text = text.replace(mark, "")
        for character, stand_in in zip(self._lone_characters, stand_ins, strict=True):
            text = text.replace(stand_in, character)
        return text


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a copying template writes between two special tokens.

    Attributes:
        ids: if it is the same for all contents.
        texts: what is written around contents.
        contents: the numbers of the turns whose contents stand between `texts`.
    """

    ids: Ids | None = None
    texts: tuple[str, ...] = ()
    contents: tuple[int, ...] = ()

    def filled(self, contents: Sequence[str]) -> str | Ids:
        if self.ids is not None:
            return self.ids
        first, *others = self.texts
        return "".join([first, *chain(*zip((contents[turn] for turn in self.contents), others, strict=True))])


def _joined(parts: Sequence[Ids | Exception]) -> Ids | Exception:
    """Ids in a row; the first exception if there is one."""
    ids: list[Ids] = [np.empty(0, dtype=np.int64)]
    for part in parts:
        if isinstance(part, Exception):
            return part
        ids.append(part)
    return np.concatenate(ids)


def _with_swallowed_blanks(token: str, added: AddedToken | None) -> str:
    """The pattern of a special token, with the blanks around it that some tokenizers (Phi-3's) make part of it."""
    # From their first one only: a search that may begin at each of n blanks would take n² steps if no token follows.
    before = r"(?:(?<!\s)\s+)?" if added is not None and added.lstrip else ""
    after = r"\s*" if added is not None and added.rstrip else ""
    return before + re.escape(token) + after


def _plain(text: str) -> str:
    """`text` as a plain string, with U+FFFD for each lone surrogate; JSON can bring them in, no tokenizer encodes them.

    Two that belong together become the character that they stand for.
    """
    text = str.__str__(text)  # subclasses may compare as they like
    if text.isascii() or not _SURROGATE.search(text):  # the first is far faster
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _unused_characters(used: Collection[str], count: int) -> str:
    """Characters of Unicode's private use areas that are not in `used`.

    Raises:
        ValueError: fewer than `count` of all 137,000 are left.
    """
    codes = chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
    found = "".join(islice((chr(code) for code in codes if chr(code) not in used), count))
    if len(found) < count:
        raise ValueError(f"the conversation leaves {len(found)} private-use characters of Unicode, and needs {count}")
    return found
