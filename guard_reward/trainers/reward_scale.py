"""The scale of the rewards: scores of any range brought to one in which PPO's coefficients mean the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["RewardScale"]


class RewardScale:
    """Scores shifted and scaled by the mean and standard deviation of all scores so far, on all ranks.

    Reward schemes range over 1 (`GuardOnly`) or over 11 (`Hybrid`). Divided by their deviation, a KL coefficient, a
    value clip range and a value coefficient hold for all of them (reward scaling in Engstrom et al., arXiv 2005.12729,
    section 2). A running one, because the spread within one batch goes to 0 where training succeeds. The mean is taken
    off, so that a critic that starts at 0 need not learn it first; every episode has one score, so that with γ = 1 a
    constant changes nothing about which policy is best.

    Attributes:
        moments: (3,) count, sum and sum of squares of the scores, float64.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.moments = torch.zeros(3, dtype=torch.float64)

    def update(self, scores: torch.Tensor) -> None:
        """Take in this rank's `scores` (B,); NaN (no score) does not count. Every rank has to call."""
        scores = self.accelerator.gather(scores.float()).double().cpu()
        scores = scores[~scores.isnan()]
        self.moments += torch.stack([torch.tensor(float(len(scores))).double(), scores.sum(), (scores**2).sum()])

    def __call__(self, scores: torch.Tensor) -> torch.Tensor:
        """The scaled scores (B,); only shifted as long as no two scores differed."""
        count, total, squares = self.moments.tolist()
        if not count:
            return scores
        mean = total / count
        deviation = max(squares / count - mean**2, 0.0) ** 0.5
        return (scores - mean) / (deviation if deviation > 1e-6 else 1.0)
