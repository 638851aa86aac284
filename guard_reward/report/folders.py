"""Folders of runs → `Run`: what guard_reward, plain TRL or ``guard-reward demo`` have left in them.

| file | what is read of it |
|---|---|
| ``log.jsonl``, ``trainer_state.json`` (also in checkpoints), ``history.jsonl`` | the log (`guard_reward.report.log`) |
| ``completions/*.parquet``, ``rollouts.jsonl`` | rollouts (`guard_reward.report.rollouts`) |
| ``run_config.json``; of plain TRL ``README.md``, ``config.json``, ``adapter_config.json`` | settings |
| subfolders with ``results.json`` and ``replies.jsonl`` | evaluations (`guard_reward.report.evaluations`) |
| ``monitor.jsonl`` | alarms |

Files are an attacker's: nothing is unpickled, and what cannot be read becomes a note of the run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError, one_line
from guard_reward.log_lines import exact_rates, is_total
from guard_reward.report.alarms import FILE as ALARMS
from guard_reward.report.alarms import read_alarms
from guard_reward.report.cells import estimate
from guard_reward.report.change import pairs_of
from guard_reward.report.evaluations import (
    RESULTS,
    Evaluation,
    demo_measurements,
    evaluation_folders,
    evaluations_in,
    measurements_of,
    read_evaluation,
)
from guard_reward.report.json_files import is_regular, read_object
from guard_reward.report.log import HISTORY, LIVE, Log, kind_of, read_log, state_files
from guard_reward.report.rollouts import Cache, Reading, read_rollouts
from guard_reward.report.run import Measurement, Run
from guard_reward.report.settings import RECORD, read_settings
from guard_reward.report.tables import Table, tables_of
from guard_reward.report.training_measures import judge_measurements, reward_guard, training_measurements

__all__ = ["QUIET_SECONDS", "Stamps", "find_runs", "fingerprint", "newest_write", "read_runs"]

QUIET_SECONDS = 30 * 60
"""A run without its final line that has written nothing for so long seems to have been stopped."""

Stamps = frozenset[tuple[str, int, int]]
"""Paths of files, with sizes in bytes and times in nanoseconds."""

_LOOKED_FOR = "log.jsonl, trainer_state.json, checkpoint-N/trainer_state.json, history.jsonl or completions/*.parquet"


def read_runs(
    folders: Sequence[str | Path],
    *,
    max_rollouts: int = 3000,
    evaluations: Sequence[str | Path] = (),
    cache: Cache | None = None,
    progress: bool = False,
) -> list[Run]:
    """Read the folders of runs.

    Args:
        folders: of runs, or of folders that hold runs.
        max_rollouts: how many rollouts of each run are kept; see `guard_reward.report.sampling.choose`.
        evaluations: folders of ``guard-reward evaluate`` that are no subfolders of the runs.
        cache: of an earlier call: tables that have not changed are not read again.
        progress: show a bar on standard error if there are many tables.

    Returns:
        The runs, in the folders' order, with names that differ.

    Raises:
        UserError: a folder is no run, or nothing in it can be read; says what was looked for, and what is there.

    >>> [run.name for run in read_runs(["runs/hybrid", "runs/guard_only"])]                        # doctest: +SKIP
    ['hybrid', 'guard_only']
    """
    found = [run for folder in folders for run in find_runs(Path(folder))]
    found = list(dict.fromkeys(found))
    outside, stray = _assigned(evaluations, found)
    reading = Reading(max_rollouts, cache or Cache(), progress)
    names = _names(found)
    return [_read(folder, name, outside[folder], stray, reading) for folder, name in zip(found, names, strict=True)]


def find_runs(folder: Path) -> list[Path]:
    """The folder itself if it is that of a run, else its subfolders that are.

    Raises:
        UserError: neither.
    """
    if _is_run(folder):
        return [folder]
    try:
        entries = sorted(folder.iterdir())
    except (OSError, ValueError) as error:
        reason = "there is no such folder" if isinstance(error, FileNotFoundError) else one_line(error)
        raise UserError(f"'{folder}' cannot be read as a run: {reason}") from error
    if runs := [entry for entry in entries if _is_run(entry)]:
        return runs
    inside = ", ".join(entry.name for entry in entries[:8]) + (", …" if len(entries) > 8 else "")
    raise UserError(
        f"'{folder}' is no folder of a run, and has none in it. Looked for {_LOOKED_FOR}; found {inside or 'nothing'}. "
        "Name a trainer's output_dir"
    )


def newest_write(folder: Path) -> float:
    """When a run last wrote something that a page shows, in seconds since the epoch; 0 if never."""
    return max((written / 1e9 for _, _, written in _stamps(folder)), default=0.0)


def fingerprint(folders: Sequence[str | Path]) -> Stamps:
    """Paths, sizes and times of all files that `read_runs` would read; empty while there is no run."""
    found: set[tuple[str, int, int]] = set()
    for folder in map(Path, folders):
        try:
            runs = find_runs(folder)
        except UserError:
            continue
        found.update(stamp for run in runs for stamp in _stamps(run))
    return frozenset(found)


def _stamps(folder: Path) -> Iterator[tuple[str, int, int]]:
    for path in _files(folder):
        try:
            found = path.stat()
        except OSError:
            continue
        yield str(path), found.st_size, found.st_mtime_ns


def _files(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in (LIVE, HISTORY, ALARMS, RECORD))
    yield from state_files(folder)
    yield from (table.path for table in tables_of(folder, 0))
    yield from (path / RESULTS for path in evaluation_folders(folder))


def _is_run(folder: Path) -> bool:
    if any(map(is_regular, (folder / LIVE, folder / HISTORY, *state_files(folder)))):
        return True
    return any(table.path.suffix == ".parquet" for table in tables_of(folder, 0))


def _read(folder: Path, name: str, evaluations: Sequence[Evaluation], stray: Sequence[str], reading: Reading) -> Run:
    notes = list(stray)
    log = read_log(folder, notes)
    alarms = read_alarms(folder, notes)
    settings = read_settings(folder, log.state, notes)
    last_step = log.lines[-1]["step"] if log.lines else 0
    tables = tables_of(folder, last_step)
    rollouts = read_rollouts(tables, _rewards(log, settings, tables), reading, notes, alarms)
    if not log.lines and not rollouts.total:
        why = " ".join(notes) or "they are empty"
        raise UserError(f"'{folder}' has the files of a run, but nothing in them can be read: {why}")
    record = read_object(folder / RECORD, [])
    evaluated = [*evaluations_in(folder, notes), *evaluations]
    measurements = measurements_of(evaluated, folder, base_of(settings), record, last_step)
    measurements += judge_measurements(log.lines, record)
    if not measurements and is_regular(folder / HISTORY):
        measurements = demo_measurements(folder, notes)
    if not any(None not in pair for pair in pairs_of(measurements)):  # nobody knows both ends
        measurements += training_measurements(log.lines, rollouts.facts)
    max_steps = _max_steps(log, settings)
    is_running = not log.is_finished and newest_write(folder) > time.time() - QUIET_SECONDS
    notes.extend(_missing(log, tables, measurements, max_steps, is_running=is_running))
    return Run(
        name=name,
        folder=str(folder),
        log=[_exact(line) for line in log.lines],
        rollouts=rollouts.rows,
        rollout_total=rollouts.total,
        settings=settings,
        measurements=measurements,
        alarms=alarms,
        max_steps=max_steps,
        is_running=is_running,
        notes=notes,
    )


def base_of(settings: Mapping[str, str]) -> str | None:
    """The policy that a run began with."""
    names = ("model_name_or_path", "base_model_name_or_path", "model.base")
    return next((text for end in names for name, text in settings.items() if name.endswith(end)), None)


def _missing(
    log: Log, tables: Sequence[Table], measurements: Sequence[Measurement], max_steps: int | None, *, is_running: bool
) -> Iterator[str]:
    if not log.lines:
        yield "There is no log, so there are no curves."
    elif not log.is_finished and not is_running:
        at = f"step {log.lines[-1]['step']:,}{f' of {max_steps:,}' if max_steps else ''}"
        yield f"The log ends at {at} without the trainer's final line: the run was stopped."
    if not tables:
        yield "There are no rollouts: set log_completions: true in the trainer's config."
    if not measurements:
        yield "Nobody has judged this run: there are no verdicts of a guard in its log, and no evaluation."
    elif all(one.independent is False for one in measurements):
        yield "No other judge has evaluated the policy: see guard-reward evaluate."


def _rewards(log: Log, settings: Mapping[str, str], tables: Sequence[Table]) -> dict[str, float]:
    """The reward columns of the rollouts tables, in the trainer's order, with its weights."""
    training = next((line for line in log.lines if kind_of(line) == "training"), {})
    names = [name.split("/", 1)[1].removesuffix("/mean") for name in training if _is_reward_mean(name)]
    if not names and (guard := reward_guard(log.lines)):
        names = [guard]
    # transformers sorts the names in trainer_state.json; a table has the trainer's order.
    columns = next((found for table in tables[:10] if (found := table.columns())), [])
    names = sorted(names, key=lambda name: columns.index(name) if name in columns else len(columns))
    text = next((text for name, text in settings.items() if name.endswith("reward_weights")), "")
    try:
        weights = [weight.value for found in json.loads(text) if (weight := estimate(found))]
    except (ValueError, TypeError, RecursionError):
        weights = []
    return dict(zip(names, weights, strict=True)) if len(weights) == len(names) else dict.fromkeys(names, 1.0)


