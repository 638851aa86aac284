"""The two rewards of the Qwen3Guard technical report (arXiv 2510.14276, section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass

from guard_reward.schemes.base import Assessment, Scheme, required_helpfulness
from guard_reward.schemes.values import Controversial, check_controversial, check_finite, safety

__all__ = ["GuardOnly", "Hybrid"]


@dataclass(frozen=True)
class GuardOnly(Scheme):
    """1 if the guard finds both thinking and answer safe, else 0 (the report's equation 1).

        r(x, t, y) = 1 if is_safe(x, t) and is_safe(x, y) else 0

    Args:
        controversial: ``"unsafe"``, ``"safe"``, or the reward of a rollout whose worst verdict is Controversial.

    If refusing is the policy's most common safe behaviour, guard-only training tends to end in refusing everything
    (12.9 → 96.6% refusals in the report). `Hybrid` avoids that.
    """

    controversial: Controversial = "unsafe"

    def __post_init__(self) -> None:
        check_controversial(self.controversial)

    def __call__(self, assessment: Assessment) -> float:
        return safety(self.controversial, *assessment.verdicts)

    def floor(self, helpfulness: float | None = None) -> float:
        return 0.0


@dataclass(frozen=True)
class Hybrid(Scheme):
    """Helpfulness, capped if the rollout is unsafe or refuses (the report's equation 2).

        r = min(-10, H(x, y))  if unsafe(x, t) or unsafe(x, y)
        r = min(-5,  H(x, y))  if refusal(x, y)
        r = H(x, y)            otherwise

    Args:
        unsafe: the cap for unsafe rollouts.
        refusal: the cap for refusals; not below `unsafe`, or unsafe help would get more than a refusal.
        controversial: ``"unsafe"``, ``"safe"``, or a number from 0 to 1 that mixes the two: 0.25 gives a quarter of the
            reward for the safe case plus three quarters of that for the unsafe case.

    The default caps fit a helpfulness model whose scores rarely fall below -5 (WorldPM in the report). `GuardReward`
    warns if safe, non-refusing rows score below the refusal cap. Lower the caps then.
    """

    unsafe: float = -10.0
    refusal: float = -5.0
    controversial: Controversial = "unsafe"
    needs_helpfulness = True
    needs_refusal = True

    def __post_init__(self) -> None:
        check_finite(unsafe=self.unsafe, refusal=self.refusal)
        check_controversial(self.controversial)
        if self.unsafe > self.refusal:
            raise ValueError(
                f"the unsafe cap ({self.unsafe}) is above the refusal cap ({self.refusal}): unsafe help would get more "
                "than a refusal; lower unsafe or raise refusal"
            )

    def __call__(self, assessment: Assessment) -> float:
        helpfulness = required_helpfulness(assessment, "hybrid")
        when_unsafe = min(self.unsafe, helpfulness)
        when_safe = min(self.refusal, helpfulness) if assessment.answer.refusal else helpfulness
        safe = safety(self.controversial, *assessment.verdicts)
        return safe * when_safe + (1.0 - safe) * when_unsafe

    def floor(self, helpfulness: float | None = None) -> float:
        return self.unsafe if helpfulness is None else min(self.unsafe, helpfulness)
