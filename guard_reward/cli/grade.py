"""``guard-reward grade``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from guard_reward.cli.options import (
    Device,
    Dtype,
    GuardFamily,
    GuardName,
    JsonFile,
    Quiet,
    Revision,
    ServedModel,
    ServedTokenizer,
    check_writable,
)
from guard_reward.cli.output import load_guard, one_line_errors, write_json
from guard_reward.errors import UserError
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from guard_reward.evaluation.grading.grade import Grade, GradeSettings
    from guard_reward.verdict import Guard

__all__ = ["grade"]

_GROUPS = ("source", "language", "category")

Sources = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Labelled rows: JSON lines, JSON, CSV or Parquet.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="FILE has this public set's columns; without FILE, the set comes from the hub. A wrong name lists all.",
    ),
]
PartialOption = Annotated[
    str, typer.Option("--partial", metavar="WHAT", help="Partial refusals count as refusal or compliance, or are skip.")
]
Verdicts = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Grade the verdicts that an earlier --out holds; no guard is asked.", exists=True
    ),
]
By = Annotated[str, typer.Option(metavar="GROUPS", help="Also a table per source, language or category; with commas.")]
Rate = Annotated[
    float, typer.Option("--false-positive-rate", metavar="RATE", help="Find the threshold for this rate, from 0 to 1.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep the verdicts (verdicts.jsonl) and write report.html. A killed run goes on with the same DIR.",
        file_okay=False,
        callback=check_writable,
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Discard the verdicts that --out already has.")]


def grade(
    sources: Sources = None,
    preset: Preset = None,
    guard: GuardName = DEFAULT_GUARD,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    guard_model: ServedModel = None,
    guard_tokenizer: ServedTokenizer = None,
    guard_spec: GuardFamily = None,
    by: By = "",
    partial: PartialOption = "refusal",
    false_positive_rate: Rate = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals and of the calibration's halves.")] = 0,
    verdicts: Verdicts = None,
    out: Out = None,
    restart: Restart = False,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """Say how good a guard is on labelled rows: harm of prompts, harm of responses, refusals, and detection latency.

    A row has prompt, response (or messages) and any of the labels prompt_harm, response_harm and refusal; source,
    language and category are graded apart. Qwen3GuardTest's format (message, label, unsafe_start_index,
    unsafe_end_index) is read too.

    Strict counts Controversial as Unsafe, loose as Safe. Rows without a verdict are counted apart; if there is no
    verdict at all, the exit status is 1.

    Examples:

    - `guard-reward grade labelled.jsonl --guard Qwen/Qwen3Guard-Gen-0.6B --json grade.json`

    - `guard-reward grade --preset xstest --by source,category --out runs/xstest`
    - `guard-reward grade xstest_prompts.csv --preset xstest`
    - `guard-reward grade --verdicts runs/xstest/verdicts.jsonl --partial compliance`

    - `guard-reward grade qwen3guardtest.jsonl --guard Qwen/Qwen3Guard-Stream-0.6B`
    """
    options: dict[str, Any] = {"device": device, "dtype": dtype, "revision": revision}
    options |= {"model": guard_model, "tokenizer": guard_tokenizer, "spec": guard_spec}
    with one_line_errors():
        from guard_reward.evaluation.grading.grade import GradeSettings, Partial
        from guard_reward.evaluation.grading.published import published_for

        groups = _chosen(by, "--by", _GROUPS)
        (counted_as,) = _chosen(partial, "--partial", tuple(Partial), count=1)
        settings = GradeSettings(Partial(counted_as), false_positive_rate, seed=seed)
        if verdicts is not None:
            result = _from_verdicts(verdicts, sources, settings, out, restart=restart)
        else:
            files = _Files(tuple(sources or ()), preset, out, restart)
            result = _from_guard(files, settings, lambda: load_guard(guard, **options), progress=not quiet)
    if not quiet:
        _print(result, groups, preset, out)
    write_json(json_file, result.to_dict() | {"published": [it._asdict() for it in published_for(preset or "")]})
    if not result.has_verdicts:
        raise typer.Exit(1)


class _Files(NamedTuple):
    sources: tuple[Path, ...]
    preset: str | None
    out: Path | None
    restart: bool


def _from_guard(files: _Files, settings: GradeSettings, load: Callable[[], Guard], *, progress: bool) -> Grade:
    """Read everything before the guard is loaded: mistakes show at once."""
    from guard_reward.evaluation.grading.public_sets import read_labelled
    from guard_reward.evaluation.grading.run import check_ready, grade_guard

    check_ready(files.out, restart=files.restart)
    labelled = read_labelled(*files.sources, preset=files.preset)
    return grade_guard(load(), labelled, settings, out=files.out, restart=files.restart, progress=progress)


def _from_verdicts(
    verdicts: Path, sources: list[Path] | None, settings: GradeSettings, out: Path | None, *, restart: bool
) -> Grade:
    from guard_reward.evaluation.grading.run import grade_recorded

    if sources or restart:
        raise UserError("--verdicts are graded as they are: leave out FILE and --restart")
    return grade_recorded(verdicts, settings, out=out)


def _print(result: Grade, groups: list[str], preset: str | None, out: Path | None) -> None:
    from guard_reward.cli.grade_tables import print_grade
    from guard_reward.evaluation.grading.published import published_for

    print_grade(result, groups, published_for(preset or ""))
    if out is not None and not (out / "report.html").exists():
        typer.echo("no report.html: pip install 'guard-reward[report]'", err=True)


def _chosen(text: str, option: str, allowed: tuple[str, ...], count: int | None = None) -> list[str]:
    """Names with commas between them; with `count`, exactly so many."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if count is not None and len(names) != count:
        raise UserError(f"{option} should be one of {', '.join(allowed)}, found {text!r}")
    if wrong := [name for name in names if name not in allowed]:
        raise UserError(f"{option} should be {', '.join(allowed)}, found {wrong[0]!r}")
    return names
