"""A stream guard's verdicts on tokens as one number per rollout, for trainers that take one reward per completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from guard_reward.schemes.base import Assessment, Scheme
from guard_reward.verdict import Verdict

__all__ = ["TokenScore"]


@dataclass(frozen=True)
class TokenScore(Scheme):
    """A sequence's score from a stream guard's tokens, in [0, 1]; of thinking and answer the lower one.

    | `of` | score |
    |---|---|
    | ``"min"`` | the lowest P(Safe) of any two tokens in a row, the higher of the two counting |
    | ``"mean"`` | the mean P(Safe) |
    | ``"position"`` | the share of the tokens before the first flagged one; 1 if none is flagged |

    ``"min"`` follows the official rule, under which one token alone decides nothing. ``"mean"`` can be raised by
    writing more safe text around an unsafe part; ``"position"`` pays for putting it late.

    Args:
        of: see the table.

    Raises:
        ValueError: another `of`.

    >>> from guard_reward.verdict import Severity, TokenScores
    >>> scores = TokenScores(tokens=10, min_safe=0.1, mean_safe=0.8, flagged=7)
    >>> verdict = Verdict(Severity.UNSAFE, token_scores=scores)
    >>> [TokenScore(of)(Assessment(verdict)) for of in ("min", "mean", "position")]
    [0.1, 0.8, 0.7]
    """

    of: Literal["min", "mean", "position"] = "min"
    needs_tokens = True

    def __post_init__(self) -> None:
        if self.of not in ("min", "mean", "position"):
            raise ValueError(f"of should be 'min', 'mean' or 'position', found {self.of!r}")

    def __call__(self, assessment: Assessment) -> float:
        return min(self._score(verdict) for verdict in assessment.verdicts)

    def _score(self, verdict: Verdict) -> float:
        scores = verdict.token_scores
        if scores is None:
            raise ValueError("the token_score scheme needs a stream guard: this verdict has no scores of tokens")
        if self.of == "min":
            return scores.min_safe
        return scores.mean_safe if self.of == "mean" else scores.position

    def floor(self, helpfulness: float | None = None) -> float:
        return 0.0
