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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from guard_reward.errors import UserError, one_line
from guard_reward.log_lines import exact_rates, is_total
from guard_reward.report.alarms import FILE as ALARMS
from guard_reward.report.alarms import read_alarms
from guard_reward.report.assignment import assigned, check_evaluations
from guard_reward.report.cells import estimate
from guard_reward.report.change import SAFETY, pairs_of
from guard_reward.report.evaluations import (
    RECORDS,
    RESULTS,
    Evaluation,
    demo_measurements,
    evaluation_folders,
    evaluations_in,
    measurements_of,
)
from guard_reward.report.json_files import is_regular, read_object
from guard_reward.report.log import HISTORY, LIVE, Log, kind_of, read_log, state_files
from guard_reward.report.rollout_table import MAX_ROLLOUTS
from guard_reward.report.rollouts import Cache, Reading, read_rollouts
from guard_reward.report.run import Measurement, Run
from guard_reward.report.settings import RECORD, read_settings
from guard_reward.report.tables import Table, tables_of
from guard_reward.report.training_measures import (
    judge_measurements,
    last_judged,
    reward_guards,
    training_measurements,
)

__all__ = ["QUIET_SECONDS", "Stamps", "find_runs", "fingerprint", "newest_write", "quiet_seconds", "read_runs"]

QUIET_SECONDS = 30 * 60
"""A run without its final line that has written nothing for so long may have been stopped; see `quiet_seconds`."""

Stamps = frozenset[tuple[str, int, int]]
"""Paths of files, with sizes in bytes and times in nanoseconds."""

