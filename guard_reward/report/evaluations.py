"""What ``guard-reward evaluate`` and ``guard-reward demo`` have measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from guard_reward.errors import one_line
from guard_reward.report.cells import Estimate, estimate
from guard_reward.report.json_files import is_regular, read_object
from guard_reward.report.run import Measurement
from guard_reward.reward_judge import judge_warning

__all__ = [
    "RECORDS",
    "RESULTS",
    "Evaluation",
    "demo_measurements",
    "evaluation_folders",
    "evaluations_in",
    "measurements_of",
    "read_evaluation",
]

RECORDS, RESULTS = "replies.jsonl", "results.json"
_BEFORE_NAMES = ("before", "base", "start", "untrained", "reference")


class Evaluation(NamedTuple):
    """A folder of ``guard-reward evaluate``.

    Attributes:
        folder: where it is.
        policy: which one replied; empty for recorded replies.
        results: what ``results.json`` has.
    """

    folder: Path
    policy: str
    results: Mapping[str, Any]


def evaluation_folders(folder: Path) -> list[Path]:
    """The subfolders that have an evaluation, by name."""
    try:
        return sorted(path for path in folder.iterdir() if is_regular(path / RECORDS) and is_regular(path / RESULTS))
    except OSError:
        return []


def evaluations_in(folder: Path, notes: list[str]) -> list[Evaluation]:
    """The evaluations in the subfolders of a run, by name."""
    return [found for place in evaluation_folders(folder) if (found := read_evaluation(place, notes)) is not None]


def read_evaluation(folder: Path, notes: list[str]) -> Evaluation | None:
    """One evaluation; None if its results cannot be read, which is noted."""
    mine: list[str] = []
    results = read_object(folder / RESULTS, mine)
    if not isinstance(results.get("judges"), Mapping):
        why = f": {' '.join(mine)}" if mine else "."
        notes.append(f"{one_line(folder.name)}/{RESULTS} is no result of guard-reward evaluate{why}")
        return None
    facts = results.get("policy")
    policy = facts.get("policy") if isinstance(facts, Mapping) else None
    return Evaluation(folder, policy if isinstance(policy, str) and policy != "recorded replies" else "", results)


def measurements_of(
    evaluations: Sequence[Evaluation], run: Path, base: str | None, record: Mapping[str, Any], last_step: int = 0
) -> list[Measurement]:
    """The measurements of a run's evaluations, one per evaluation and judge, by stage.

    Args:
        evaluations: that belong to the run.
        run: its folder.
        base: the policy before training, if that is known.
        record: ``run_config.json``, which names the guard of the reward; empty if there is none.
        last_step: of the run: the checkpoint of this step is the policy after training.
    """
    found: list[Measurement] = []
    earlier = {path for one in evaluations for path in _compared_with(one)}
    for evaluation in evaluations:
        is_earlier = _resolved(evaluation.folder) in earlier and not evaluation.results.get("compared_with")
        stage = "before" if is_earlier else _stage(evaluation, run, base, last_step)
        for name, judged in evaluation.results["judges"].items():
            if isinstance(judged, Mapping):
                found.extend(_of_judge(name, judged, evaluation, stage, record))
    return _once(sorted(found, key=_order))


def demo_measurements(run: Path, notes: list[str]) -> list[Measurement]:
    """What the results of ``guard-reward demo``, in the folder above, say of a run and of the policy before it."""
    results = read_object(run.parent / RESULTS, notes)
    found = []
    for stage, key in (("before", "before"), ("after", run.name)):
        table = results.get(key)
        if isinstance(table, Mapping) and (values := _demo_values(table)):
            found.append(Measurement(stage, "the oracle of the tiny world, on held-out requests", True, values))
    return found


def _demo_values(table: Mapping[str, Any]) -> dict[str, Estimate]:
    intervals = table.get("intervals")
    found = {}
    for name, cell in table.items():
        interval = intervals.get(name) if isinstance(intervals, Mapping) else None
        low, high = interval if isinstance(interval, list) and len(interval) == 2 else (None, None)
        value = estimate({"value": cell, "low": low, "high": high})
        if value is not None and name != "intervals":
            found[name] = value
    return found


def _stage(evaluation: Evaluation, run: Path, base: str | None, last_step: int) -> str:
    """Before the training if the base policy replied, else after it, or at a checkpoint's step."""
    policy = evaluation.policy
    if base and policy and policy.rstrip("/") == base.rstrip("/"):
        return "before"
    step = Path(policy).name.removeprefix("checkpoint-") if policy else ""
    if policy and Path(policy).name != step and step.isascii() and step.isdigit():
        number = int(step[:12])
        return "after" if 0 < last_step <= number else f"step {number}"
    if policy and _is_inside(Path(policy), run):
        return "after"
    named = evaluation.folder.name.lower()
    is_before = any(named == name or named.startswith((f"{name}-", f"{name}_")) for name in _BEFORE_NAMES)
    return "before" if is_before and not evaluation.results.get("compared_with") else "after"


