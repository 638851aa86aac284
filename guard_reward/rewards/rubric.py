"""A rubric: a judge that says how far an answer shows a behaviour, in the place of patterns.

A rubric is any callable ``f(prompts=, completions=, behaviours=, **columns)`` that returns a number from 0 to 1 per
row, or None if it cannot judge it; it may be asynchronous under `guard_reward.AsyncGuardReward`. It is called once per
batch, with the rows in which it can matter:

- ``prompts``: the conversations as the guard sees them, lists of messages.
- ``completions``: the answers as readers see them: texts without thinking, tool calls and comments in HTML.
- ``behaviours``: what is asked about each answer, such as ``"offer_help"``.
- the data set's other columns.

A row about which it fails gets no reward: the outcome ``guard_error``, with the reason. Nothing counts as 0.

    >>> def politeness(completions, **columns):
    ...     return [1.0 if "please" in text else 0.2 for text in completions]
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guard_reward.rewards.batch import Batch, Call
from guard_reward.rewards.behaviour import Shown
from guard_reward.rewards.functions import function_name, is_asynchronous
from guard_reward.rollout import Rollout
from guard_reward.schemes import Sign
from guard_reward.signs import visible
from guard_reward.verdict import Outcome, Unjudged

__all__ = ["Rubric", "RubricJudge"]

logger = logging.getLogger(__name__)

Rubric = Callable[..., Any]
"""``f(prompts=, completions=, behaviours=, **columns)`` → numbers from 0 to 1, or None."""

_Questions = Sequence[tuple[int, str, Sign]]


class RubricJudge:
    """Asks a rubric about the rows of a batch in which a scheme looks for something.

    Args:
        rubric: whom to ask.
    """

    def __init__(self, rubric: Rubric):
        self.rubric = rubric

    @property
    def name(self) -> str:
        """For the run's record."""
        return function_name(self.rubric)

    def __call__(self, call: Call, batch: Batch, wanted: Sequence[Mapping[str, Sign]]) -> list[Shown]:
        """How far each row shows what is wanted of it; an `Unjudged` if the rubric failed on it.

        Raises:
            ValueError: the rubric returned another number of values than it was asked for.
        """
        questions = _questions(wanted)
        if not questions:
            return [{} for _ in wanted]
        try:
            values = list(self.rubric(**_arguments(call, batch, questions)))
        except Exception as error:  # a judge of any make; its outage has a name and is counted by the circuit breaker
            values = _failed(questions, error)
        return _shown(len(wanted), questions, values)

    async def judge_async(self, call: Call, batch: Batch, wanted: Sequence[Mapping[str, Sign]]) -> list[Shown]:
        """As a plain call, while other coroutines run: awaited, or asked in a thread if it cannot be."""
        if not is_asynchronous(self.rubric):
            return await asyncio.to_thread(self, call, batch, wanted)
        questions = _questions(wanted)
        if not questions:
            return [{} for _ in wanted]
        try:
            values = list(await self.rubric(**_arguments(call, batch, questions)))
        except Exception as error:
            values = _failed(questions, error)
        return _shown(len(wanted), questions, values)


def _questions(wanted: Sequence[Mapping[str, Sign]]) -> _Questions:
    """Row, name and sign of all that is to be judged."""
    return [(row, name, sign) for row, signs in enumerate(wanted) for name, sign in signs.items()]


def _arguments(call: Call, batch: Batch, questions: _Questions) -> dict[str, Any]:
    rows = [row for row, _, _ in questions]
    rollouts = [rollout for row in rows if isinstance(rollout := batch.rollouts[row], Rollout)]
    count = len(batch.rollouts)
    columns = {
        name: [values[row] for row in rows] for name, values in call.columns.items() if _is_column(values, count)
    }
    return {
        **columns,
        "prompts": [list(rollout.messages) for rollout in rollouts],
        "completions": [visible(rollout.content) for rollout in rollouts],
        "behaviours": [sign.behaviour for _, _, sign in questions],
    }


def _is_column(values: Any, rows: int) -> bool:
    return hasattr(values, "__len__") and hasattr(values, "__getitem__") and len(values) == rows


def _failed(questions: _Questions, error: Exception) -> list[Unjudged]:
    logger.error("the rubric failed on %d answers", len(questions), exc_info=error)
    return [Unjudged(Outcome.GUARD_ERROR, reason=f"the rubric: {type(error).__name__}: {error}") for _ in questions]


def _shown(rows: int, questions: _Questions, values: Sequence[Any]) -> list[Shown]:
    if len(values) != len(questions):
        raise ValueError(f"the rubric returned {len(values)} values for {len(questions)} answers")
    found: list[Shown] = [{} for _ in range(rows)]
    for (row, name, _), value in zip(questions, map(_checked, values), strict=True):
        before = found[row]
        if isinstance(before, Unjudged):
            continue
        found[row] = value if isinstance(value, Unjudged) else {**before, name: value}
    return found


def _checked(value: Any) -> float | Unjudged:
    """A number from 0 to 1; anything else has a name."""
    if isinstance(value, Unjudged):
        return value
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if 0.0 <= number <= 1.0:
        return number
    return Unjudged(Outcome.GUARD_ERROR, reason=f"the rubric gave {value!r}, which is not a number from 0 to 1")
