"""How the judging of a row ends, and what such a row gets: the one place that decides both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rollout import Rollout
from guard_reward.schemes import Assessment, Scheme
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

__all__ = [
    "DEFAULT_OUTCOME_REWARDS",
    "OutcomeReward",
    "RowOutcome",
    "checked_outcome_rewards",
    "row_outcome",
    "score_row",
]

OutcomeReward = float | Literal["floor", "windows"] | None
"""Reward by outcome: a number, the scheme's worst value (``"floor"``), its value for a verdict from windows
(``"windows"``), or None for no part in training."""

DEFAULT_OUTCOME_REWARDS: Mapping[Outcome, OutcomeReward] = {
    Outcome.EMPTY: "floor",
    Outcome.TOO_LONG: "windows",
    Outcome.NO_VERDICT: None,
    Outcome.GUARD_ERROR: None,
}


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """How a row ended.

    Attributes:
        name: of the outcome.
        reason: why, unless it ended in an ordinary verdict.
        is_complete: whether everything that the scheme needs is there.
    """

    name: Outcome
    reason: str = ""
    is_complete: bool = False


def row_outcome(
    rollout: Rollout | Unjudged, verdicts: RolloutVerdicts, helpfulness: float | None, scheme: Scheme
) -> RowOutcome:
    """Name a row's outcome. The first line that applies decides:

    | | if | outcome |
    |---|---|---|
    | 1 | the row could not be read, or answer or thinking have no verdict, and no other part is Unsafe | that part's |
    | 2 | the prompt should have a verdict and has none, unless an Unsafe part decides alone | the prompt's |
    | 3 | the answer has no letter and no digit | ``empty`` |
    | 4 | the scheme needs helpfulness, and there is none | ``guard_error`` |
    | 5 | the scheme needs probabilities, and a verdict has none | ``guard_error`` |
    | 6 | a part was judged in windows | ``too_long``, complete |
    | 7 | otherwise | ``scored``, complete |

    An Unsafe part decides alone, so that a policy cannot escape it by making another part unreadable. Under a scheme
    that reads probabilities nothing is surely unsafe, so there it does not stand in for the prompt's verdict.
    """
    is_unsafe = any(verdict.severity is Severity.UNSAFE for verdict in verdicts.written)
    for part in (rollout, verdicts.answer, verdicts.thinking):
        if isinstance(part, Unjudged) and not is_unsafe:
            return RowOutcome(part.outcome, part.reason)
    if isinstance(verdicts.prompt, Unjudged) and (scheme.needs_probabilities or not is_unsafe):
        return RowOutcome(verdicts.prompt.outcome, f"the prompt: {verdicts.prompt.reason}")
    if isinstance(rollout, Rollout) and rollout.outcome is Outcome.EMPTY:
        return RowOutcome(Outcome.EMPTY, "the answer has no letter and no digit")
    if scheme.needs_helpfulness and helpfulness is None:
        return RowOutcome(Outcome.GUARD_ERROR, "the helpfulness function gave no number")
    judged = [*verdicts.written, *([verdicts.prompt] if isinstance(verdicts.prompt, Verdict) else [])]
    if scheme.needs_probabilities and any(verdict.probabilities is None for verdict in judged):
        return RowOutcome(Outcome.GUARD_ERROR, "the verdict came without probabilities, which the scheme needs")
    windows = max(verdict.windows for verdict in judged)
    if windows > 1:
        return RowOutcome(Outcome.TOO_LONG, f"judged in {windows} windows", is_complete=True)
    return RowOutcome(Outcome.SCORED, is_complete=True)


def score_row(
    row: RowOutcome,
    assessment: Assessment | None,
    helpfulness: float | None,
    scheme: Scheme,
    outcome_rewards: Mapping[Outcome, OutcomeReward],
) -> float | None:
    """What a row gets; None if it takes no part in training.

    Args:
        row: how it ended.
        assessment: what the scheme is given; None if the row is not complete.
        helpfulness: H(x, y), which some floors depend on.
        scheme: what maps the assessment to a reward.
        outcome_rewards: what rows get that did not end in an ordinary verdict.

    Raises:
        ValueError: the scheme gave NaN or an infinite number.
    """
    choice = outcome_rewards.get(row.name)
    if row.name is Outcome.SCORED or choice == "windows":
        return None if assessment is None else _scheme_value(scheme, assessment)
    if choice == "floor":
        floor = scheme.floor(helpfulness)
        # Without helpfulness some schemes have no worst value, and any number might be better than the other rows'.
        return floor if math.isfinite(floor) else None
    assert not isinstance(choice, str)
    return choice


def checked_outcome_rewards(
    given: Mapping[Outcome | str, OutcomeReward] | None, scheme: Scheme
) -> dict[Outcome, OutcomeReward]:
    """The defaults with what a user chose.

    Raises:
        ValueError: an unknown outcome or word, a number that is not finite, or a floor that the scheme does not have.
    """
    rewards = dict(DEFAULT_OUTCOME_REWARDS)
    for key, value in (given or {}).items():
        if key not in [str(outcome) for outcome in DEFAULT_OUTCOME_REWARDS]:
            raise ValueError(f"on_outcome: {key!r} is not an outcome; there are {', '.join(DEFAULT_OUTCOME_REWARDS)}")
        rewards[Outcome(key)] = _checked(value, Outcome(key))
    if "floor" in rewards.values() and not scheme.has_floor:
        floors = [str(outcome) for outcome, value in rewards.items() if value == "floor"]
        raise ValueError(
            f"{scheme!r} has no floor(helpfulness), the worst value it can give; add one, or say what such rows "
            f"get: on_outcome={{{floors[0]!r}: <number or None>}}"
        )
    return rewards


def _checked(value: OutcomeReward, outcome: Outcome) -> OutcomeReward:
    words = ("floor", "windows") if outcome is Outcome.TOO_LONG else ("floor",)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if value is None or is_number or value in words:
        return value
    raise ValueError(
        f"on_outcome[{str(outcome)!r}] should be a finite number, None or {' or '.join(words)}, found {value!r}"
    )


def _scheme_value(scheme: Scheme, assessment: Assessment) -> float:
    reward = float(scheme(assessment))
    if not math.isfinite(reward):
        raise ValueError(f"the scheme {scheme!r} gave {reward}; a reward must be a finite number")
    return reward
