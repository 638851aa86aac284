"""What ``guard-reward evaluate`` and ``guard-reward demo`` have measured."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from guard_reward.errors import one_line
from guard_reward.redaction import redacted_text
from guard_reward.report.cells import Estimate, estimate
from guard_reward.report.change import time_of
from guard_reward.report.json_files import is_regular, read_lines, read_object
from guard_reward.report.run import Measurement
from guard_reward.reward_judge import guard_id, judge_warning

__all__ = [
    "RECORDS",
    "RESULTS",
    "Evaluation",
    "demo_measurements",
    "evaluation_folders",
    "evaluations_in",
    "is_of_run",
    "is_same_policy",
    "measurements_of",
    "read_evaluation",
    "stage_of",
]

RECORDS, RESULTS = "replies.jsonl", "results.json"
# Words of a folder's name. "base" is also a part of models' names, so it counts at both ends only.
_BEFORE_WORDS = frozenset(("before", "baseline", "start", "untrained", "reference", "initial"))
_BEFORE_ENDS = frozenset(("base",))
_AFTER_WORDS = frozenset(("after", "trained", "end", "final"))


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
    evaluations: Sequence[Evaluation],
    run: Path,
    base: str | None,
    record: Mapping[str, Any],
    last_step: int = 0,
    notes: list[str] | None = None,
) -> list[Measurement]:
    """The measurements of a run's evaluations, one per evaluation and judge, by stage.

    An evaluation is compared with another one only if the two are known to be of different stages. Of two that seem to
    be of the same stage, the one counts that says more: that it was compared, whose policy is known, or whose folder
    has a telling name. If both say the same, both are shown under their folders' names, and a note says so.

    Args:
        evaluations: that belong to the run.
        run: its folder.
        base: the policy before training, if that is known.
        record: ``run_config.json``, which names the guard of the reward; empty if there is none.
        last_step: of the run: the checkpoint of this step is the policy after training.
        notes: gets which evaluations are of no known stage.
    """
    earlier = {path for one in evaluations for path in _compared_with(one)}
    staged = []
    for one in evaluations:
        is_earlier = _resolved(one.folder) in earlier and not one.results.get("compared_with")
        staged.append((one, _Stage("before", 3) if is_earlier else stage_of(one, run, base, last_step)))
    judges = Counter((name, _prompts(one)) for one in evaluations for name in one.results["judges"])
    found: list[Measurement] = []
    for evaluation, stage in _apart(staged, [] if notes is None else notes):
        hashed = _prompts_hash(evaluation.folder) if max(judges.values()) > 1 else ""
        for name, judged in evaluation.results["judges"].items():
            if isinstance(judged, Mapping):
                found.extend(_of_judge(name, judged, evaluation, stage, record, hashed))
    return _once(sorted(_by_prompts(found), key=time_of))


class _Stage(NamedTuple):
    """When a policy was evaluated, and how well that is known: 0 for a guess."""

    name: str
    certainty: int


def stage_of(evaluation: Evaluation, run: Path, base: str | None, last_step: int = 0) -> _Stage:
    """Before the training if the base policy replied, else after it, or at a checkpoint's step.

    What the policy's name says counts first, then the folder's name, then where the policy lies.
    """
    policy = evaluation.policy
    words = re.findall(r"[a-z]+", evaluation.folder.name.lower())
    if base and policy and is_same_policy(policy, base):
        return _Stage("before", 3)
    has_comparison = bool(evaluation.results.get("compared_with"))
    if not has_comparison and (_BEFORE_WORDS & set(words) or _BEFORE_ENDS & {*words[:1], *words[-1:]}):
        return _Stage("before", 2)
    if is_of_run(policy, run):
        step = Path(policy).name.removeprefix("checkpoint-")
        if Path(policy).name != step and step.isascii() and step.isdigit():
            number = int(step[:12])
            return _Stage("after" if 0 < last_step <= number else f"step {number}", 3)
        return _Stage("after", 3)
    return _Stage("after", 2 if _AFTER_WORDS & set(words) else 1 if has_comparison else 0)


def is_same_policy(one: str, other: str) -> bool:
    """Whether two names are of the same policy: equal, or the same existing folder."""
    if one.rstrip("/") == other.rstrip("/"):
        return True
    paths = [Path(one), Path(other)]
    return all(map(_exists, paths)) and _resolved(paths[0]) == _resolved(paths[1])


def is_of_run(policy: str, run: Path) -> bool:
    """Whether a policy is a run's own: its folder, or one in it.

    A name such as ``org/model`` may be one of the hub, so it is taken as a path only if there is such a folder. A run
    that was moved is known by the last two parts of its old path.
    """
    if not policy or "://" in policy:
        return False
    path, place = Path(policy), _resolved(run)
    if (path.is_absolute() or _exists(path)) and _resolved(path).is_relative_to(place):
        return True
    parts = path.parts[:-1] if path.name.startswith("checkpoint-") else path.parts
    return len(parts) > 1 and parts[-2:] == place.parts[-2:]


def _apart(staged: Sequence[tuple[Evaluation, _Stage]], notes: list[str]) -> Iterator[tuple[Evaluation, str]]:
    """Evaluations with their stages: no two of the same stage that share a judge."""
    for evaluation, stage in staged:
        rivals = [
            (other, theirs.certainty, bool(other.results.get("compared_with")))
            for other, theirs in staged
            if other is not evaluation and theirs.name == stage.name and _share_a_judge(other, evaluation)
        ]
        mine = (stage.certainty, bool(evaluation.results.get("compared_with")))
        if all((certainty, compared) < mine for _, certainty, compared in rivals):
            yield evaluation, stage.name
            continue
        name = one_line(evaluation.folder.name)
        others = ", ".join(one_line(other.folder.name) for other, *_ in rivals)
        notes.append(
            f"The evaluations {name} and {others} are both of the policy {stage.name} training, as far as their "
            f"folders tell; {name} is shown under its own name and compared with nothing."
            if stage.name in ("before", "after")
            else f"The evaluations {name} and {others} are both of {stage.name}; {name} is shown under its own name."
        )
        yield evaluation, name


def _share_a_judge(one: Evaluation, other: Evaluation) -> bool:
    return bool(set(one.results["judges"]) & set(other.results["judges"])) and _prompts(one) == _prompts(other)


def _prompts_hash(folder: Path) -> str:
    """Which prompts an evaluation has; empty if that cannot be read."""
    prompts = sorted(json.dumps(line.get("prompt"), sort_keys=True) for line in read_lines(folder / RECORDS, []))
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()[:12] if prompts else ""


def _by_prompts(found: Sequence[Measurement]) -> Iterator[Measurement]:
    """Measurements whose judge is named with its prompts, where one judge had different prompts of the same number."""
    known: dict[str, set[str]] = {}
    for one in found:
        known.setdefault(one.judged_by, set()).add(one.prompts)
    for one in found:
        is_alone = len(known[one.judged_by] - {""}) < 2
        yield one if is_alone else replace(one, judged_by=f"{one.judged_by} (set {one.prompts[:6] or 'unknown'})")


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


def _compared_with(evaluation: Evaluation) -> list[Path]:
    """Where the evaluation may be that this one was compared with: as it was named then, or beside this one."""
    name = evaluation.results.get("compared_with")
    if not isinstance(name, str) or not name:
        return []
    return [_resolved(Path(name)), _resolved(evaluation.folder.parent / Path(name).name)]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links
        return path.absolute()


def _of_judge(
    name: str, judged: Mapping[str, Any], evaluation: Evaluation, stage: str, record: Mapping[str, Any], prompts: str
) -> Iterator[Measurement]:
    values = _values(judged.get("all"))
    if not values:
        return
    facts = judged.get("guard")
    facts = {key: str(fact) for key, fact in facts.items()} if isinstance(facts, Mapping) else {}
    recorded = judged.get("warning")
    warning = recorded if isinstance(recorded, str) else judge_warning(facts, record) if record else None
    independent = "gave the reward" not in warning if warning else True if record and facts else None
    judged_by = f"the judge {one_line(name)}{_shown_guard(facts)}{_prompts(evaluation)}"
    measured = partial(
        Measurement,
        judged_by=judged_by,
        independent=independent,
        guard=guard_id(facts),
        prompts=prompts,
        is_relative=bool(warning and independent),
    )
    changes = judged.get("changes")
    changes = changes if isinstance(changes, Mapping) else {}
    if changes and stage != "before":
        earlier = {_key(key): found for key, change in changes.items() if (found := _at(change, "before"))}
        yield measured("before", values=earlier)
    p_values = {_key(key): found.value for key, change in changes.items() if (found := _at(change, "p_value"))}
    yield measured(stage, values=values, p_values=p_values)


def _shown_guard(facts: Mapping[str, str]) -> str:
    """A guard's name in brackets, without the password that a served one's address may have."""
    guard = redacted_text(one_line(facts.get("guard", "")))
    return f" ({guard if len(guard) <= 60 else '…' + guard[-59:]})" if guard else ""


def _at(change: Any, key: str) -> Estimate | None:
    return estimate(change.get(key)) if isinstance(change, Mapping) else None


def _prompts(evaluation: Evaluation) -> str:
    count = estimate(evaluation.results.get("prompts"))
    return f", {int(count.value):,} prompts" if count else ""


def _values(table: Any) -> dict[str, Estimate]:
    """The measures under the names of the page: ``safety_rate`` is over harmful prompts, ``safe_rate`` over all."""
    if not isinstance(table, Mapping):
        return {}
    found = {_key(str(name)): value for name, cell in table.items() if (value := estimate(cell)) is not None}
    return {"safety_rate": found.pop("safety_rate"), **found} if "safety_rate" in found else found


def _key(measure: str) -> str:
    return "safety_rate" if measure == "safe_rate_harmful" else measure


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
