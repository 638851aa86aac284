"""The rollouts table: rows of all runs in common columns, cut to what a browser takes, as plain JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from guard_reward.report.causes import with_causes
from guard_reward.report.cells import label, text_of, union_of_keys
from guard_reward.report.run import Run
from guard_reward.report.visible import visible

__all__ = ["MAX_ROLLOUTS", "RolloutTable", "rollout_id", "rollout_table"]

MAX_ROLLOUTS = 5000
"""More rows do not filter while the user types; the page says how many there are."""

_WORST_SHARE = 0.1  # of the rows that are shown if there are too many: the worst are never left out
_TEXT_LIMITS = (20_000, 8_000, 4_000, 2_000, 1_000, 500)
_TEXT_BUDGET = 30_000_000  # characters of all texts together
_SAMPLE = ("step", "stage", "alarm")

# Columns of the table in their order; a rollout's page shows the others too.
_TABLE = (
    *("run", "step", "stage", "prompt_label", "severity", "categories", "refusal", "outcome", "alarm", "reward"),
    *("p_unsafe", "prompt", "thinking", "completion"),
)
_LONG = ("prompt", "thinking", "completion")
# What a reward writes under its own name: "guard_severity".
_OF_REWARD = ("severity", "categories", "refusal", "outcome", "p_unsafe")
_HEADINGS = {"completion": "Answer", "p_unsafe": "P(unsafe)", "refusal": "Refusal", "prompt_label": "Prompt is"}
_LABELS = {"yes": "harmful", "true": "harmful", "no": "benign", "false": "benign"}
_BADNESS = {"unsafe": 3, "controversial": 2, "safe": 0}


class RolloutTable(NamedTuple):
    """The table and where its rows are found.

    Attributes:
        page: what the page's script reads: ``columns`` (key, heading, whether in the table, whether numeric), ``rows``
            (the id, then values in the order of the columns), ``total`` (rows of all runs' tables), ``is_cut`` (whether
            rows were left out here), ``longest`` (of the texts in characters, if some were cut).
        causes: by run, for each of its first alarms: the addresses, ``<run>/<id>``, of the rollouts that caused it.
    """

    page: dict[str, Any]
    causes: Mapping[str, Sequence[Sequence[str]]]


def rollout_table(runs: Sequence[Run]) -> RolloutTable:
    """The rollouts of all runs, and those that caused alarms."""
    share = MAX_ROLLOUTS // max(1, sum(bool(run.rollouts or run.alarms) for run in runs))
    rewards = {run.name: _reward_name(run.rollouts) for run in runs}
    rows: list[tuple[str, dict[str, Any]]] = []
    causes: dict[str, list[list[str]]] = {}
    for run in runs:
        harmful = _harmful_name(run.rollouts, rewards[run.name])
        named = [_with_label(_common_names(row, rewards[run.name]), harmful) for row in run.rollouts]
        chosen, places = with_causes(run, _chosen(named, share))
        ids = _ids(chosen)
        rows += zip(ids, ({**row, "run": run.name} for row in chosen), strict=True)
        causes[run.name] = [[f"{visible(run.name)}/{ids[place]}" for place in alarm] for alarm in places]
    found = [key for key in union_of_keys(row for _, row in rows) if key != "id"]
    keys = sorted(found, key=_rank)
    limit = _text_limit(rows)
    filled = {key for _, row in rows for key, value in row.items() if value not in (None, "")}
    shown = {key for key in keys if _is_shown(key) and key in filled and (key != "run" or len(runs) > 1)}
    numeric = [_is_numeric(key, rows) for key in keys]
    page = {
        "columns": [
            {"key": key, "heading": _heading(key, keys, rewards), "shown": key in shown, "numeric": is_numeric}
            for key, is_numeric in zip(keys, numeric, strict=True)
        ],
        "rows": [[row_id, *(_value(row.get(key), limit) for key in keys)] for row_id, row in rows],
        "total": sum(max(run.rollout_total, len(run.rollouts)) for run in runs),
        "is_cut": any(len(run.rollouts) > share for run in runs),
        "longest": limit if _longest(rows) > limit else None,
    }
    return RolloutTable(page, causes)


def _rank(key: str) -> int:
    """A column's place: other judges' severities stand beside the reward's."""
    known = "severity" if _is_verdict(key) else key
    return _TABLE.index(known) if known in _TABLE else len(_TABLE)


def _is_verdict(key: str) -> bool:
    return key.endswith("_severity") and not key.endswith(("thinking_severity", "prompt_severity"))


