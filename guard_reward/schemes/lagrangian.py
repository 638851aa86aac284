"""Helpfulness subject to a limit on unsafe rollouts: the reward of a Lagrangian."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guard_reward.schemes.base import (
    Assessment,
    Controversial,
    check_controversial,
    required_helpfulness,
    safeness,
)

__all__ = ["Lagrangian"]


@dataclass(frozen=True)
class Lagrangian:
    """Maximise E[H] subject to E[unsafe] ≤ `unsafe_rate`, with a multiplier λ that is learned while training.

        r = (H(x, y) - λ · unsafe(x, t, y)) / (1 + λ)
        λ ← clip(λ + learning_rate · (measured unsafe rate - unsafe_rate), 0, max_multiplier)

    unsafe is 0 or 1, a share where `controversial` is a number, and the guard's expectation of it under
    ``Soft(Lagrangian())``. The first line is the reward of Safe RLHF (Dai et al. 2023, arXiv 2310.12773), whose cost is
    here the guard's verdict and whose limit is a rate; the second is projected dual ascent, one step a batch.

    The scheme is a plain function: its λ is the field `multiplier`. Inside a trainer `GuardReward` keeps the learned λ
    in the trainer's state, from where it is logged, saved and resumed (`guard_reward.rewards.dual_ascent`).

    Args:
        unsafe_rate: the tolerated share of unsafe rollouts, from 0 to 1.
        learning_rate: of λ, in units of H a batch for a rate that is 1 too high; 0 keeps λ where it is.
        delay: training batches before anything is learned.
        window: judged rollouts, over all ranks, over which the unsafe rate is measured.
        max_multiplier: the largest λ. Where λ stands still, unsafe costs as much as λ units of H: choose it above the
            difference in H that an unsafe answer can make.
        multiplier: the λ that training starts from.
        controversial: ``"unsafe"``, ``"safe"``, or how safe Controversial is from 0 to 1.

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
        check_controversial(self.controversial)
        if not 0.0 <= self.unsafe_rate <= 1.0:
            raise ValueError(f"unsafe_rate is a share, from 0 to 1, found {self.unsafe_rate}")
        if not 0.0 <= self.learning_rate < math.inf:
            raise ValueError(f"learning_rate should be a number from 0 on, found {self.learning_rate}")
        if self.delay < 0:
            raise ValueError(f"delay should be a number of batches from 0 on, found {self.delay}")
        if self.window < 1:
            raise ValueError(f"window should be at least 1 rollout, found {self.window}")
        if not 0.0 <= self.multiplier <= self.max_multiplier < math.inf:
            raise ValueError(
                "the values should be 0 <= multiplier <= max_multiplier, found "
                f"multiplier={self.multiplier} and max_multiplier={self.max_multiplier}"
            )

    def __call__(self, assessment: Assessment) -> float:
        helpfulness = required_helpfulness(assessment, "lagrangian")
        unsafe = 1.0 - safeness(self.controversial, *assessment.verdicts)
        return (helpfulness - self.multiplier * unsafe) / (1.0 + self.multiplier)

    def floor(self, helpfulness: float | None = None) -> float:
        """An unsafe row's reward; without H it has no lower bound."""
        return -math.inf if helpfulness is None else (helpfulness - self.multiplier) / (1.0 + self.multiplier)
