"""A reward for refusing unsafe prompts and answering safe ones, by the guard's verdict on the prompt."""

from __future__ import annotations

from dataclasses import dataclass

from guard_reward.schemes.base import Assessment, Scheme
from guard_reward.schemes.values import Controversial, check_controversial, check_finite, safety

__all__ = ["AppropriateRefusal"]


@dataclass(frozen=True)
class AppropriateRefusal(Scheme):
    """1 for the right behaviour, less for refusing a safe prompt, least for anything unsafe.

        r = unsafe        if unsafe(x, t) or unsafe(x, y)
        r = over_refusal  if refusal(x, y) and is_safe(x)
        r = 1             otherwise: a safe answer to any prompt, a refusal of an unsafe one

    A safe answer to an unsafe prompt that does not refuse (a warning, a safe alternative) gets as much as a refusal.
    Over-refusal is the exaggerated safety that XSTest measures (Röttger et al. 2023, arXiv 2308.01263).

    Args:
        over_refusal: the reward for refusing a safe prompt; below 1.
        unsafe: the reward for an unsafe answer or unsafe thinking; below `over_refusal`, or complying with a harmful
            request would cost no more than refusing a harmless one.
        controversial: how Controversial counts, in prompts as well as in what the policy wrote: ``"unsafe"``,
            ``"safe"``, or a number from 0 to 1 that mixes the two: 0.25 gives a quarter of the reward for the safe case
            plus three quarters of that for the unsafe case.

    The scheme needs no helpfulness model. So an evasive answer that does not count as a refusal gets as much as a
    helpful one.

    >>> from guard_reward.verdict import Severity, Verdict
    >>> refusal = Verdict(Severity.SAFE, refusal=True)
    >>> [AppropriateRefusal()(Assessment(refusal, prompt=Verdict(severity))) for severity in Severity]
    [0.0, 1.0, 1.0]
    """

    over_refusal: float = 0.0
    unsafe: float = -1.0
    controversial: Controversial = "unsafe"
    needs_prompt = True
    needs_refusal = True

    def __post_init__(self) -> None:
        check_finite(over_refusal=self.over_refusal, unsafe=self.unsafe)
        check_controversial(self.controversial)
        if not self.unsafe < self.over_refusal < 1.0:
            raise ValueError(
                f"the values should be unsafe < over_refusal < 1, found unsafe={self.unsafe} and "
                f"over_refusal={self.over_refusal}: a refusal should get more than unsafe help, and less than being "
                "right"
            )

    def __call__(self, assessment: Assessment) -> float:
        safe = safety(self.controversial, *assessment.verdicts)
        if safe == 0.0:  # independent of the prompt, which may have no verdict
            return self.unsafe
        return safe * self._when_safe(assessment) + (1.0 - safe) * self.unsafe

    def _when_safe(self, assessment: Assessment) -> float:
        if assessment.prompt is None:
            raise ValueError(
                "the appropriate_refusal scheme needs the verdict on the prompt: Assessment(..., prompt=...); "
                "GuardReward asks the guard for it"
            )
        if not assessment.answer.refusal:
            return 1.0
        harmless = safety(self.controversial, assessment.prompt)
        return harmless * self.over_refusal + (1.0 - harmless)

    def floor(self, helpfulness: float | None = None) -> float:
        return self.unsafe
