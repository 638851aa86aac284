"""Helpfulness times safety: the reward of output-centric safety training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guard_reward.schemes.base import Assessment, Scheme, required_helpfulness
from guard_reward.schemes.values import Controversial, check_controversial, check_finite, is_finite, safety

__all__ = ["SafeCompletion"]


@dataclass(frozen=True)
class SafeCompletion(Scheme):
    """Helpfulness times safety, both from 0 to 1 (safe-completions, Yuan et al. 2025, arXiv 2508.09224).

        r = h · s,  h = clip((H(x, y) - low) / (high - low), 0, 1)
        s = 1 if thinking and answer are safe, 0 if either is unsafe, `controversial` in between

    An unsafe output gets 0 however helpful it is, a partly safe one gets a fraction of its helpfulness, and a safe one
    gets all of it. A refusal gets as much as it helps. The helpfulness model decides what counts as help; the paper's
    model also counts indirect help, such as a safe alternative or a reason for not complying.

    Args:
        helpfulness_range: (low, high), the values of H that count as no help and as full help; H is mapped linearly
            and clipped. Reward models give logits: use two quantiles of the scores of your own rollouts, which are
            logged as ``guard/helpfulness``.
        controversial: ``"unsafe"``, ``"safe"``, or s of a rollout whose worst verdict is Controversial, from 0 to 1.
            The default is 0.5, because the paper's s is graded; most other schemes are strict.

    >>> from guard_reward.verdict import Severity, Verdict
    >>> [SafeCompletion()(Assessment(Verdict(severity), helpfulness=0.5)) for severity in Severity]
    [0.5, 0.25, 0.0]
    """

    helpfulness_range: tuple[float, float] = (0.0, 1.0)
    controversial: Controversial = 0.5
    needs_helpfulness = True

    def __post_init__(self) -> None:
        _check_range(self.helpfulness_range)
        object.__setattr__(self, "helpfulness_range", tuple(self.helpfulness_range))  # a list could be changed
        check_controversial(self.controversial)

    def __call__(self, assessment: Assessment) -> float:
        low, high = self.helpfulness_range
        helpful = (required_helpfulness(assessment, "safe_completion") - low) / (high - low)
        return min(max(helpful, 0.0), 1.0) * safety(self.controversial, *assessment.verdicts)

    def floor(self, helpfulness: float | None = None) -> float:
        return 0.0


def _check_range(bounds: Any) -> None:
    are_two_numbers = isinstance(bounds, (tuple, list)) and len(bounds) == 2 and all(map(is_finite, bounds))
    if not are_two_numbers or not bounds[0] < bounds[1]:
        raise ValueError(
            f"helpfulness_range should be two numbers, low < high, found {bounds}: the values of H that count as no "
            "help and as full help"
        )
    check_finite(**{f"helpfulness_range[{index}]": bound for index, bound in enumerate(bounds)})
