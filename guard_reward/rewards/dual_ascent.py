"""The multiplier of `guard_reward.schemes.Lagrangian`, learned by dual ascent while a trainer trains.

It is kept in the trainer's state (`transformers.TrainerState`), which TRL passes to reward functions: transformers
writes the state's ``stateful_callbacks`` into every checkpoint's ``trainer_state.json`` and restores them after
``resume_from_checkpoint``. A reward function that is pickled, or called without a trainer, has no learned multiplier.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from guard_reward._fork_safe_lock import ForkSafeLock
from guard_reward.rewards.distributed import gather_objects
from guard_reward.schemes import Assessment, GuardOnly, Lagrangian, Scheme, Soft

if TYPE_CHECKING:
    from transformers import TrainerState

__all__ = ["DualAscent", "Multiplier", "is_training"]

logger = logging.getLogger(__name__)
_UPDATE_LOCK = ForkSafeLock()  # several threads may call one reward; not in the object, which must pickle


@dataclass(frozen=True, slots=True)
class Multiplier:
    """λ and the batches it was learned from.

    Attributes:
        value: λ.
        batches: training batches with at least one verdict so far.
        window: (unsafe rollouts, rollouts with a verdict) of the last batches, of all ranks together.

    >>> start = Multiplier(1.0)
    >>> start.after(unsafe=3.0, rows=4, scheme=Lagrangian(unsafe_rate=0.25, learning_rate=0.5))
    Multiplier(value=1.25, batches=1, window=((3.0, 4),))
    """

    value: float
    batches: int = 0
    window: tuple[tuple[float, int], ...] = ()

    @property
    def unsafe_rate(self) -> float | None:
        """Fraction of unsafe rollouts in the window; None before the first batch."""
        rows = sum(rows for _, rows in self.window)
        return sum(unsafe for unsafe, _ in self.window) / rows if rows else None

    def after(self, unsafe: float, rows: int, scheme: Lagrangian) -> Multiplier:
        """The multiplier one training batch later: one step of dual ascent.

        Args:
            unsafe: how many of the batch's rollouts were unsafe; Controversial may count in part.
            rows: the batch's rollouts with a verdict; if there are none, nothing is learned.
            scheme: its `unsafe_rate`, `learning_rate`, `delay`, `window` and `max_multiplier` are used.
        """
        if not rows:
            return self
        window = [*self.window, (unsafe, rows)]
        while sum(count for _, count in window[1:]) >= scheme.window:  # full without the oldest
            window = window[1:]
        measured = replace(self, batches=self.batches + 1, window=tuple(window))
        assert measured.unsafe_rate is not None
        if measured.batches <= scheme.delay:
            return measured
        value = self.value + scheme.learning_rate * (measured.unsafe_rate - scheme.unsafe_rate)
        return replace(measured, value=min(max(value, 0.0), scheme.max_multiplier))


class DualAscent:
    """Keeps a `Lagrangian` scheme's multiplier in the trainer's state and learns it from batch to batch.

    A batch is scored with the multiplier that was learned before it. Nothing is learned in evaluations, or if no
    `trainer_state` is passed.

    Args:
        scheme: a `Lagrangian`, or `Soft` around one.
        name: of the reward; the state is kept and logged under it. Two rewards in one trainer need different names.
    """

    def __init__(self, scheme: Scheme, name: str):
        self.scheme = scheme
        self.name = name
        self._warned: set[str] = set()

    @classmethod
    def of(cls, scheme: Scheme, name: str) -> DualAscent | None:
        """For a scheme that has a multiplier; None for others."""
        return cls(scheme, name) if isinstance(scheme.unwrap(), Lagrangian) else None

    @property
    def key(self) -> str:
        """Where the state is kept in ``trainer_state.stateful_callbacks``; no callback class has such a name."""
        return f"LagrangeMultiplier/{self.name}"

    def scheme_now(self, trainer_state: TrainerState | None) -> Scheme:
        """The scheme with the multiplier learned so far."""
        learned = replace(self._lagrangian, multiplier=self._read(trainer_state).value)
        return replace(self.scheme, scheme=learned) if isinstance(self.scheme, Soft) else learned

    def unsafe(self, assessment: Assessment) -> float:
        """How unsafe a rollout counts, from 0 to 1; under `Soft` the guard's expectation of it."""
        safe = GuardOnly(self._lagrangian.controversial)
        return 1.0 - (Soft(safe) if isinstance(self.scheme, Soft) else safe)(assessment)

    def update(
        self,
        unsafe: Sequence[float],
        trainer_state: TrainerState | None,
        log_metric: Callable[[str, float], None] | None = None,
    ) -> None:
        """Learn from one call's rollouts, and log the multiplier that they were scored with and the unsafe rate.

        In training every rank must call, even without rollouts: the counts of all ranks are added up.

        Args:
            unsafe: how unsafe each of this rank's rollouts with a verdict was, from 0 to 1.
            trainer_state: the trainer's; None to learn nothing.
            log_metric: as TRL's trainers pass it; it also shows whether this is an evaluation.

        Raises:
            ValueError: a `trainer_state` that has no ``stateful_callbacks``.
        """
        with _UPDATE_LOCK:
            before = after = self._read(trainer_state)
            if trainer_state is None:
                self._warn_once(
                    "the multiplier does not change: it is learned only in trainers that pass trainer_state"
                )
            elif self._is_training(log_metric):
                counts = gather_objects((float(sum(unsafe)), len(unsafe)), what=f"the unsafe rate of {self.name}")
                after = before.after(sum(u for u, _ in counts), sum(rows for _, rows in counts), self._lagrangian)
                _states(trainer_state)[self.key] = _to_json(after)
        if log_metric is not None:
            log_metric(f"{self.name}/lagrange_multiplier", before.value)
            if after.unsafe_rate is not None:
                log_metric(f"{self.name}/unsafe_rate_window", after.unsafe_rate)

    @property
    def _lagrangian(self) -> Lagrangian:
        scheme = self.scheme.unwrap()
        assert isinstance(scheme, Lagrangian)
        return scheme

    def _read(self, trainer_state: TrainerState | None) -> Multiplier:
        saved = None if trainer_state is None else _states(trainer_state).get(self.key)
        if saved is None:
            return Multiplier(self._lagrangian.multiplier)
        multiplier = _from_json(saved)
        # A run may be resumed with a lower limit.
        return replace(multiplier, value=min(multiplier.value, self._lagrangian.max_multiplier))

    def _is_training(self, log_metric: Callable[[str, float], None] | None) -> bool:
        training = is_training(log_metric)
        if training is None:
            self._warn_once(
                "log_metric is not the trainer's own, so training and evaluation cannot be told apart: the multiplier "
                "is learned from both. Pass log_metric on as the trainer gave it"
            )
        return training is not False

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s: %s", self.name, message)


