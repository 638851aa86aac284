"""A policy's growing text, judged while it is written, whatever tokenizer the policy has.

The text is tokenised again with the guard's tokenizer each time it has grown. Its last token may still change with the
text that follows, so it waits; should an earlier token change too, the session is rewound to the place. At the end of
the text the guard has read exactly the tokens of the whole text. A text that begins with ``<think>`` is read as a
response with thinking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from guard_reward.scoring.prefixes import common_prefix
from guard_reward.thinking import OPEN

if TYPE_CHECKING:
    from guard_reward.guards.stream_guard import StreamGuard
    from guard_reward.guards.stream_session import StreamSession
    from guard_reward.verdict import Conversation

__all__ = ["TextFeed"]


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
        self.text = ""
        self._messages = messages
        self._has_thinking = False

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
        if not feeds:
            return
        parts = [feed._new_tokens(text, at_end=at_end) for feed, text in zip(feeds, texts, strict=True)]
        feeds[0].guard.feed_many([feed.session for feed in feeds], parts)

    @property
    def flagged_char(self) -> int | None:
        """The character at which the first flagged token begins; None if the text is safe so far."""
        first = self.session.rule.first_flagged
        return None if first is None else int(self._offsets(self.text)[first][0])

    def close(self) -> None:
        """Free what is kept for the text."""
        self.session.close()

    def _new_tokens(self, text: str, *, at_end: bool) -> list[int]:
        self.text = text
        if text.startswith(OPEN) is not self._has_thinking:  # another format of the turn: from the beginning
            self.session.close()
            self._has_thinking = not self._has_thinking
            self.session = self.guard.open(self._messages, has_thinking=self._has_thinking)
        ids = self._encoding(text)["input_ids"]
        known = np.array(self.session.token_ids, dtype=np.int64)
        ready = ids if at_end else ids[:-1]
        same = common_prefix(known, np.array(ready, dtype=np.int64))
        if same < len(known):
            self.session.rewind(same)
        return list(ready[same:])

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        return list(self._encoding(text)["offset_mapping"])

    def _encoding(self, text: str) -> dict[str, list[Any]]:
        tokenizer = self.guard.tokenizer
        options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        return dict(tokenizer(text, return_offsets_mapping=True, **options))
