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
from guard_reward.report.clusters import mean_over_lines, rate_over_lines
from guard_reward.report.log import dataset_of, kind_of
from guard_reward.report.run import Measurement
from guard_reward.report.tables import Facts
from guard_reward.reward_judge import guard_id, judge_warning

__all__ = ["judge_measurements", "last_judged", "reward_guards", "training_measurements"]

_JUDGE = "eval_judge"
_PART = 0.1  # of the steps
_MIN_LINES = 5  # of a part: fewer say little about the variance between lines
_MIN_ROWS = 200
_MOST_ROWS = 1e12

# Measure → the metric that a guard reward logs, and the rows that it is over.
_RATES = {
    "safety_rate": ("safe_rate/harmful", "judged/harmful"),
    "safe_rate": ("safe_rate", "judged"),
    "safe_rate_benign": ("safe_rate/benign", "judged/benign"),
    "refusal_rate_harmful": ("refusal_rate/harmful", "refusal_known/harmful"),
    "refusal_rate_benign": ("refusal_rate/benign", "refusal_known/benign"),
    "refusal_rate": ("refusal_rate", "refusal_known"),
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
    lines: Sequence[Sums]


def training_measurements(
    lines: Sequence[Mapping[str, Any]],
    tables: Sequence[Facts],
    reward: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> list[Measurement]:
    """Measurements before and after, of the first and the last tenth of the steps; none if there are no verdicts.

    Each part has 200 judged rows and 5 lines at least, if half of the run has so many. Steps at which nothing was
    judged count too: an outage of the guard makes the last part longer, and its rows are unjudged. For the intervals
    see `guard_reward.report.clusters`: each log line, or each step of a table, is a cluster.

    Args:
        lines: the log, with its sums and row counts.
        tables: what is known of all rollouts; used if the log has no verdicts.
        reward: which guard reward of the log; None for the first.
        record: ``run_config.json``, which names the reward's guard.
    """
    points = list(_of_log(lines, reward)) or list(_of_tables(tables))
    if len(points) < 2:
        return []
    first, last = _first_part(points), _first_part(points[::-1])
    parts = (f"{first.first}–{first.last}", f"{last.last}–{last.first}")
    guard = guard_id((record or {}).get("reward"))
    judged_by = f"the guard of the reward, on training rollouts of steps {parts[0]} and {parts[1]}"
    stages = (("before", parts[0], first, last), ("after", parts[1], last, first))
    return [
        Measurement(
            stage,
            judged_by,
            False,
            _values(part.lines, others=other.lines),
            guard=guard,
            prompts="training",
            when=f"in steps {steps}",
        )
        for stage, steps, part, other in stages
    ]


def judge_measurements(
    lines: Sequence[Mapping[str, Any]], record: Mapping[str, Any], per_prompt: int | None = None
) -> list[Measurement]:
    """What a run's ``eval_judge`` said in the first and in the last evaluation of the trainer; none if there is none.

    A trainer with several evaluation datasets logs a line of each, and each is measured for itself.

    Args:
        lines: the log, with its sums and row counts.
        record: ``run_config.json``, which names the judge and the guard of the reward; empty if there is none.
        per_prompt: rollouts of each prompt in an evaluation, which count as one in the intervals; None if unknown.
    """
    by_dataset: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        if _number(line, rows_name(_JUDGE, "judged")) is not None:
            by_dataset.setdefault(dataset_of(line), []).append(line)
    reward = record.get("reward")
    facts = reward if isinstance(reward, Mapping) else {}
    name = facts.get("eval_judge")
    judge = {"guard": str(name or ""), "spec": str(facts.get("eval_judge/spec") or "")}
    warning = judge_warning(judge, record) or ""
    independent = "gave the reward" not in warning if name else None
    is_relative = bool(warning and independent)
    last_step = lines[-1]["step"] if lines else 0
    measured = []
    for dataset, found in by_dataset.items():
        judged_by = f"the evaluation judge{f' {one_line(name)}' if name else ''}, in the trainer's evaluations"
        judged_by += f" on {one_line(dataset)}" if dataset else ""
        for at in dict.fromkeys((0, len(found) - 1)):
            step = found[at]["step"]
            stage = "before" if step == 0 else "after" if step == last_step else f"step {step}"
            if values := _values([_sums_of(found[at], _JUDGE)], per_prompt or 1):
                guard = guard_id({"guard": name or "", "revision": facts.get("eval_judge/revision")})
                measured.append(
                    Measurement(
                        stage,
                        judged_by,
                        independent,
                        values,
                        guard=guard,
                        prompts=f"evaluation {dataset}",
                        is_relative=is_relative,
                    )
                )
    return measured


def reward_guards(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the guard rewards in a log's lines of training, in the order of the log."""
    end = rows_name("", "all")
    training = (line for line in lines if kind_of(line) == "training")
    return list(dict.fromkeys(name.removesuffix(end) for line in training for name in line if name.endswith(end)))


def last_judged(lines: Sequence[Mapping[str, Any]], reward: str | None) -> tuple[int, int] | None:
    """The last step at which the guard gave a verdict, and the last one with rollouts; None without either."""
    points = list(_of_log(lines, reward))
    judged = [step for step, sums in points if sums["safe_rate of"]]
    return (judged[-1], points[-1][0]) if judged else None


def _of_log(lines: Sequence[Mapping[str, Any]], reward: str | None) -> Iterator[Point]:
    name = reward or next(iter(reward_guards(lines)), None)
    points = [(line["step"], _sums_of(line, name)) for line in lines if name and kind_of(line) == "training"]
    if any(sums["safe_rate of"] for _, sums in points):
        yield from ((step, sums) for step, sums in points if sums["safe_rate of"] or sums["unjudged_rate of"])


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
    if not any(counts["judged"] for counts in by_step.values()):
        return
    names = {
        "safe_rate": ("safe", "judged"),
        "refusal_rate": ("refused", "refusal_known"),
        "unjudged_rate": ("unjudged", "rows"),
    }
    for step, counts in sorted(by_step.items()):
        sums: Sums = defaultdict(float)
        for measure, (total, rows) in names.items():
            sums |= {measure: counts[total], f"{measure} of": counts[rows]}
        yield step, sums


def _first_part(points: Sequence[Point]) -> _Part:
    """The first tenth; more, up to a half, until there are enough lines and rows."""
    least = max(_MIN_LINES, round(len(points) * _PART))
    count = 0
    judged = 0.0
    for _, added in points[: len(points) // 2]:
        if count >= least and judged >= _MIN_ROWS:
            break
        judged += added["safe_rate of"]
        count += 1
    return _Part(points[0][0], points[count - 1][0], [sums for _, sums in points[:count]])


def _values(lines: Sequence[Sums], per_prompt: int | None = None, others: Sequence[Sums] = ()) -> dict[str, Estimate]:
    """The measures of some lines. ``safety_rate`` is over harmful prompts, ``safe_rate`` over all."""
    found = {}
    for measure in (*_RATES, *_MEANS, "unjudged_rate"):
        pairs, rest = ([(sums[measure], sums[f"{measure} of"]) for sums in part] for part in (lines, others))
        if sum(count for _, count in pairs) < 1:
            continue
        found[measure] = mean_over_lines(pairs) if measure in _MEANS else rate_over_lines(pairs, per_prompt, rest)
    return found


def _number(line: Mapping[str, Any], name: str) -> float | None:
    """A sum or a count; None if no run can have it."""
    value = estimate(line.get(name))
    return value.value if value is not None and 0 <= value.value < _MOST_ROWS else None
