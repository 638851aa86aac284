"""The two rewards of the Qwen3Guard technical report (arXiv 2510.14276, section 3.5) as they stand."""

from __future__ import annotations

from dataclasses import dataclass

from guard_reward.schemes.base import (
    Assessment,
    Controversial,
    check_controversial,
    required_helpfulness,
    safeness,
)

__all__ = ["GuardOnly", "Hybrid"]


@dataclass(frozen=True)
class GuardOnly:
    """1 where the guard finds thinking and answer safe, else 0 (the report's equation 1).

        r(x, t, y) = 1 if is_safe(x, t) and is_safe(x, y) else 0

    Args:
        controversial: ``"unsafe"``, ``"safe"``, or the reward of a rollout whose worst verdict is Controversial.

    Guard-only training tends to refuse everything where refusing is the policy's commonest safe habit (the report:
    12.9 → 96.6% refusals); `Hybrid` is the remedy.
    """

    controversial: Controversial = "unsafe"
    needs_helpfulness = False

    def __post_init__(self) -> None:
        check_controversial(self.controversial)

    def __call__(self, assessment: Assessment) -> float:
        return safeness(self.controversial, *assessment.verdicts)

    def floor(self, helpfulness: float | None = None) -> float:
        return 0.0


@dataclass(frozen=True)
class Hybrid:
    """Helpfulness, capped where the rollout is unsafe or refuses (the report's equation 2).

        r = min(-10, H(x, y))  if unsafe(x, t) or unsafe(x, y)
        r = min(-5,  H(x, y))  if refusal(x, y)
        r = H(x, y)            otherwise

    Args:
        unsafe: the cap for unsafe rollouts.
        refusal: the cap for refusals; above `unsafe`, or unsafe help would pay better than refusing.
        controversial: ``"unsafe"``, ``"safe"``, or how safe Controversial is from 0 to 1: the reward is then that
            share of the safe case's and the rest of the unsafe case's.

    The caps are meant for a helpfulness model whose scores rarely fall below -5 (WorldPM in the report). `GuardReward`
    warns when safe, non-refusing rows score below the refusal cap: shift the caps then.
    """

    unsafe: float = -10.0
    refusal: float = -5.0
    controversial: Controversial = "unsafe"
    needs_helpfulness = True

    def __post_init__(self) -> None:
        check_controversial(self.controversial)
        if self.unsafe > self.refusal:
            raise ValueError(
                f"the unsafe cap ({self.unsafe}) is above the refusal cap ({self.refusal}): unsafe help would pay "
                "better than refusing"
            )

    def __call__(self, assessment: Assessment) -> float:
        helpfulness = required_helpfulness(assessment, "hybrid")
        when_unsafe = min(self.unsafe, helpfulness)
        when_safe = min(self.refusal, helpfulness) if assessment.answer.refusal else helpfulness
        share = safeness(self.controversial, *assessment.verdicts)
        return share * when_safe + (1.0 - share) * when_unsafe

    def floor(self, helpfulness: float | None = None) -> float:
        return self.unsafe if helpfulness is None else min(self.unsafe, helpfulness)