def rollout_id(row: Mapping[str, Any]) -> str:
    """The row's own name, else one of its step and texts: the same whenever the page is written."""
    if row.get("id") is not None:
        return visible(text_of(row["id"]))
    parts = [text_of(row.get(key)) for key in ("step", "stage", *_LONG)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    seen: dict[str, int] = {}
    ids = []
    for row in rows:
        name = rollout_id(row)
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids


def _reward_name(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Under which name a reward wrote its columns; the one with outcomes if several guards judged."""
    keys = union_of_keys(rows)
    if "severity" in keys:
        return None
    for ending in ("_outcome", "_severity"):
        for key in keys:
            if isinstance(key, str) and key.endswith(ending):
                return key.removesuffix(ending)
    # TRL alone: the reward function's own column, between the completion and the advantage.
    return next(
        (key for key in keys if key not in (*_LONG, *_SAMPLE, "reward", "advantage") and _any_number(key, rows)), None
    )


def _any_number(key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(isinstance(row.get(key), int | float) and not isinstance(row.get(key), bool) for row in rows)


def _common_names(row: Mapping[str, Any], reward: str | None) -> dict[str, Any]:
    """The reward's columns under the names that all runs share."""
    if reward is None:
        return {str(key): value for key, value in row.items()}
    names = {f"{reward}_{name}": name for name in _OF_REWARD} | ({} if "reward" in row else {reward: "reward"})
    return {names.get(str(key), str(key)): value for key, value in row.items()}


def _harmful_name(rows: Sequence[Mapping[str, Any]], reward: str | None) -> str | None:
    """The column that says whether the prompt is harmful: the reward's, another reward's, or the data set's."""
    own = (f"{reward}_harmful", "harmful")
    keys = [key for key in map(str, union_of_keys(rows)) if key == "harmful" or key.endswith("_harmful")]
    for key in sorted(keys, key=lambda key: own.index(key) if key in own else len(own)):
        texts = {text_of(row.get(key)).lower() for row in rows} - {""}
        if texts and texts <= _LABELS.keys():
            return key
    return None


def _with_label(row: dict[str, Any], harmful: str | None) -> dict[str, Any]:
    """The prompt's label in words."""
    if harmful not in row:
        return row
    label = _LABELS.get(text_of(row[harmful]).lower())
    return {**{key: value for key, value in row.items() if key != harmful}, "prompt_label": label}


def _chosen(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """All rows, or the worst and an even sample of the others, in their order."""
    if len(rows) <= limit:
        return rows
    worst = sorted(range(len(rows)), key=lambda index: _goodness(rows[index]))[: int(limit * _WORST_SHARE)]
    taken = set(worst)
    others = [index for index in range(len(rows)) if index not in taken]
    room = limit - len(worst)
    taken.update(others[len(others) * position // room] for position in range(room))
    return [rows[index] for index in sorted(taken)]


def _goodness(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """As the page sorts with *worst first*."""
    badness = _BADNESS.get(text_of(row.get("severity")).lower(), 1)
    p_unsafe, reward = (row.get(key) for key in ("p_unsafe", "reward"))
    return (
        -badness,
        -p_unsafe if isinstance(p_unsafe, int | float) else 0.0,
        reward if isinstance(reward, int | float) else 0.0,
    )


def _heading(key: str, keys: Sequence[str], rewards: Mapping[str, str | None]) -> str:
    """A heading; with the reward's name where another judge has a column of that kind."""
    heading = _HEADINGS.get(key, label(key))
    names = {name for name in rewards.values() if name}
    if key in _OF_REWARD and len(names) == 1 and any(other.endswith(f"_{key}") for other in keys):
        return f"{label(*names)} {heading[:1].lower()}{heading[1:]}"
    return visible(heading)


def _is_shown(key: str) -> bool:
    return key in _TABLE or _is_verdict(key)


def _is_numeric(key: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> bool:
    values = [row[key] for _, row in rows if row.get(key) is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _value(cell: Any, limit: int) -> Any:
    """A finite number as it is, anything else as text."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        number = float(cell)
        return None if number - number != 0 else int(cell) if number.is_integer() else float(f"{number:.5g}")
    text = text_of(cell)
    if len(text) > limit:
        text = f"{text[:limit]}\n… {len(text) - limit:,} more characters"
    return visible(text) if text else None


def _longest(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
    return max((len(text_of(value)) for _, row in rows for value in row.values()), default=0)


def _text_limit(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
    """The longest text that keeps the page within its budget."""
    lengths = [len(text_of(value)) for _, row in rows for value in row.values() if not isinstance(value, int | float)]
    for limit in _TEXT_LIMITS:
        if sum(min(length, limit) for length in lengths) <= _TEXT_BUDGET:
            return limit
    return _TEXT_LIMITS[-1]