_Read = TypeVar("_Read")
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
        UserError: no folder is a run in which something can be read, which says what was looked for, and what is
            there; or an evaluation cannot be read. One run among several that cannot be read is noted.

    >>> [run.name for run in read_runs(["runs/hybrid", "runs/guard_only"])]                        # doctest: +SKIP
    ['hybrid', 'guard_only']
    """
    failures: list[UserError] = []
    found = list(dict.fromkeys(run for folder in folders for run in _tried(partial(find_runs, Path(folder)), failures)))
    bases = {run: base_of(read_settings(run, {}, [])) for run in found} if evaluations else {}
    outside, stray = assigned(check_evaluations(evaluations), bases)
    # One sample for the page, which shows all runs together.
    reading = Reading(min(max_rollouts, MAX_ROLLOUTS // max(1, len(found))), cache or Cache(), progress)
    runs = [
        run
        for folder, name in zip(found, _names(found), strict=True)
        for run in _tried(partial(_read, folder, name, outside.get(folder, []), reading), failures)
    ]
    if not runs:
        raise failures[0]
    left_out = [f"A run is left out: {one_line(failure).rstrip('.')}." for failure in failures]
    return [replace(runs[0], notes=[*left_out, *stray, *runs[0].notes]), *runs[1:]]


def _tried(read: Callable[[], list[_Read]], failures: list[UserError]) -> list[_Read]:
    """What `read` returns; nothing if it fails, which is kept."""
    try:
        return read()
    except UserError as error:
        failures.append(error)
        return []


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


def fingerprint(folders: Sequence[str | Path], evaluations: Sequence[str | Path] = ()) -> Stamps:
    """Paths, sizes and times of all files that `read_runs` would read; empty while there is no run."""
    found: set[tuple[str, int, int]] = set()
    for folder in map(Path, folders):
        try:
            runs = find_runs(folder)
        except UserError:
            continue
        found.update(stamp for run in runs for stamp in _stamps(run))
    if found:
        found.update(_stamps_of(Path(folder) / name for folder in evaluations for name in (RESULTS, RECORDS)))
    return frozenset(found)


def quiet_seconds(folder: Path, lines: int) -> float:
    """How long a run may write nothing before it seems to have been stopped: three times as long as a log line takes.

    Args:
        folder: of the run.
        lines: of its log.
    """
    times = [written / 1e9 for _, _, written in _stamps(folder)]
    return max(QUIET_SECONDS, 3 * (max(times) - min(times)) / max(1, lines)) if times else QUIET_SECONDS


def _stamps(folder: Path) -> Iterator[tuple[str, int, int]]:
    return _stamps_of(_files(folder))


def _stamps_of(paths: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
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


def _read(folder: Path, name: str, evaluations: Sequence[Evaluation], reading: Reading) -> list[Run]:
    notes: list[str] = []
    log = read_log(folder, notes)
    alarms = read_alarms(folder, notes)
    settings = read_settings(folder, log.state, notes)
    last_step = log.lines[-1]["step"] if log.lines else 0
    tables = _without_leftovers(tables_of(folder, last_step), folder, last_step, notes)
    columns = next((found for table in tables[:10] if (found := table.columns())), [])
    guard = _guard(log, columns, notes)
    rollouts = read_rollouts(tables, _rewards(log, settings, columns, guard), reading, notes, alarms)
    if not log.lines and not rollouts.total:
        why = " ".join(notes) or "they are empty"
        raise UserError(f"'{folder}' has the files of a run, but nothing in them can be read: {why.rstrip('.')}")
    record = read_object(folder / RECORD, [])
    evaluated = [*evaluations_in(folder, notes), *evaluations]
    measurements = measurements_of(evaluated, folder, base_of(settings), record, last_step, notes)
    measurements += judge_measurements(log.lines, record, _rollouts_per_prompt(settings))
    if not measurements and is_regular(folder / HISTORY):
        measurements = demo_measurements(folder, notes)
    if not any(pair.has(SAFETY) for pair in pairs_of(measurements)):  # nobody knows both ends
        measurements += training_measurements(log.lines, rollouts.facts, guard, record)
    max_steps = _max_steps(log, settings)
    quiet = quiet_seconds(folder, len(log.lines))
    is_running = not log.is_finished and newest_write(folder) > time.time() - quiet
    notes.extend(_missing(log, tables, measurements, max_steps, guard, is_running=is_running))
    is_monitored = is_regular(folder / ALARMS) or any(key.startswith("monitor/") for line in log.lines for key in line)
    run = Run(
        name=name,
        folder=str(folder),
        log=[_exact(line, guard) for line in log.lines],
        rollouts=rollouts.rows,
        rollout_total=rollouts.total,
        settings=settings,
        measurements=measurements,
        alarms=alarms,
        max_steps=max_steps,
        is_running=is_running,
        is_monitored=is_monitored,
        notes=notes,
    )
    return [run]


def _without_leftovers(tables: list[Table], folder: Path, last_step: int, notes: list[str]) -> list[Table]:
    """Without tables behind the log's end that are older than the log: of an attempt that was given up."""
    logs = [written for _, _, written in _stamps_of([folder / LIVE, folder / HISTORY, *state_files(folder)])]
    if not logs or not last_step:
        return tables
    behind = [table for table in tables if table.step > last_step]
    old = {path for path, _, written in _stamps_of(table.path for table in behind) if written < max(logs)}
    if old:
        count = "1 rollouts table is" if len(old) == 1 else f"{len(old)} rollouts tables are"
        notes.append(f"{count} left out: of steps behind the log's end at step {last_step:,}, and older than the log.")
    return [table for table in tables if str(table.path) not in old]


def _guard(log: Log, columns: Sequence[str], notes: list[str]) -> str | None:
    """The guard reward that a run's rates are of: with several, the first in the trainer's order."""
    guards = reward_guards(log.lines)
    # transformers sorts the names in trainer_state.json; a table has the trainer's order.
    guards = sorted(guards, key=lambda name: columns.index(name) if name in columns else len(columns))
    if len(guards) > 1:
        notes.append(
            f"Several guards gave rewards ({one_line(', '.join(guards))}): the rates are {one_line(guards[0])}'s."
        )
    return guards[0] if guards else None


