"""``guard-reward demo``."""

from __future__ import annotations

from contextlib import nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer

from guard_reward.cli.options import JsonFile, Quiet, Start, StartOption
from guard_reward.cli.output import one_line_errors, write_json
from guard_reward.progress_bars import hidden

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for results.json and report.html.", file_okay=False)
    ] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same table on the same machine.")] = 0,
    start: StartOption = Start.REFUSING,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Watch a tiny policy become safe: two real GRPO runs on this machine.

    Trains a tiny policy with TRL's GRPOTrainer under the schemes guard_only and hybrid, judged by a tiny guard. Prints
    one table (before, guard_only, hybrid) whose numbers come from an exact oracle, not from the guard. Takes minutes
    on two cores; needs no GPU and no network. With another seed than 0, guard and policy are trained first.

    Examples:

    - `guard-reward demo`

    - `guard-reward demo --out runs/other --seed 1 --start balanced`
    """
    with one_line_errors():
        from guard_reward.tiny import run_demo

        with hidden(quiet), redirect_stdout(StringIO()) if quiet else nullcontext():
            results = run_demo(out, seed, start.value)
    write_json(json_file, results)
