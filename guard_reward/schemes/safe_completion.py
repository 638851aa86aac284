"""Helpful as far as it is safe: the reward of output-centric safety training."""

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

__all__ = ["SafeCompletion"]


@dataclass(frozen=True)
class SafeCompletion:
    """Helpfulness times safety, both from 0 to 1 (safe-completions, Yuan et al. 2025, arXiv 2508.09224).

        r = h · s,  h = clip((H(x, y) - low) / (high - low), 0, 1)
        s = 1 if thinking and answer are safe, 0 if either is unsafe, `controversial` in between

    An unsafe output gets 0 however helpful it is, one that is less than fully safe a share of its helpfulness, and a
    safe one its helpfulness: a refusal is worth what it helps. What counts as help is up to the helpfulness model; the
    paper's also counts indirect help, such as a safe alternative or a reason for not complying.

    Args:
        helpfulness_range: (low, high), the values of H that count as no help and as full help; H is mapped linearly
            and clipped. Reward models give logits: take two quantiles of what yours gives to your own rollouts, as
            logged in ``guard/helpfulness``.
        controversial: ``"unsafe"``, ``"safe"``, or s of a rollout whose worst verdict is Controversial, from 0 to 1.
            0.5 by default, not strict as elsewhere, because the paper's s is graded.

    >>> from guard_reward.verdict import Severity, Verdict
    >>> [SafeCompletion()(Assessment(Verdict(severity), helpfulness=0.5)) for severity in Severity]
    [0.5, 0.25, 0.0]
    """

    helpfulness_range: tuple[float, float] = (0.0, 1.0)
    controversial: Controversial = 0.5
    needs_helpfulness = True

    def __post_init__(self) -> None:
        check_controversial(self.controversial)
        low, high = self.helpfulness_range
        if not -math.inf < low < high < math.inf:
            raise ValueError(
                f"helpfulness_range should be two numbers, low < high, found {self.helpfulness_range}: what H counts "
                "as no help and as full help"
            )

    def __call__(self, assessment: Assessment) -> float:
        low, high = self.helpfulness_range
        share = (required_helpfulness(assessment, "safe_completion") - low) / (high - low)
        return min(max(share, 0.0), 1.0) * safeness(self.controversial, *assessment.verdicts)

    def floor(self, helpfulness: float | None = None) -> float:
        return 0.0