def _rollouts_per_prompt(settings: Mapping[str, str]) -> int | None:
    """Of an evaluation during the training; None if that is unknown."""
    for ending in (".num_generations_eval", ".num_generations"):
        text = next((text for name, text in settings.items() if name.endswith(ending)), "")
        if text.isascii() and text.isdigit() and int(text[:9]) > 0:
            return int(text[:9])
    return None


def base_of(settings: Mapping[str, str]) -> str | None:
    """The policy that a run began with."""
    names = ("model_name_or_path", "base_model_name_or_path", "model.base")
    return next((text for end in names for name, text in settings.items() if name.endswith(end)), None)


def _missing(
    log: Log,
    tables: Sequence[Table],
    measurements: Sequence[Measurement],
    max_steps: int | None,
    guard: str | None,
    *,
    is_running: bool,
) -> Iterator[str]:
    if not log.lines:
        yield "There is no log, so there are no curves."
    elif not log.is_finished and not is_running:
        at = f"step {log.lines[-1]['step']:,}{f' of {max_steps:,}' if max_steps else ''}"
        yield f"The log ends at {at} without the trainer's final line: the run seems to have been stopped."
    if not tables:
        is_async = any(_is_reward(name) and not name.endswith("/mean") for line in log.lines for name in line)
        how = (
            "this trainer writes no tables of them" if is_async else "set log_completions: true in the trainer's config"
        )
        yield f"There are no rollouts: {how}."
    judged = last_judged(log.lines, guard)
    if judged and judged[0] < judged[1]:
        yield f"The reward's guard gave no verdict after step {judged[0]:,}, though the log goes to step {judged[1]:,}."
    if not measurements:
        yield "Nobody has judged this run: there are no verdicts of a guard in its log, and no evaluation."
    elif all(one.independent is False for one in measurements):
        yield "No other judge has evaluated the policy: see guard-reward evaluate."


def _rewards(log: Log, settings: Mapping[str, str], columns: Sequence[str], guard: str | None) -> dict[str, float]:
    """The reward columns of the rollouts tables, in the trainer's order, with its weights."""
    training = next((line for line in log.lines if kind_of(line) == "training"), {})
    names = [name.split("/", 1)[1].removesuffix("/mean") for name in training if _is_reward(name)]
    if not names and guard:
        names = [guard]
    names = sorted(dict.fromkeys(names), key=lambda name: columns.index(name) if name in columns else len(columns))
    text = next((text for name, text in settings.items() if name.endswith("reward_weights")), "")
    try:
        weights = [weight.value for found in json.loads(text) if (weight := estimate(found))]
    except (ValueError, TypeError, RecursionError):
        weights = []
    return dict(zip(names, weights, strict=True)) if len(weights) == len(names) else dict.fromkeys(names, 1.0)


def _is_reward(name: str) -> bool:
    """Whether a metric is the mean of a reward function: ``rewards/f/mean``, and ``rewards/f`` of AsyncGRPOTrainer."""
    start, _, rest = name.partition("/")
    return start == "rewards" and bool(rest.removesuffix("/mean")) and (name.endswith("/mean") or "/" not in rest)


def _max_steps(log: Log, settings: Mapping[str, str]) -> int | None:
    configured = next((text for name, text in settings.items() if name.endswith(".max_steps")), None)
    said = [log.state.get("max_steps"), configured]
    found = [int(value.value) for each in said if (value := estimate(each)) and 0 < value.value < 2**53]
    return found[0] if found else None


def _exact(line: Mapping[str, Any], guard: str | None) -> dict[str, Any]:
    """A log line with exact rates in place of the means of the calls' rates, and without their totals.

    The metrics of the run's guard come first: the page takes the first one of each kind.
    """
    found = {name: value for name, value in line.items() if not is_total(name)} | exact_rates(line)
    starts = (f"{guard}/", f"eval_{guard}/") if guard else ()
    return {name: value for name, value in found.items() if name.startswith(starts)} | found if guard else found


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
