"""``guard-reward init``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from guard_reward.cli.options import JsonFile
from guard_reward.cli.output import one_line_errors, write_json

__all__ = ["init"]


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to copy to; created if missing.", file_okay=False)
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Copy the recipes and configs of this version into a folder, to start your own project.

    Writes recipes/grpo.py and recipes/ppo.py, one YAML file per experiment under configs/, and launch settings under
    configs/accelerate/. Change them as you like. Without --force nothing is overwritten. Links are
    never followed or replaced. Either all files are written or none.

    Examples:

    - `guard-reward init .`

    - `guard-reward init my-project --force --json written.json`
    """
    with one_line_errors():
        from guard_reward.launch.scaffold import copy_files

        written = copy_files(folder, force=force)
    write_json(json_file, {"folder": str(folder), "written": [str(path) for path in written]})
    for path in written:
        typer.echo(f"wrote {folder / path}")
    go = f"cd {shlex.quote(str(folder))} && " if folder != Path(".") else ""
    typer.echo(f"\nnext: {go}guard-reward tiny runs/tiny && python recipes/grpo.py --config configs/grpo_tiny.yaml")
