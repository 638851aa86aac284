"""Conversations → what a guard reads: readings, windows, token ids; many conversations in one call of the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from guard_reward.conversation import Message, Turns
from guard_reward.guards.readings import merge_readings, readings
from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.windows import split_into_windows, worst_verdict
from guard_reward.models.chat_template import Ids, Prompter
from guard_reward.verdict import Conversation, Outcome, Unjudged, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "InputEncoder",
    "Reading",
    "Window",
    "checked_rows",
    "chunks",
    "guard_error",
    "merged_verdict",
    "new_windows",
    "not_finite",
]

_NO_LIST = (str, bytes, Mapping)  # can be iterated over, but are not lists of conversations or of messages
FIRST_CHUNK, MAX_CHUNK = 64, 1024
"""How many conversations are encoded together: few at first, so that the device soon has work, then ever more."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One input of the guard.

    Attributes:
        ids: its token ids, shape (tokens,).
        is_response: whether a response is judged, or a prompt.
        key: the same for windows that are the same.
        turns: what of the conversation it shows.
    """

    ids: Ids
    is_response: bool
    key: Hashable
    turns: Sequence[Message]

    @classmethod
    def of(cls, ids: Ids, turns: Sequence[Message]) -> Window:
        """A window with its key."""
        is_response = turns[-1]["role"] != "user"
        return cls(ids, is_response, (ids.tobytes(), is_response), turns)


Reading = list[Window] | Unjudged
"""The windows of one reading (`guard_reward.guards.readings`); an `Unjudged` if it cannot be shown to the guard."""


@dataclass(frozen=True, slots=True)
class InputEncoder:
    """Makes a guard's inputs.

    Attributes:
        prompter: of the guard's checkpoint.
        spec: what the guard is shown.
        limit: tokens that an input may have.
    """

    prompter: Prompter
    spec: GuardSpec
    limit: int

    def encode(self, conversations: Sequence[Conversation]) -> list[list[Reading]]:
        """The readings of each conversation. One that cannot be shown has an `Unjudged` as its only reading."""
        quote = cache(self.spec.typed_marks.quote)  # the completions of a prompt have its turns in common
        rows = [self._readings(conversation, quote) for conversation in conversations]
        turns = [reading for row in rows if not isinstance(row, Unjudged) for reading in row]
        ids = iter(self.prompter.encode_batch(turns))
        return [
            [row] if isinstance(row, Unjudged) else self._shown([(reading, next(ids)) for reading in row])
            for row in rows
        ]

    def _readings(self, conversation: Conversation, quote: Callable[[str], str]) -> list[Turns] | Unjudged:
        try:
            turns = self.prompter.normalize(conversation)
            return readings(turns, self.spec.typed_marks, self.prompter.special_tokens, quote)
        except Exception as error:  # a conversation may be anything, and one bad row must not stop the others
            return guard_error(error)

    def _shown(self, row: Sequence[tuple[Turns, Ids | Exception]]) -> list[Reading]:
        """The readings of a conversation, as far as each fits into the context."""
        try:
            return [self._windows(turns, ids) for turns, ids in row]
        except Exception as error:  # of the template or the tokenizer
            return [guard_error(error)]

    def _windows(self, turns: Turns, ids: Ids | Exception) -> Reading:
        """One window, or several if the conversation exceeds the context."""
        if isinstance(ids, Exception):
            raise ids
        if len(ids) <= self.limit:
            return [Window.of(ids, turns)]
        try:
            windows = split_into_windows(
                turns,
                self.limit,
                count=lambda messages: len(self.prompter.encode_turns(messages)),
                cut=self.cut,
                labels=self.spec.turn_labels,
            )
        except ValueError as error:
            return Unjudged(Outcome.TOO_LONG, reason=str(error))
        # A cut may begin with what is a label only now: at the beginning of a line.
        quote = self.spec.typed_marks.quote
        quoted = [[*context, {**last, "content": quote(last["content"])}] for *context, last in windows]
        found = []
        for shown, window in zip(quoted, self.prompter.encode_batch(quoted), strict=True):
            if isinstance(window, Exception):
                raise window
            found.append(Window.of(window, shown))
        return found

    def cut(self, text: str, size: int, overlap: int) -> list[str]:
        """`text` in parts of at most `size` tokens that overlap by `overlap` tokens."""
        tokenizer: PreTrainedTokenizerBase = self.prompter.tokenizer
        encoding = tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = encoding["offset_mapping"]
        if len(offsets) <= size:
            return [text]
        starts = range(0, max(len(offsets) - overlap, 1), size - overlap)
        # Each part ends where the next token starts, so that nothing between two tokens is lost.
        ends = [begin for begin, _ in offsets] + [len(text)] * (size + 1)
        return [text[offsets[start][0] if start else 0 : ends[start + size]] for start in starts]


def checked_rows(conversations: Any) -> list[Any]:
    """The rows. What is wrong with a single row is that row's `Unjudged`; here only the whole is checked.

    Raises:
        TypeError: not a list of conversations.
    """
    is_list = isinstance(conversations, Iterable) and not isinstance(conversations, _NO_LIST)
    rows = list(conversations) if is_list else []
    if is_list and not (rows and all(isinstance(row, _NO_LIST) for row in rows)):
        return rows
    found = f"a list of {type(rows[0]).__name__}" if rows else type(conversations).__name__
    raise TypeError(
        "moderate takes a list of conversations, each a list of messages such as "
        f'[[{{"role": "user", "content": "…"}}]], found {found}'
    )


def new_windows(rows: Iterable[Sequence[Reading]], seen: set[Hashable]) -> Iterator[Window]:
    """The windows of these rows that no window before them equals.

    Args:
        rows: the readings of each conversation.
        seen: keys of the windows so far; those that are given are added.
    """
    for row in rows:
        for reading in row:
            for window in [] if isinstance(reading, Unjudged) else reading:
                if window.key not in seen:
                    seen.add(window.key)
                    yield window


def merged_verdict(row: Sequence[Reading], judged: Mapping[Hashable, Verdict | Unjudged]) -> Verdict | Unjudged:
    """The verdict on a conversation.

    Args:
        row: its readings.
        judged: window's key → the verdict on it.
    """
    return merge_readings(
        [
            reading if isinstance(reading, Unjudged) else worst_verdict([judged[window.key] for window in reading])
            for reading in row
        ]
    )


def chunks(conversations: Sequence[Any]) -> Iterator[list[int]]:
    """The numbers of the conversations that are encoded together, in the order in which they are judged.

    Conversations with the same context, such as the completions of one prompt, come together, so that what they share
    is computed once; only a context with more of them than a chunk holds is cut.

    >>> list(chunks([[{"role": "user", "content": text}] for text in "abc"]))
    [[0, 1, 2]]
    """
    by_context: dict[Hashable, list[int]] = {}
    for number, conversation in enumerate(conversations):
        by_context.setdefault(_context(conversation, number), []).append(number)
    chunk: list[int] = []
    size = FIRST_CHUNK
    for group in by_context.values():
        while group:
            if chunk and len(chunk) + len(group) > size:
                yield chunk
                chunk, size = [], min(2 * size, MAX_CHUNK)
            chunk, group = chunk + group[:size], group[size:]
    if chunk:
        yield chunk


def _context(conversation: Any, number: int) -> Hashable:
    """What a conversation's context is known by. One in an unusual shape is alone: `InputEncoder` names its fault."""
    try:
        key = tuple((message["role"], message["content"]) for message in conversation[:-1])
    except Exception:
        return number
    # Other types may raise when they are compared.
    return key if all(type(part) is str for message in key for part in message) else number


def not_finite() -> FloatingPointError:
    """What ends a batch with such outputs. Other rows of it may be well, and are when they are judged without it."""
    return FloatingPointError("the guard's outputs are not finite numbers")


def guard_error(error: Exception) -> Unjudged:
    """What a row ends as whose input or answer raised this."""
    return Unjudged(Outcome.GUARD_ERROR, reason=f"{type(error).__name__}: {error}")
