"""A policy's growing text, judged while it is written, whatever tokenizer the policy has.

Each time it has grown, its end is tokenised again with the guard's tokenizer. The last token may still change with the
text that follows, and so may the tokens of an unfinished word, whose pieces can mean what the word does not: they wait.
Should an earlier token change too, the session is rewound to the place. When the text is whole, all of it is tokenised,
so that the guard has read exactly its tokens. A text that begins with ``<think>`` is read as a response with thinking.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from guard_reward.scoring.prefixes import common_prefix
from guard_reward.thinking import OPEN

if TYPE_CHECKING:
    from guard_reward.guards.stream_guard import StreamGuard
    from guard_reward.guards.stream_session import StreamSession
    from guard_reward.verdict import Conversation

__all__ = ["TextFeed"]

# Letters and their marks at the end of a text, but not of scripts that put no space between words.
_LETTERS = r"[^\W\d_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff]"
_MARKS = r"[\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0900-\u0d7f]"
_UNFINISHED = re.compile(f"(?:{_LETTERS}|{_MARKS})+$")
_LONGEST_WORD = 8  # tokens; longer ones do not wait
_AGAIN = 32  # known tokens that are tokenised again with what is new
_SAME = 16  # of them the first ones must come out the same; then the beginning was not needed


class TextFeed:
    """One text that grows.

    Args:
        guard: that judges it.
        messages: the conversation in front of it.

    >>> from guard_reward.tiny import load_tiny_stream_guard
    >>> guard = load_tiny_stream_guard(device="cpu")
    >>> feed = TextFeed(guard, [{"role": "user", "content": "How do I use a blue gravok?"}])
    >>> TextFeed.grow([feed], ["Sure. First cut the gravok, then"])
    >>> str(feed.session.severity)
    'Unsafe'
    """

    def __init__(self, guard: StreamGuard, messages: Conversation):
        self.guard = guard
        self.session: StreamSession = guard.open(messages)
        self.text: str | None = ""  # as it was judged last; None if that has failed
        self._messages = messages
        self._has_thinking = False
        self._starts: list[int] = []  # the first character of each token that was read

    @staticmethod
    def grow(feeds: Sequence[TextFeed], texts: Sequence[str], *, at_end: bool = False) -> None:
        """Judge what is new of several texts, in one forward.

        Args:
            feeds: of one guard, each once.
            texts: the whole text of each so far; need not begin with what it was before.
            at_end: whether the texts are whole, so that their last tokens are read too.

        Raises:
            ContextOverflowError: a text is longer than the guard's context.
        """
        rows = [row for row in zip(feeds, texts, strict=True) if at_end or row[1] != row[0].text]
        if not rows:
            return
        guard = feeds[0].guard
        known = [0 if at_end else feed._known(text) for feed, text in rows]
        tails = [text[feed._starts[count] if count else 0 :] for (feed, text), count in zip(rows, known, strict=True)]
        readings = []
        for (feed, text), count, (ids, starts) in zip(rows, known, _tokens(guard, tails), strict=True):
            if count and not feed._continues(count, ids):
                count, ((ids, starts),) = 0, _tokens(guard, [text])
            readings.append(feed._reading(text, count, ids, starts, at_end=at_end))
        guard.feed_many([feed.session for feed, _ in rows], [reading.ids for reading in readings])
        for (feed, text), reading in zip(rows, readings, strict=True):
            feed.text = text
            feed._starts += reading.starts

    @property
    def flagged_char(self) -> int | None:
        """The character at which the first flagged token begins; None if the text is safe so far."""
        first = self.session.rule.first_flagged
        return None if first is None else self._starts[first]

    def close(self) -> None:
        """Free what is kept for the text."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _known(self, text: str) -> int:
        """How many of the tokens that were read need not be tokenised again; 0 if the text does not go on."""
        known = len(self._starts) - _AGAIN
        if known <= 0 or self.text is None or not text.startswith(self.text):
            return 0
        while known and self._starts[known] == self._starts[known - 1]:  # in the middle of a character
            known -= 1
        return known

    def _continues(self, known: int, ids: Sequence[int]) -> bool:
        """Whether the end of the text, tokenised alone, begins as it did in the whole."""
        return self.session.token_ids[known : known + _SAME] == list(ids[:_SAME])

    def _reading(self, text: str, known: int, ids: list[int], starts: list[int], *, at_end: bool) -> _Reading:
        """What the session must read, after it has been rewound to what is the same.

        Args:
            text: so far.
            known: how many tokens stand before those in `ids`.
            ids, starts: of the text's other tokens, with their first characters, counted from the first one's.
            at_end: whether the text is whole.
        """
        if text.startswith(OPEN) is not self._has_thinking:  # another format of the turn: from the beginning
            self.session.close()
            self._has_thinking = not self._has_thinking
            self.session = self.guard.open(self._messages, has_thinking=self._has_thinking)
        first = self._starts[known] if known else 0
        ready = ids if at_end else ids[: _ready(text, [first + start for start in starts])]
        read = np.array(self.session.token_ids[known:], dtype=np.int64)
        same = common_prefix(read, np.array(ready, dtype=np.int64))
        if same < len(read):
            self.session.rewind(known + same)
            self.text = None  # until this reading is fed, the session has less than it had
        self._starts = self._starts[: known + same]
        return _Reading(list(ready[same:]), [first + start for start in starts[same : len(ready)]])


@dataclass(frozen=True, slots=True)
class _Reading:
    """Tokens that a session is fed, each with its first character in the text."""

    ids: list[int]
    starts: list[int]


def _ready(text: str, starts: Sequence[int]) -> int:
    """How many tokens of a growing text are read now: not the last one, nor those of an unfinished word.

    >>> _ready("to explosi", [0, 2, 5, 8]), _ready("to explosive ", [0, 2, 5, 12])
    (1, 3)
    """
    first = max(len(starts) - _LONGEST_WORD, 0)  # earlier tokens do not wait: a search from there takes no long time
    word = _UNFINISHED.search(text, starts[first] if starts else 0)
    ready = len(starts) - 1
    while word and ready > first and starts[ready - 1] >= word.start() - 1:
        ready -= 1
    return max(ready, 0)


def _tokens(guard: StreamGuard, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    """The guard's tokens of each text, and the first character of each token."""
    options: dict[str, Any] = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    found = guard.tokenizer(list(texts), return_offsets_mapping=True, return_attention_mask=False, **options)
    starts = ([start for start, _ in row] for row in found["offset_mapping"])
    return list(zip(found["input_ids"], starts, strict=True))
