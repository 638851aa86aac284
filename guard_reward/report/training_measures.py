"""Before and after from a run's own log and rollouts.

The first and the last part of the training are what is left if nobody has evaluated the policy. Their judge is the one
that the policy was trained to please, and the prompts of the two parts are different ones. Better evidence is an
``eval_judge``, another guard in the trainer's evaluations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from guard_reward.errors import one_line
from guard_reward.log_lines import rows_name, sum_name
from guard_reward.report.cells import Estimate, estimate
from guard_reward.report.log import kind_of
from guard_reward.report.run import Measurement
from guard_reward.report.tables import Facts
from guard_reward.reward_judge import judge_warning
from guard_reward.statistics import rate

__all__ = ["judge_measurements", "reward_guard", "training_measurements"]

_JUDGE = "eval_judge"
_PART = 0.1  # of the steps
_MIN_ROWS = 200
_MOST_ROWS = 1e12

# Measure → the metric that a guard reward logs, and the rows that it is over.
_RATES = {
    "safety_rate": ("safe_rate/harmful", "judged/harmful"),
    "safe_rate": ("safe_rate", "judged"),
    "safe_rate_benign": ("safe_rate/benign", "judged/benign"),
    "refusal_rate": ("refusal_rate", "refusal_known"),
    "refusal_rate_harmful": ("refusal_rate/harmful", "refusal_known/harmful"),
    "refusal_rate_benign": ("refusal_rate/benign", "refusal_known/benign"),
    "truncated_rate": ("truncated_rate", "truncation_known"),
}
_MEANS = {"helpfulness": ("helpfulness", "helpfulness_known")}
_OUTCOMES = ("outcome/scored", "outcome/empty")

Sums = defaultdict[str, float]

Point = tuple[int, Sums]
"""A step, and the sums and row counts that it adds."""


class _Part(NamedTuple):
    first: int
    last: int
    sums: Sums


def training_measurements(lines: Sequence[Mapping[str, Any]], tables: Sequence[Facts]) -> list[Measurement]:
    """Measurements before and after, of the first and the last tenth of the steps; none if there are no verdicts.

    Each part has 200 judged rows at least, if half of the run has so many. A log line has the means of its calls' sums
    and row counts, so a line of several calls counts as one of them: the intervals are rather too wide than too narrow.

    Args:
        lines: the log, with its sums and row counts.
        tables: what is known of all rollouts; used if the log has no verdicts.
    """
    points = list(_of_log(lines)) or list(_of_tables(tables))
    if len(points) < 2:
        return []
    first, last = _first_part(points), _first_part(points[::-1])
    where = f"steps {first.first}–{first.last} and {last.last}–{last.first}"
    judged_by = f"the guard of the reward, on training rollouts of {where}"
    return [
        Measurement("before", judged_by, False, _values(first.sums)),
        Measurement("after", judged_by, False, _values(last.sums)),
    ]


def judge_measurements(lines: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> list[Measurement]:
    """What a run's ``eval_judge`` said in the first and in the last evaluation of the trainer; none if there is none.

    Args:
        lines: the log, with its sums and row counts.
        record: ``run_config.json``, which names the judge and the guard of the reward; empty if there is none.
    """
    found = [line for line in lines if _number(line, sum_name(_JUDGE, "safe_rate")) is not None]
    reward = record.get("reward")
    facts = reward if isinstance(reward, Mapping) else {}
    name = facts.get("eval_judge")
    judge = {"guard": str(name or ""), "spec": str(facts.get("eval_judge/spec") or "")}
    warning = judge_warning(judge, record) or ""
    independent = "gave the reward" not in warning if name else None
    judged_by = f"the evaluation judge{f' {one_line(name)}' if name else ''}, in the trainer's evaluations"
    last_step = lines[-1]["step"] if lines else 0
    measured = []
    for line in dict.fromkeys((0, len(found) - 1)) if found else ():
        step = found[line]["step"]
        stage = "before" if step == 0 else "after" if step == last_step else f"step {step}"
        if values := _values(_sums_of(found[line], _JUDGE)):
            measured.append(Measurement(stage, judged_by, independent, values))
    return measured


def reward_guard(lines: Sequence[Mapping[str, Any]]) -> str | None:
    """The name of the first guard reward in a log's lines of training; None if there is none."""
    end = sum_name("", "safe_rate")
    training = (line for line in lines if kind_of(line) == "training")
    return next((name.removesuffix(end) for line in training for name in line if name.endswith(end)), None)


def _of_log(lines: Sequence[Mapping[str, Any]]) -> Iterator[Point]:
    reward = reward_guard(lines)
    for line in lines if reward is not None else ():
        if kind_of(line) == "training" and (sums := _sums_of(line, str(reward)))["safe_rate of"]:
            yield line["step"], sums


def _sums_of(line: Mapping[str, Any], reward: str) -> Sums:
    """A line's sums by measure, and their row counts."""
    sums: Sums = defaultdict(float)
    for measure, (metric, rows) in {**_RATES, **_MEANS}.items():
        total, count = _number(line, sum_name(reward, metric)), _number(line, rows_name(reward, rows))
        if total is not None and count is not None:
            sums[measure] += total
            sums[f"{measure} of"] += count
    _add_outcomes(sums, line, reward)
    return sums


def _add_outcomes(sums: Sums, line: Mapping[str, Any], reward: str) -> None:
    count = _number(line, rows_name(reward, "all"))
    scored, empty = (_number(line, sum_name(reward, outcome)) for outcome in _OUTCOMES)
    if count is not None and scored is not None:
        sums["unjudged_rate"] += max(0.0, count - scored - (empty or 0.0))
        sums["unjudged_rate of"] += count


def _of_tables(tables: Sequence[Facts]) -> Iterator[Point]:
    by_step: dict[int, Counter[str]] = {}
    for facts in tables:
        for step, counts in facts.counts.items():
            by_step.setdefault(step, Counter()).update(counts)
    for step, counts in sorted(by_step.items()):
        if counts["judged"]:
            names = {"safe_rate": ("safe", "judged"), "refusal_rate": ("refused", "refusal_known")}
            sums: Sums = defaultdict(float)
            for measure, (total, rows) in names.items():
                sums |= {measure: counts[total], f"{measure} of": counts[rows]}
            yield step, sums


def _first_part(points: Sequence[Point]) -> _Part:
    """The first tenth; more, up to a half, until there are enough rows."""
    sums: Sums = defaultdict(float)
    count = 0
    for _, added in points[: len(points) // 2]:
        if count >= max(1, round(len(points) * _PART)) and sums["safe_rate of"] >= _MIN_ROWS:
            break
        for name, value in added.items():
            sums[name] += value
        count += 1
    return _Part(points[0][0], points[count - 1][0], sums)


def _values(sums: Mapping[str, float]) -> dict[str, Estimate]:
    found = {}
    for measure in (*_RATES, *_MEANS, "unjudged_rate"):
        count = sums.get(f"{measure} of", 0)
        if count < 1:
            continue
        share = sums[measure] / count
        if measure in _MEANS:
            found[measure] = Estimate(share)
        else:
            interval = rate(min(max(share, 0.0), 1.0) * int(count), int(count))
            found[measure] = Estimate(interval.value, interval.low, interval.high)
    if "safety_rate" not in found and "safe_rate" in found:
        found = {"safety_rate": found.pop("safe_rate"), **found}
    return found


def _number(line: Mapping[str, Any], name: str) -> float | None:
    """A sum or a count; None if no run can have it."""
    value = estimate(line.get(name))
    return value.value if value is not None and 0 <= value.value < _MOST_ROWS else None