def is_training(log_metric: Callable[[str, float], None] | None) -> bool | None:
    """Whether a trainer calls in training (True) or evaluation (False); None if that is unknown.

    TRL does not tell reward functions its mode. It is ``trainer.model.training``, and the `log_metric` that TRL passes
    is a method of the trainer.
    """
    trainer = getattr(log_metric, "__self__", None)
    training = getattr(getattr(trainer, "model", None), "training", None)
    return training if isinstance(training, bool) else None


def _states(trainer_state: TrainerState) -> dict[str, Any]:
    states = getattr(trainer_state, "stateful_callbacks", None)
    if not isinstance(states, dict):
        raise ValueError(
            "the lagrangian scheme keeps its multiplier in trainer_state.stateful_callbacks, and this trainer_state "
            f"({type(trainer_state).__name__}) has none: pass the trainer's transformers.TrainerState, or None for a "
            "multiplier that is not learned"
        )
    return states


def _to_json(multiplier: Multiplier) -> dict[str, Any]:
    """In the form of transformers' own callback states, which its restoring code expects."""
    window = [list(batch) for batch in multiplier.window]
    return {
        "args": {},
        "attributes": {"multiplier": multiplier.value, "batches": multiplier.batches, "window": window},
    }


def _from_json(state: dict[str, Any]) -> Multiplier:
    saved = state["attributes"]
    window = tuple((float(unsafe), int(rows)) for unsafe, rows in saved["window"])
    return Multiplier(float(saved["multiplier"]), int(saved["batches"]), window)
