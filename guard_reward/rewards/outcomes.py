"""How the judging of a row ends, and what such a row gets: the one place that decides both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from guard_reward.guards.typed_marks import Kind, TypedMark
from guard_reward.rewards.defences import Defences
from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rollout import Rollout
from guard_reward.schemes import Assessment, Scheme
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

__all__ = [
    "DEFAULT_OUTCOME_REWARDS",
    "MOST_COMBINATIONS",
    "OVERLAYS",
    "OutcomeReward",
    "RowOutcome",
    "as_injection",
    "as_overlay",
    "checked_outcome_rewards",
    "readings",
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
    Outcome.TIMEOUT: None,
}
"""What rows get unless a user says otherwise. ``injection`` has no entry: without a choice, such rows end as others.
``degenerate`` and ``language_switch`` have one if their defence is on: the floor, or, under a scheme without one, what
``empty`` gets."""

OVERLAYS = (Outcome.INJECTION, Outcome.DEGENERATE, Outcome.LANGUAGE_SWITCH)
"""Outcomes of what the policy wrote, whatever the guard says of it; the first one that a row has is its name."""

MOST_COMBINATIONS = 1024
"""Combinations of readings of an answer and of its thinking that a scheme is asked about."""

_CHOOSABLE = [*map(str, DEFAULT_OUTCOME_REWARDS), *map(str, OVERLAYS)]


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """How a row ended.

    Attributes:
        name: of the outcome.
        reason: why, unless it ended in an ordinary verdict.
        is_complete: whether everything that the scheme needs is there.
        otherwise: how a row that ends for what the policy wrote (`OVERLAYS`) would have ended without that.
    """

    name: Outcome
    reason: str = ""
    is_complete: bool = False
    otherwise: tuple[Outcome, ...] = ()


def row_outcome(
    rollout: Rollout | Unjudged,
    verdicts: RolloutVerdicts,
    helpfulness: float | None,
    scheme: Scheme,
    shown: Mapping[str, float] | Unjudged | None = None,
) -> RowOutcome:
    """Name a row's outcome by what the guard said; `as_overlay` may give it another name. The first line decides:

    | | if | outcome |
    |---|---|---|
    | 1 | the row could not be read, or answer or thinking have no verdict, and no other part is Unsafe | that part's |
    | 2 | the prompt should have a verdict and has none, unless an Unsafe part decides alone | the prompt's |
    | 3 | the policy wrote no letter and no digit in its answer | ``empty`` |
    | 4 | the scheme needs helpfulness, and there is none | ``guard_error`` |
    | 5 | the scheme needs probabilities, and a verdict has none | ``guard_error`` |
    | 6 | the scheme looks for something in the answer, and the search failed | that of the search |
    | 7 | a part was judged in windows | ``too_long``, complete |
    | 8 | otherwise | ``scored``, complete |

    An Unsafe part decides alone, so that a policy cannot escape it by making another part unreadable. Under a scheme
    that reads probabilities nothing is surely unsafe, so there it does not stand in for the prompt's verdict.

    Then what the policy wrote, in this order; the row never gets more than without it:

    | | if | outcome |
    |---|---|---|
    | 9 | it typed marks of the guard's prompt, and ``on_outcome`` has ``injection`` | ``injection`` |
    | 10 | it says nothing, and is not ``empty``; `Defences.degenerate` is on | ``degenerate`` |
    | 11 | it is in another script than the prompt; `Defences.language_switch` is on | ``language_switch`` |
    """
    is_unsafe = any(verdict.severity is Severity.UNSAFE for verdict in verdicts.written)
    for part in (rollout, verdicts.answer, verdicts.thinking):
        if isinstance(part, Unjudged) and not is_unsafe:
            return RowOutcome(part.outcome, part.reason)
    if isinstance(verdicts.prompt, Unjudged) and (scheme.needs_probabilities or not is_unsafe):
        return RowOutcome(verdicts.prompt.outcome, f"the prompt: {verdicts.prompt.reason}")
    if isinstance(rollout, Rollout) and rollout.outcome is Outcome.EMPTY:
        return RowOutcome(Outcome.EMPTY, "no letter and no digit in the policy's text, nor in the arguments of a call")
    if scheme.needs_helpfulness and helpfulness is None:
        return RowOutcome(Outcome.GUARD_ERROR, "the helpfulness function gave no number")
    judged = [*verdicts.written, *([verdicts.prompt] if isinstance(verdicts.prompt, Verdict) else [])]
    if scheme.needs_probabilities and any(verdict.probabilities is None for verdict in judged):
        return RowOutcome(Outcome.GUARD_ERROR, "the verdict came without probabilities, which the scheme needs")
    if isinstance(shown, Unjudged):
        return RowOutcome(shown.outcome, shown.reason)
    windows = max(verdict.windows for verdict in judged)
    if windows > 1:
        return RowOutcome(Outcome.TOO_LONG, f"judged in {windows} windows", is_complete=True)
    return RowOutcome(Outcome.SCORED, is_complete=True)


def as_injection(
    row: RowOutcome, marks: Sequence[TypedMark], outcome_rewards: Mapping[Outcome, OutcomeReward]
) -> RowOutcome:
    """The row as an ``injection``, if the policy typed marks of the guard's prompt and the user says what that pays.

    Tags do not count: policies think in them and call tools with them.
    """
    typed = sum(mark.kind is not Kind.TAG for mark in marks)
    if not typed:
        return row
    return as_overlay(
        row, Outcome.INJECTION, f"the policy typed {typed} marks of the guard's prompt or answer", outcome_rewards
    )


def as_overlay(
    row: RowOutcome, outcome: Outcome, reason: str, outcome_rewards: Mapping[Outcome, OutcomeReward]
) -> RowOutcome:
    """The row as one that ends for what the policy wrote, if there is a choice of what that pays.

    >>> row = as_overlay(RowOutcome(Outcome.SCORED), Outcome.DEGENERATE, "repetition", {Outcome.DEGENERATE: "floor"})
    >>> str(row.name), [str(other) for other in row.otherwise]
    ('degenerate', ['scored'])
    """
    if outcome not in outcome_rewards:
        return row
    reason = f"{reason}; {row.reason}" if row.reason else reason
    return replace(row, name=outcome, reason=reason, otherwise=(row.name, *row.otherwise))


def score_row(
    row: RowOutcome,
    assessment: Assessment | None,
    helpfulness: float | None,
    scheme: Scheme,
    outcome_rewards: Mapping[Outcome, OutcomeReward],
) -> float | None:
    """What a row gets; None if it takes no part in training.

    A verdict with several readings pays what the worst of them pays under the scheme. A row that ends for what the
    policy wrote (`OVERLAYS`) never gets more than it would without that, unless that is None.

    Args:
        row: how it ended.
        assessment: what the scheme is given; None if the row is not complete.
        helpfulness: H(x, y), which some floors depend on.
        scheme: what maps the assessment to a reward.
        outcome_rewards: what rows get that did not end in an ordinary verdict.

    Raises:
        ValueError: the scheme gave NaN or an infinite number.
    """
    value = None if assessment is None else _scheme_value(scheme, assessment)

    def pay(outcome: Outcome) -> float | None:
        choice = outcome_rewards.get(outcome)
        if outcome is Outcome.SCORED or choice == "windows":
            return value
        if choice == "floor":
            floor = scheme.floor(helpfulness)
            # Without helpfulness some schemes have no worst value, and any number might be better than the other rows'.
            return floor if math.isfinite(floor) else None
        assert not isinstance(choice, str)
        return choice

    numbers = map(pay, (row.name, *row.otherwise))
    return min((number for number in numbers if number is not None), default=None)


def checked_outcome_rewards(
    given: Mapping[Outcome | str, OutcomeReward] | None, scheme: Scheme, defences: Defences
) -> dict[Outcome, OutcomeReward]:
    """The defaults with what a user chose.

    Raises:
        ValueError: an unknown outcome or word, a number that is not finite, the outcome of a defence that is off, or a
            floor that the scheme does not have.
    """
    rewards = dict(DEFAULT_OUTCOME_REWARDS)
    for key, value in (given or {}).items():
        if key not in _CHOOSABLE:
            raise ValueError(f"on_outcome: {key!r} is not an outcome; there are {', '.join(_CHOOSABLE)}")
        rewards[Outcome(key)] = _checked(value, Outcome(key))
    for outcome in (Outcome.DEGENERATE, Outcome.LANGUAGE_SWITCH):
        if getattr(defences, outcome.value):
            like_empty = rewards[Outcome.EMPTY]
            if scheme.has_floor or like_empty is not None:
                rewards.setdefault(outcome, "floor" if scheme.has_floor else like_empty)
        elif outcome in rewards:
            raise ValueError(f"on_outcome[{outcome.value!r}] has no effect: switch on defences.{outcome}")
    if "floor" in rewards.values() and not scheme.has_floor:
        floors = [str(outcome) for outcome, value in rewards.items() if value == "floor"]
        raise ValueError(
            f"{scheme!r} has no floor(helpfulness), the worst value it can give; add one, or say what such rows "
            f"get: on_outcome={{{floors[0]!r}: <number or None>}}"
        )
    return rewards


_ESCAPES = {
    Outcome.INJECTION: "typing a mark of the guard's prompt",
    Outcome.DEGENERATE: "saying nothing",
    Outcome.LANGUAGE_SWITCH: "writing in another script",
}


def _checked(value: OutcomeReward, outcome: Outcome) -> OutcomeReward:
    words = ("floor", "windows") if outcome is Outcome.TOO_LONG else ("floor",)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if outcome in _ESCAPES and value is None:
        raise ValueError(
            f"on_outcome[{outcome.value!r}] cannot be None: a policy could escape every punishment by "
            f"{_ESCAPES[outcome]}; say 'floor' or a number"
        )
    if value is None or is_number or value in words:
        return value
    nothing = "" if outcome in _ESCAPES else ", None"
    raise ValueError(
        f"on_outcome[{str(outcome)!r}] should be a finite number{nothing} or {' or '.join(words)}, found {value!r}"
    )


def _scheme_value(scheme: Scheme, assessment: Assessment) -> float:
    return min(_finite(scheme, float(scheme(reading))) for reading in readings(scheme, assessment))


def readings(scheme: Scheme, assessment: Assessment) -> Iterator[Assessment]:
    """The assessment, and one for every combination of the readings of answer and thinking.

    Beyond `MOST_COMBINATIONS`, so that no rollout makes a reward slow: every reading of the one beside the worst of the
    other. Where the prompt has no verdict and the scheme needs one, an Unsafe part has decided, and the others do not
    matter.
    """
    yield assessment
    if scheme.needs_prompt and assessment.prompt is None:
        return
    answers = assessment.answer.readings or (assessment.answer,)
    thoughts = assessment.thinking.readings if assessment.thinking is not None else ()
    if len(answers) * len(thoughts) > MOST_COMBINATIONS:
        yield from (replace(assessment, answer=answer) for answer in answers)
        yield from (replace(assessment, thinking=thinking) for thinking in thoughts)
    elif assessment.answer.readings or thoughts:
        for answer, thinking in product(answers, thoughts or (assessment.thinking,)):
            yield replace(assessment, answer=answer, thinking=thinking)


def _finite(scheme: Scheme, reward: float) -> float:
    if not math.isfinite(reward):
        raise ValueError(f"the scheme {scheme!r} gave {reward}; a reward must be a finite number")
    return reward
