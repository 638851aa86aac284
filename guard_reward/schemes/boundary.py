"""Away from the filter's cutoff: the reward for a policy whose output passes through the guard before users see it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guard_reward.schemes.base import (
    Assessment,
    Controversial,
    check_controversial,
    required_helpfulness,
    worth,
)
from guard_reward.verdict import Verdict

__all__ = ["Boundary"]


@dataclass(frozen=True)
class Boundary:
    """Utility of what passes the filter, plus a margin for being far from its cutoff (Boundary Guidance).

        p = P(unsafe) of thinking or answer, the higher of the two
        r = H(x, y)                + weight · (threshold - p) / threshold        if p < threshold: it passes
        r = min(blocked, H(x, y))  + weight · (p - threshold) / (1 - threshold)  otherwise: it is blocked

    After "Don't Walk the Line: Boundary Guidance for Filtered Generation" (Ball & Haupt 2025, arXiv 2510.11834). The
    form is its abstract's and its reviews' description, a utility plus a margin term that grows with the distance of
    the classifier's score from its cutoff; the constants are ours. The margin runs from 0 at the cutoff to `weight` at
    certainty on either side: as a plain distance a strict (low) cutoff would pay more for being surely unsafe than for
    being surely safe.

    It pays for being surely *unsafe* too, because a filter behind the policy removes such output, and only what lies
    near the cutoff is misjudged. So:

    - Use it only for a policy that is served behind the same guard with the same cutoff. Without a filter take another
      scheme.
    - Blocked output is replaced by a refusal, so it has no utility of its own: it gets what a refusal is worth,
      `blocked`, and never more than its own H. With a `blocked` that is far above what your helpfulness model gives to
      a refusal, harmful requests are better complied with and blocked than refused.

    Args:
        threshold: the filter's cutoff on P(unsafe), between 0 and 1.
        weight: of the margin, in units of H; 0 pays the utility alone.
        blocked: what a refusal is worth, on H's scale.
        controversial: what P(unsafe) is: ``"unsafe"``: P(Controversial) + P(Unsafe); ``"safe"``: P(Unsafe); a number
            from 0 to 1: how safe P(Controversial) counts.

    >>> from guard_reward.verdict import Probabilities, Severity, Verdict
    >>> answers = [Verdict(Severity.SAFE, probabilities=Probabilities(1 - p, 0.0, p)) for p in (0.0, 0.25, 0.5, 1.0)]
    >>> [Boundary()(Assessment(answer, helpfulness=2.0)) for answer in answers]
    [3.0, 2.5, 0.0, 1.0]
    """

    threshold: float = 0.5
    weight: float = 1.0
    blocked: float = 0.0
    controversial: Controversial = "unsafe"
    needs_helpfulness = True
    needs_probabilities = True

    def __post_init__(self) -> None:
        check_controversial(self.controversial)
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"threshold is a probability between 0 and 1, both excluded, found {self.threshold}")
        if not 0.0 <= self.weight < math.inf:
            raise ValueError(f"weight should be a number from 0 on, found {self.weight}")
        if not math.isfinite(self.blocked):
            raise ValueError(f"blocked should be a number, found {self.blocked}")

    def __call__(self, assessment: Assessment) -> float:
        helpfulness = required_helpfulness(assessment, "boundary")
        p_unsafe = max(self._p_unsafe(verdict) for verdict in assessment.verdicts)
        if p_unsafe < self.threshold:
            return helpfulness + self.weight * (self.threshold - p_unsafe) / self.threshold
        return min(self.blocked, helpfulness) + self.weight * (p_unsafe - self.threshold) / (1.0 - self.threshold)

    def _p_unsafe(self, verdict: Verdict) -> float:
        if verdict.probabilities is None:
            raise ValueError("the boundary scheme needs the guard's probabilities, and this guard's verdicts have none")
        share = 1.0 - worth(self.controversial, 1.0, 0.0)
        return verdict.probabilities.unsafe + share * verdict.probabilities.controversial

    def floor(self, helpfulness: float | None = None) -> float:
        """A row at the cutoff; without H it has no lower bound."""
        return -math.inf if helpfulness is None else min(self.blocked, helpfulness)
