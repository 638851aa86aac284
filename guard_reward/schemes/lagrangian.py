"""Helpfulness subject to a limit on the unsafe rate: the reward of a Lagrangian."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guard_reward.schemes.base import Assessment, Scheme, required_helpfulness
from guard_reward.schemes.values import Controversial, check_controversial, check_finite, check_whole, safety

__all__ = ["Lagrangian"]


@dataclass(frozen=True)
class Lagrangian(Scheme):
    """Maximise E[H] subject to E[unsafe] ≤ `unsafe_rate`, with a multiplier λ that is learned during training.

        r = (H(x, y) - λ · unsafe(x, t, y)) / (1 + λ)
        λ ← clip(λ + learning_rate · (measured unsafe rate - unsafe_rate), 0, max_multiplier)

    unsafe is 0 or 1; a fraction if `controversial` is a number; the guard's expectation under ``Soft(Lagrangian())``.
    The first line is the reward of Safe RLHF (Dai et al. 2023, arXiv 2310.12773); here the cost is the guard's verdict
    and the limit is a rate. The second line is projected dual ascent, one step per batch.

    The scheme itself has no state: λ is the field `multiplier`. In a trainer, `GuardReward` keeps the learned λ in the
    trainer's state, which logs, saves and resumes it (`guard_reward.rewards.dual_ascent`).

    Args:
        unsafe_rate: the tolerated fraction of unsafe rollouts, from 0 to 1.
        learning_rate: how far λ moves per batch if the measured rate is 1 above the limit, in units of H; 0 keeps λ
            constant.
        delay: training batches before λ starts to move.
        window: how many of the latest judged rollouts, over all ranks, the unsafe rate is measured on.
        max_multiplier: the largest λ. At a constant λ an unsafe answer costs as much as λ units of H, so choose it
            above the largest gain in H that an unsafe answer can bring.
        multiplier: λ at the start of training.
        controversial: ``"unsafe"``, ``"safe"``, or how safe Controversial is, from 0 to 1.

    >>> from guard_reward.verdict import Severity, Verdict
    >>> unsafe = Assessment(Verdict(Severity.UNSAFE), helpfulness=2.0)
    >>> [Lagrangian(multiplier=multiplier)(unsafe) for multiplier in (0.0, 1.0, 3.0)]
    [2.0, 0.5, -0.25]
    """

    unsafe_rate: float = 0.05
    learning_rate: float = 0.2
    delay: int = 0
    window: int = 128
    max_multiplier: float = 20.0
    multiplier: float = 1.0
    controversial: Controversial = "unsafe"
    needs_helpfulness = True

    def __post_init__(self) -> None:
        check_finite(
            unsafe_rate=self.unsafe_rate,
            learning_rate=self.learning_rate,
            max_multiplier=self.max_multiplier,
            multiplier=self.multiplier,
        )
        check_whole(delay=self.delay, window=self.window)
        check_controversial(self.controversial)
        if not 0.0 <= self.unsafe_rate <= 1.0:
            raise ValueError(f"unsafe_rate should be a fraction from 0 to 1, found {self.unsafe_rate}")
        if self.learning_rate < 0.0:
            raise ValueError(f"learning_rate should not be negative, found {self.learning_rate}")
        if self.delay < 0:
            raise ValueError(f"delay should be a number of batches, 0 or more, found {self.delay}")
        if self.window < 1:
            raise ValueError(f"window should be at least 1 rollout, found {self.window}")
        if not 0.0 <= self.multiplier <= self.max_multiplier:
            raise ValueError(
                "the values should be 0 <= multiplier <= max_multiplier, found "
                f"multiplier={self.multiplier} and max_multiplier={self.max_multiplier}"
            )

    def __call__(self, assessment: Assessment) -> float:
        helpfulness = required_helpfulness(assessment, "lagrangian")
        unsafe = 1.0 - safety(self.controversial, *assessment.verdicts)
        return (helpfulness - self.multiplier * unsafe) / (1.0 + self.multiplier)

    def floor(self, helpfulness: float | None = None) -> float:
        """The reward of an unsafe row; without H there is no lower bound."""
        return -math.inf if helpfulness is None else (helpfulness - self.multiplier) / (1.0 + self.multiplier)
