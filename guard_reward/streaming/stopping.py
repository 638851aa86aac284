"""`UnsafeStoppingCriteria`: generation ends where its text becomes unsafe, so nobody pays for the tokens behind it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from guard_reward.guards.inputs import checked_rows
from guard_reward.guards.needs_stream import check_stream_guard
from guard_reward.guards.stream_session import ContextOverflowError
from guard_reward.streaming.growing_texts import INCOMPLETE, GrowingTexts
from guard_reward.streaming.text_feed import TextFeed
from guard_reward.verdict import Severity, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from guard_reward.guards.stream_guard import StreamGuard
    from guard_reward.verdict import Conversation

__all__ = ["UnsafeStoppingCriteria", "checked_stop"]

logger = logging.getLogger(__name__)


class UnsafeStoppingCriteria(StoppingCriteria):
    """Stops each row of a batch at its first flagged token; for ``stopping_criteria=`` of transformers' ``generate``.

    It serves one call of ``generate`` that adds one token to each row per step: not one with beams, whose rows change
    places, and no assisted one. All rows are judged in one forward of the guard per step. The text that is flagged
    stays in the output, up to the token that showed it.

    Args:
        guard: a stream guard.
        tokenizer: the policy's; it may be another one than the guard's.
        conversations: the messages of each prompt, in the order of the batch. With several samples per prompt
            (``num_return_sequences``), once per prompt.
        written: what of each conversation's reply stands already in front of the generated text, such as the
            ``<think>`` that a chat template has opened; by default nothing.
        stop_at: the severity from which a row is stopped.
        every: how many of the policy's tokens are judged at a time; more are cheaper and stop a little later.

    Raises:
        TypeError: not a list of conversations.
        ValueError: not a stream guard, another `stop_at`, `every` below 1, another number of `written` than of
            conversations.

    Attributes:
        stopped: per row, whether it was stopped; None before the first token.
        lengths: per row, how many tokens it had when it was stopped; None for a row that was not.
        found: per row, the severity for which it was stopped; None for a row that was not.
        not_judged: rows whose prompt the guard cannot be shown, or that exceed its context while they grow; they are
            not stopped, and `finish` judges them in windows.

    >>> generate = policy.generate                                                          # doctest: +SKIP
    >>> stop = UnsafeStoppingCriteria(guard, tokenizer, [messages])                         # doctest: +SKIP
    >>> generate(**tokenizer(prompt, return_tensors="pt"), stopping_criteria=[stop])        # doctest: +SKIP
    """

    def __init__(
        self,
        guard: StreamGuard,
        tokenizer: PreTrainedTokenizerBase,
        conversations: Sequence[Conversation],
        *,
        written: Sequence[str] = (),
        stop_at: Severity = Severity.CONTROVERSIAL,
        every: int = 1,
    ):
        check_stream_guard(guard, "UnsafeStoppingCriteria")
        self.guard = guard
        self.tokenizer = tokenizer
        self.stop_at = checked_stop(stop_at, every)
        self.every = every
        self.stopped: list[bool] | None = None
        self.lengths: list[int | None] = []
        self.found: list[Severity | None] = []
        self.not_judged: set[int] = set()
        self._conversations = checked_rows(conversations)
        self._written = list(written) or [""] * len(self._conversations)
        if len(self._written) != len(self._conversations):
            raise ValueError(f"found {len(self._written)} written texts for {len(self._conversations)} conversations")
        self._feeds: list[TextFeed | None] = []
        self._prompt_length, self._samples = 0, 1
        self._calls = 0
        self._is_closed = False

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Whether each row is finished, shape (rows,).

        Args:
            input_ids: prompts and what was generated so far, shape (rows, tokens).
            scores: not used.

        Raises:
            ValueError: another number of rows than conversations fit, or it has served a call already.
        """
        if self._is_closed or (self.stopped is not None and input_ids.shape[1] <= self._prompt_length + self._calls):
            raise ValueError("an UnsafeStoppingCriteria serves one call of generate: make another one")
        if self.stopped is None:
            self._begin(input_ids)
        assert self.stopped is not None
        self._calls += 1
        if self._calls % self.every == 0:
            new = self._texts(input_ids[:, self._prompt_length :].tolist())
            self._judge(new, [row for row, stopped in enumerate(self.stopped) if not stopped], at_end=False)
        return torch.tensor(self.stopped, device=input_ids.device)

    def finish(self, texts: Sequence[str]) -> list[Severity | None]:
        """The severities of the whole texts, and the end of all sessions.

        Args:
            texts: what was generated for each row, without the prompt and without what was written before; it may be
                shorter than what the rows were judged on.

        Returns:
            One per row; None for a row that the guard cannot judge.
        """
        severities: list[Severity | None] = []
        if self.stopped is not None:
            self._judge(texts, range(len(texts)), at_end=True)
            severities = [
                found if feed is None else feed.session.severity
                for found, feed in zip(self.found, self._feeds, strict=True)
            ]
        for row in self.not_judged:
            text = {"role": "assistant", "content": self._whole(row, texts[row])}
            (verdict,) = self.guard.moderate([[*self._conversations[row // self._samples], text]])
            severities[row] = verdict.severity if isinstance(verdict, Verdict) else None
        self.close()
        return severities

    def close(self) -> None:
        """Free what the guard keeps for the rows; the criterion cannot be used again."""
        self._is_closed = True
        self.release(range(len(self._feeds)))

    def release(self, rows: Iterable[int]) -> None:
        """Free what the guard keeps for some rows; they are not judged any more."""
        for row in rows:
            if (feed := self._feeds[row]) is not None:
                feed.close()
                self._feeds[row] = None

    def _begin(self, input_ids: Tensor) -> None:
        rows = len(input_ids)
        samples, rest = divmod(rows, max(len(self._conversations), 1))
        if rest or not samples:
            raise ValueError(f"{rows} rows are generated for {len(self._conversations)} conversations")
        self.stopped, self._samples = [False] * rows, samples
        self.lengths, self.found = [None] * rows, [None] * rows
        self._prompt_length = input_ids.shape[1] - 1  # it is called after the first token
        self._texts = GrowingTexts(self.tokenizer, rows)
        self._feeds = [self._opened(messages) for messages in self._conversations for _ in range(samples)]
        self.not_judged = {row for row, feed in enumerate(self._feeds) if feed is None}

    def _opened(self, messages: Conversation) -> TextFeed | None:
        try:
            return TextFeed(self.guard, messages)
        except ValueError as error:  # a prompt that cannot be shown, or that fills the context
            logger.warning("a text is not stopped while it is generated: %s", error)
            return None

    def _whole(self, row: int, new: str) -> str:
        return self._written[row // self._samples] + new

    def _judge(self, new: Sequence[str], rows: Iterable[int], *, at_end: bool) -> None:
        assert self.stopped is not None
        feeds = {row: feed for row in rows if (feed := self._feeds[row]) is not None}
        texts = [self._whole(row, new[row] if at_end else new[row].rstrip(INCOMPLETE)) for row in feeds]
        try:
            TextFeed.grow(list(feeds.values()), texts, at_end=at_end)
        except ContextOverflowError:  # one text exceeds the context: find out which
            for (row, feed), text in zip(feeds.items(), texts, strict=True):
                self._judge_alone(row, feed, text, at_end=at_end)
        for row, feed in feeds.items():
            if (found := self._found(feed)) is not None and not self.stopped[row]:
                self.stopped[row], self.lengths[row], self.found[row] = True, self._calls, found

    def _found(self, feed: TextFeed) -> Severity | None:
        """The severity for which a row is stopped; None if it is not."""
        severity = feed.session.severity
        if self.stop_at is Severity.CONTROVERSIAL and feed.session.rule.first_flagged is not None:
            # Two tokens in a row are not safe, but perhaps no two of one risk.
            return max(severity, Severity.CONTROVERSIAL)
        return severity if severity >= self.stop_at else None

    def _judge_alone(self, row: int, feed: TextFeed, text: str, *, at_end: bool) -> None:
        try:
            TextFeed.grow([feed], [text], at_end=at_end)
        except ContextOverflowError as error:
            logger.warning("a text is not stopped any more: %s", error)
            self.release([row])
            self.not_judged.add(row)


def checked_stop(stop_at: Severity | str, every: int) -> Severity:
    """The severity from which texts are stopped.

    Raises:
        ValueError: settings with which everything or nothing would be stopped; names the setting.
    """
    if every < 1:
        raise ValueError(f"every should be at least 1, found {every}")
    if stop_at not in (Severity.CONTROVERSIAL, Severity.UNSAFE):
        raise ValueError(f"stop_at should be Controversial or Unsafe, found {str(stop_at)!r}")
    return Severity(stop_at)
