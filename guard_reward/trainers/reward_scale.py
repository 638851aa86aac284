"""The scale of the rewards: scores of all schemes are brought to one scale, so that PPO's coefficients fit them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["RewardScale"]


class RewardScale:
    """Scores shifted and scaled by the mean and standard deviation of all scores so far, on all ranks.

    The rewards of `GuardOnly` have a range of 1, those of `Hybrid` a range of 11. Divided by their standard deviation,
    one KL coefficient, one value clip range and one value coefficient fit all of them (reward scaling in Engstrom et
    al., arXiv 2005.12729, section 2). The deviation is a running one, because within one batch it goes to 0 when
    training succeeds. The mean is subtracted, so that a critic that starts at 0 need not learn it first; every episode
    has one score, so with γ = 1 a constant does not change which policy is best.

    Attributes:
        moments: (3,) count, sum and sum of squares of the scores, float64.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.moments = torch.zeros(3, dtype=torch.float64)

    def update(self, scores: torch.Tensor) -> None:
        """Add this rank's `scores` (B,); NaN (no score) does not count. Every rank must call."""
        scores = self.accelerator.gather(scores.float()).double().cpu()
        scores = scores[~scores.isnan()]
        self.moments += torch.stack([torch.tensor(float(len(scores))).double(), scores.sum(), (scores**2).sum()])

    def __call__(self, scores: torch.Tensor) -> torch.Tensor:
        """The scaled scores (B,); only shifted while all scores are equal."""
        count, total, _ = self.moments.tolist()
        return (scores - total / count) / self.deviation if count else scores

    @property
    def deviation(self) -> float:
        """What scores are divided by: their standard deviation; 1 while all scores are equal."""
        count, total, squares = self.moments.tolist()
        if not count:
            return 1.0
        deviation = float(max(squares / count - (total / count) ** 2, 0.0) ** 0.5)
        return deviation if deviation > 1e-6 else 1.0
