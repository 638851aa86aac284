"""Who else sees what a reward has judged: a monitor, a recorder. Observers cannot change rewards, or fail them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from guard_reward.rewards.batch import Batch, Call
from guard_reward.rewards.dual_ascent import is_training
from guard_reward.rewards.judge import Request
from guard_reward.rewards.metrics import JudgedRollout

__all__ = ["JudgedBatch", "Observer", "Observers", "token_counts"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """One call of a reward, after the guard has judged it.

    Attributes:
        rows: everything that is known about each rollout.
        asked: what the guard was asked about each answer.
        tokens: of each completion; None if the trainer passed no ids for it.
        trainer_state: the trainer's; None without a trainer. If there is one, every rank shows a batch now.
        log_metric: as TRL's trainers pass it, for metrics of this call.
    """

    rows: tuple[JudgedRollout, ...]
    asked: tuple[Request, ...]
    tokens: tuple[int | None, ...]
    trainer_state: Any = None
    log_metric: Callable[[str, float], None] | None = None

    @property
    def training(self) -> bool | None:
        """True in training, False in an evaluation, None if that is unknown."""
        return is_training(self.log_metric)

    @classmethod
    def of(cls, call: Call, batch: Batch, rows: tuple[JudgedRollout, ...]) -> JudgedBatch:
        """From what a trainer passed and what came of it."""
        tokens = token_counts(call.completion_ids, len(batch.rollouts))
        asked = tuple(request.answer for request in batch.requests)
        return cls(rows, asked, tokens, call.trainer_state, call.log_metric)


def token_counts(ids: Any, rows: int) -> tuple[int | None, ...]:
    """How many ids each row has; None where that cannot be said, of all rows if there is another number of them.

    >>> token_counts([[5, 6], None], 2), token_counts(None, 1), token_counts([[5, 6]], 2)
    ((2, None), (None,), (None, None))
    """
    counts = tuple(len(one) if isinstance(one, Sized) else None for one in ids) if isinstance(ids, Iterable) else ()
    return counts if len(counts) == rows else (None,) * rows


Observer = Callable[[JudgedBatch], object]
Shown = TypeVar("Shown")


class Observers(Generic[Shown]):
    """The observers of one reward, in this process alone: pickled and copied, there are none.

    An observer that raises is named in the log, once, and stays.

    Args:
        reward: its name, for the log.

    >>> observers = Observers("guard")
    >>> observers.add(lambda batch: print(batch.tokens))
    >>> observers.show(JudgedBatch(rows=(), asked=(), tokens=()))
    ()
    """

    def __init__(self, reward: str):
        self._reward = reward
        self._observers: list[Callable[[Shown], object]] = []
        self._failed: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Observers, (self._reward,)

    def add(self, observer: Callable[[Shown], object]) -> None:
        """Show it every batch from now on; once per batch, however often it is added.

        Raises:
            ValueError: it cannot be called.
        """
        if not callable(observer):
            raise ValueError(f"an observer is called with a JudgedBatch; {observer!r} is not callable")
        if observer not in self._observers:
            self._observers.append(observer)

    def remove(self, observer: Callable[[Shown], object]) -> None:
        """Show it no more batches."""
        if observer in self._observers:
            self._observers.remove(observer)

    def show(self, batch: Shown) -> None:
        """Show a batch to all of them."""
        for observer in tuple(self._observers):
            try:
                observer(batch)
            except Exception as error:
                if id(observer) not in self._failed:
                    self._failed.add(id(observer))
                    logger.warning(
                        "%s: the observer %r failed, and the rewards do not depend on it: %s: %s. Said once",
                        self._reward,
                        observer,
                        type(error).__name__,
                        error,
                    )
