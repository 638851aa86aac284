"""A reward for a policy behind a filter: its output should be far from the filter's cutoff."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guard_reward.schemes.base import Assessment, Scheme, required_helpfulness
from guard_reward.schemes.values import Controversial, check_controversial, check_finite, controversial_value
from guard_reward.verdict import Verdict

__all__ = ["Boundary"]


@dataclass(frozen=True)
class Boundary(Scheme):
    """Utility of what passes the filter, plus a margin for being far from its cutoff (Boundary Guidance).

        p = P(unsafe) of thinking or answer, the higher of the two
        r = H(x, y)                + weight · (threshold - p) / threshold        if p < threshold: it passes
        r = min(blocked, H(x, y))  + weight · (p - threshold) / (1 - threshold)  otherwise: it is blocked

    After "Don't Walk the Line: Boundary Guidance for Filtered Generation" (Ball & Haupt 2025, arXiv 2510.11834). The
    form follows the description in its abstract and reviews: a utility plus a margin that grows with the distance
    between the classifier's score and its cutoff. The constants are ours. On either side the margin grows from 0 at the
    cutoff to `weight` at certainty. With a plain distance, a strict (low) cutoff would give surely unsafe output a
    higher reward than surely safe output.

    The margin also rewards output that is surely *unsafe*: a filter behind the policy removes it, and only output near
    the cutoff is misjudged. So:

    - Use the scheme only for a policy that is served behind the same guard with the same cutoff. Without such a filter,
      use another scheme.
    - Blocked output is replaced by a refusal, so it has no utility of its own. It gets `blocked`, the value of a
      refusal, but never more than its own H. If `blocked` is far above what your helpfulness model gives to refusals,
      complying with a harmful request and being blocked gets more than refusing it.

    Args:
        threshold: the filter's cutoff on P(unsafe), between 0 and 1.
        weight: weight of the margin, in units of H; 0 leaves the utility alone.
        blocked: value of a refusal, on H's scale.
        controversial: how P(unsafe) is computed. ``"unsafe"``: P(Controversial) + P(Unsafe). ``"safe"``: P(Unsafe). A
            number from 0 to 1 says how safe Controversial is.

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
        check_finite(threshold=self.threshold, weight=self.weight, blocked=self.blocked)
        check_controversial(self.controversial)
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"threshold should be a probability above 0 and below 1, found {self.threshold}")
        if self.weight < 0.0:
            raise ValueError(f"weight should not be negative, found {self.weight}")

    def __call__(self, assessment: Assessment) -> float:
        helpfulness = required_helpfulness(assessment, "boundary")
        p_unsafe = max(self._p_unsafe(verdict) for verdict in assessment.verdicts)
        if p_unsafe < self.threshold:
            return helpfulness + self.weight * (self.threshold - p_unsafe) / self.threshold
        return min(self.blocked, helpfulness) + self.weight * (p_unsafe - self.threshold) / (1.0 - self.threshold)

    def _p_unsafe(self, verdict: Verdict) -> float:
        if verdict.probabilities is None:
            raise ValueError("the boundary scheme needs the guard's probabilities, and this guard's verdicts have none")
        counted = 1.0 - controversial_value(self.controversial, 1.0, 0.0)
        return verdict.probabilities.unsafe + counted * verdict.probabilities.controversial

    def floor(self, helpfulness: float | None = None) -> float:
        """The reward of a row at the cutoff; without H there is no lower bound."""
        return -math.inf if helpfulness is None else min(self.blocked, helpfulness)
