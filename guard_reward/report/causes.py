"""Rollouts that caused alarms: found again in a run's table, or added to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guard_reward.report.cells import estimate, text_of
from guard_reward.report.run import Run

__all__ = ["MAX_ALARMS", "with_causes"]

MAX_ALARMS = 40
"""The first alarms of a run: what is listed, linked and drawn into the charts."""

_MAX_CAUSES = 5  # of an alarm


def with_causes(run: Run, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """A run's rows, those that caused an alarm marked by its signal in the column ``alarm``.

    What the monitor's second guard said of them is in the column ``second_guard_severity``.

    Args:
        run: whose alarms are looked at.
        rows: of its table.

    Returns:
        The rows, behind them the causes that are not among them; and for each alarm the positions of its causes.
    """
    found = [dict(row) for row in rows]
    by_answer: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        by_answer.setdefault(_answer(row), []).append(position)
    places: list[list[int]] = []
    for alarm in run.alarms[:MAX_ALARMS]:
        places.append([])
        for cause in alarm.rollouts[:_MAX_CAUSES]:
            same = [at for at in by_answer.get(_answer(cause), []) if _is_prompt_of(cause, found[at])]
            if same:
                position = min(same, key=lambda at: _distance(found[at], alarm.step))
            else:
                position = len(found)
                by_answer.setdefault(_answer(cause), []).append(position)
                found.append({"step": alarm.step, **{key: value for key, value in cause.items() if key != "second"}})
            if isinstance(cause.get("second"), str):
                found[position]["second_guard_severity"] = cause["second"]
            signals = [*str(found[position].get("alarm") or "").split(", "), alarm.signal]
            found[position]["alarm"] = ", ".join(dict.fromkeys(filter(None, signals)))
            places[-1].append(position)
    return found, places


def _answer(row: Mapping[str, Any]) -> str:
    """The answer: an alarm's completion has the thinking in it, a table's may not."""
    return _plain(_last(row.get("completion")).rpartition("</think>")[2])


def _is_prompt_of(cause: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """An alarm has messages where a table may have a text with all turns."""
    return _plain(_last(cause.get("prompt"))) in _plain(text_of(row.get("prompt")))


def _last(value: Any) -> str:
    """A text, or the last of the messages."""
    if isinstance(value, list | tuple) and value and isinstance(value[-1], Mapping):
        return text_of(value[-1].get("content"))
    return text_of(value)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _distance(row: Mapping[str, Any], step: int) -> float:
    own = estimate(row.get("step"))
    return abs(own.value - step) if own else float("inf")