def _is_reward_mean(name: str) -> bool:
    return name.startswith("rewards/") and name.endswith("/mean") and len(name) > len("rewards//mean")


def _max_steps(log: Log, settings: Mapping[str, str]) -> int | None:
    configured = next((text for name, text in settings.items() if name.endswith(".max_steps")), None)
    said = [log.state.get("max_steps"), configured]
    found = [int(value.value) for each in said if (value := estimate(each)) and 0 < value.value < 2**53]
    return found[0] if found else None


def _exact(line: Mapping[str, Any]) -> dict[str, Any]:
    """A log line with exact rates in place of the means of the calls' rates, and without their totals."""
    return {name: value for name, value in line.items() if not is_total(name)} | exact_rates(line)


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the folders' paths, as many as tell them apart.

    >>> _names([Path("a/run"), Path("b/run"), Path("c")])
    ['a/run', 'b/run', 'c']
    """
    parts = [tuple(one_line(part) for part in folder.absolute().parts[1:]) or ("run",) for folder in folders]
    names = []
    for mine in parts:
        count = next(
            (count for count in range(1, len(mine)) if sum(other[-count:] == mine[-count:] for other in parts) == 1),
            len(mine),
        )
        names.append("/".join(mine[-count:]))
    return [name if names.index(name) == at else f"{name} ({at + 1})" for at, name in enumerate(names)]


def _assigned(
    evaluations: Sequence[str | Path], runs: Sequence[Path]
) -> tuple[dict[Path, list[Evaluation]], list[str]]:
    """Which evaluations are of which run: of the one that has the policy or began with it, or of the only run."""
    found: dict[Path, list[Evaluation]] = {run: [] for run in runs}
    notes: list[str] = []
    bases = {run: base_of(read_settings(run, {}, [])) for run in runs} if evaluations else {}
    for folder in map(Path, evaluations):
        problems: list[str] = []
        evaluation = read_evaluation(folder, problems)
        if evaluation is None:
            raise UserError(f"--evaluation: '{folder}' is no folder of guard-reward evaluate: {' '.join(problems)}")
        owners = [run for run in runs if _is_of(evaluation, run, bases[run])]
        for run in owners or (runs if len(runs) == 1 else []):
            found[run].append(evaluation)
        if not owners and len(runs) > 1:
            policy = one_line(evaluation.policy) or "(recorded replies)"
            notes.append(
                f"The evaluation {one_line(folder.name)} is of the policy {policy}, which is of none of these runs: "
                "it is left out."
            )
    return found, notes


def _is_of(evaluation: Evaluation, run: Path, base: str | None) -> bool:
    policy = evaluation.policy
    if not policy:
        return False
    if base and policy.rstrip("/") == base.rstrip("/"):
        return True
    try:
        return Path(policy).resolve().is_relative_to(run.resolve())
    except (OSError, RuntimeError, ValueError):
        return False
