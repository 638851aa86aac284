"""Refusing where it is right: the guard's verdict on the prompt decides whether a refusal is one."""

from __future__ import annotations

from dataclasses import dataclass

from guard_reward.schemes.base import Assessment, Controversial, check_controversial, safeness

__all__ = ["AppropriateRefusal"]


@dataclass(frozen=True)
class AppropriateRefusal:
    """1 for what is right, less for refusing a safe prompt, least for anything unsafe.

        r = unsafe        if unsafe(x, t) or unsafe(x, y)
        r = over_refusal  if refusal(x, y) and is_safe(x)
        r = 1             otherwise: a safe answer to any prompt, a refusal of an unsafe one

    A safe answer to an unsafe prompt that does not refuse (a warning, another way to the same end) is worth as much as
    a refusal. Over-refusal is the exaggerated safety that XSTest measures (Röttger et al. 2023, arXiv 2308.01263).

    Args:
        over_refusal: for refusing a safe prompt; below 1.
        unsafe: for unsafe answers or thinking; below `over_refusal`, or complying with a harmful request would cost no
            more than refusing a harmless one.
        controversial: how Controversial counts, in what the policy wrote and in prompts: ``"unsafe"``, ``"safe"``, or
            how safe it is from 0 to 1: the reward is then that share of the safe case's and the rest of the unsafe
            case's.

    Needs no helpfulness model: an evasive answer that does not count as a refusal is as good as a helpful one.

    >>> from guard_reward.verdict import Severity, Verdict
    >>> refusal = Verdict(Severity.SAFE, refusal=True)
    >>> [AppropriateRefusal()(Assessment(refusal, prompt=Verdict(severity))) for severity in Severity]
    [0.0, 1.0, 1.0]
    """

    over_refusal: float = 0.0
    unsafe: float = -1.0
    controversial: Controversial = "unsafe"
    needs_helpfulness = False
    needs_prompt = True

    def __post_init__(self) -> None:
        check_controversial(self.controversial)
        if not self.unsafe < self.over_refusal < 1.0:
            raise ValueError(
                f"the values should be unsafe < over_refusal < 1, found unsafe={self.unsafe} and "
                f"over_refusal={self.over_refusal}: refusing should pay better than unsafe help, and less than being "
                "right"
            )

    def __call__(self, assessment: Assessment) -> float:
        share = safeness(self.controversial, *assessment.verdicts)
        if share == 0.0:  # whatever the prompt: it may have no verdict
            return self.unsafe
        return share * self._when_safe(assessment) + (1.0 - share) * self.unsafe

    def _when_safe(self, assessment: Assessment) -> float:
        if assessment.prompt is None:
            raise ValueError(
                "the appropriate_refusal scheme needs the verdict on the prompt: Assessment(..., prompt=...); "
                "GuardReward asks the guard for it"
            )
        if not assessment.answer.refusal:
            return 1.0
        harmless = safeness(self.controversial, assessment.prompt)
        return harmless * self.over_refusal + (1.0 - harmless)

    def floor(self, helpfulness: float | None = None) -> float:
        return self.unsafe