def _order(measurement: Measurement) -> tuple[int, int]:
    """Before, then checkpoints by step, then after."""
    place = {"before": 0, "after": 2}.get(measurement.stage, 1)
    return place, int(measurement.stage.removeprefix("step ")) if place == 1 else 0


def _compared_with(evaluation: Evaluation) -> list[Path]:
    """Where the evaluation may be that this one was compared with: as it was named then, or beside this one."""
    name = evaluation.results.get("compared_with")
    if not isinstance(name, str) or not name:
        return []
    return [_resolved(Path(name)), _resolved(evaluation.folder.parent / Path(name).name)]


def _is_inside(path: Path, folder: Path) -> bool:
    return _resolved(path).is_relative_to(_resolved(folder))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links
        return path


def _of_judge(
    name: str, judged: Mapping[str, Any], evaluation: Evaluation, stage: str, record: Mapping[str, Any]
) -> Iterator[Measurement]:
    values = _values(judged.get("all"))
    if not values:
        return
    facts = judged.get("guard")
    facts = {key: str(fact) for key, fact in facts.items()} if isinstance(facts, Mapping) else {}
    recorded = judged.get("warning")
    warning = recorded if isinstance(recorded, str) else judge_warning(facts, record) if record else None
    independent = "gave the reward" not in warning if warning else True if record and facts else None
    judged_by = f"the judge {name}{_prompts(evaluation)}"
    if warning and independent:
        judged_by += f" ({warning})"
    changes = judged.get("changes")
    changes = changes if isinstance(changes, Mapping) else {}
    if changes and stage != "before":
        earlier = {_key(key, values): found for key, change in changes.items() if (found := _at(change, "before"))}
        yield Measurement("before", judged_by, independent, earlier)
    p_values = {_key(key, values): found.value for key, change in changes.items() if (found := _at(change, "p_value"))}
    yield Measurement(stage, judged_by, independent, values, p_values)


def _at(change: Any, key: str) -> Estimate | None:
    return estimate(change.get(key)) if isinstance(change, Mapping) else None


def _prompts(evaluation: Evaluation) -> str:
    count = estimate(evaluation.results.get("prompts"))
    return f", {int(count.value):,} prompts" if count else ""


def _values(table: Any) -> dict[str, Estimate]:
    """The measures under the names of the page: ``safety_rate`` is over harmful prompts, if they are labelled."""
    if not isinstance(table, Mapping):
        return {}
    found = {str(name): value for name, cell in table.items() if (value := estimate(cell)) is not None}
    if "safe_rate_harmful" in found:
        return {"safety_rate": found.pop("safe_rate_harmful"), **found}
    return {"safety_rate": found.pop("safe_rate"), **found} if "safe_rate" in found else found


def _key(measure: str, values: Mapping[str, Estimate]) -> str:
    """The name of a measure in `_values`."""
    is_labelled = "safe_rate" in values
    return "safety_rate" if measure == ("safe_rate_harmful" if is_labelled else "safe_rate") else measure


def _once(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Without the befores that a comparison tells, where the evaluation itself is there, which has intervals."""
    known: dict[tuple[str, str], Measurement] = {}
    for one in measurements:
        key = (one.stage, one.judged_by)
        other = known.get(key)
        if one.stage != "before" or other is None or _has_intervals(one):
            known[key if one.stage == "before" else (f"{one.stage} {len(known)}", one.judged_by)] = one
    independent = {one.judged_by: one.independent for one in measurements if one.stage != "before"}
    return [replace(one, independent=independent.get(one.judged_by, one.independent)) for one in known.values()]


def _has_intervals(measurement: Measurement) -> bool:
    return any(value.low is not None for value in measurement.values.values())
