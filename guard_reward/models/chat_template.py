"""Conversations → token ids through a chat template, so that content cannot forge special tokens.

A guard reads text that its adversary wrote, and a chat template escapes nothing: a rollout that contains ``<|im_end|>``
would end the guard's turn and could speak for the guard. Here only the template itself can produce special tokens;
content is encoded as ordinary text. Text without special tokens gets exactly the ids of
``tokenizer.apply_chat_template(messages, tokenize=True)``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from guard_reward.conversation import Message, Turns, normalize

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase

__all__ = ["Prompter", "own_template"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def own_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The tokenizer's chat template; of several, the one named ``default``. None if it has none.

    Raises:
        ValueError: several templates, but none is named ``default``.
    """
    return tokenizer.get_chat_template() if tokenizer.chat_template else None


class Prompter:
    """Encodes conversations with one tokenizer and one chat template.

    Special tokens are hard boundaries of tokenisation, so the rendered text can be cut at them and the pieces encoded
    one by one. To tell the template's special tokens from forged ones, every place in the conversation where a special
    token could begin is marked before rendering; a marked place cannot match a special token, whole or put together
    from several messages. The marks are removed before the pieces are encoded.

    Args:
        tokenizer: of the checkpoint.
        template: a Jinja template over ``messages``; by default the tokenizer's own chat template.
        roles: which roles the template shows; see `guard_reward.conversation.normalize`.

    Raises:
        ValueError: there is no chat template, or the tokenizer has no special tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str | None = None,
        roles: Collection[str] = ("system", "user", "assistant"),
    ):
        self.tokenizer = tokenizer
        found = template or own_template(tokenizer)
        self.roles = tuple(roles)
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
        self._first_characters = {token[0] for token in self.special_tokens}

    @property
    def template_hash(self) -> str:
        """The first 16 hex digits of the template's SHA-256: for the run's record."""
        return hashlib.sha256(self.template.encode()).hexdigest()[:16]

    def encode(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of the model's whole input for one conversation, ready for its answer.

        Raises:
            ValueError: a conversation that the template cannot show in full; names the message and the fault.
        """
        return self.encode_turns(self.normalize(messages))

    def normalize(self, messages: Sequence[Mapping[str, Any]]) -> Turns:
        """The turns that the template shows (`guard_reward.conversation.normalize`), as text that can be encoded."""
        turns = normalize(messages, shows_system="system" in self.roles)
        return Turns({**turn, "content": _without_surrogates(turn["content"])} for turn in turns)

    def encode_turns(self, turns: Sequence[Message]) -> list[int]:
        """As `encode`, for turns that are already normal."""
        mark = _unused_character(turns)
        marked: list[Message] = [{**turn, "content": self._mark(turn["content"], mark)} for turn in turns]
        rendered = self.tokenizer.apply_chat_template(marked, chat_template=self.template, tokenize=False)
        ids: list[int] = []
        # With one group in the pattern, every second piece is one of the template's own special tokens.
        for index, piece in enumerate(self._special.split(rendered)):
            if index % 2:
                ids.append(self._ids[piece if piece in self._ids else piece.strip()])
            elif piece:
                text = piece.replace(mark, "")
                ids += self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def preamble(self, *, is_response: bool) -> list[int]:
        """The token ids with which every input begins: the template's text in front of the conversation."""

        def conversation(text: str) -> list[int]:
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
            return self.encode_turns(messages if is_response else messages[:1])

        pairs = zip(conversation("a"), conversation("b"), strict=False)
        return [first for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]

    def _mark(self, text: str, mark: str) -> str:
        """Put `mark` behind every character with which a special token could begin."""
        for character in self._first_characters:
            text = text.replace(character, character + mark)
        return text


def _with_swallowed_blanks(token: str, added: AddedToken | None) -> str:
    """The pattern of a special token, with the blanks around it that some tokenizers (Phi-3's) make part of it."""
    # From their first one only: a search that may begin at each of n blanks would take n² steps if no token follows.
    before = r"(?:(?<!\s)\s+)?" if added is not None and added.lstrip else ""
    after = r"\s*" if added is not None and added.rstrip else ""
    return before + re.escape(token) + after


def _without_surrogates(text: str) -> str:
    """`text` with U+FFFD for each lone surrogate, which no tokenizer can encode; JSON can bring them in.

    Two that belong together become the character that they stand for.
    """
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unused_character(turns: Sequence[Message]) -> str:
    """A character of Unicode's private use areas that the conversation does not contain.

    Raises:
        ValueError: it contains all 137,000 of them.
    """
    used = set().union(*(turn["content"] for turn in turns))
    for code in chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE)):
        if chr(code) not in used:
            return chr(code)
    raise ValueError("the conversation contains every private-use character of Unicode, and one must be free")
