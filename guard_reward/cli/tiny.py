"""``guard-reward tiny``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guard_reward.cli.options import JsonFile, Quiet, Start, StartOption
from guard_reward.cli.output import one_line_errors, write_json
from guard_reward.progress_bars import hidden

__all__ = ["tiny"]


def tiny(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Such as runs/tiny, where the tiny configs look.", file_okay=False)
    ],
    seed: Annotated[int, typer.Option(help="Of the models and the prompts. Seed 0 comes with the package.")] = 0,
    start: StartOption = Start.REFUSING,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Train the models on this machine even if they come with the package.")
    ] = False,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Write the tiny world as files, to try the recipes: two guards, a policy and prompts.

    Writes DIR/guard, DIR/stream-guard and DIR/policy (checkpoints), DIR/train.jsonl and DIR/eval.jsonl (columns prompt
    and harmful), and DIR/replies.jsonl (plain replies for guard-reward redteam). With another seed than 0, or with
    --rebuild, the models are trained on first use, in a few minutes, and then cached.

    Examples:

    - `guard-reward tiny runs/tiny`

    - `guard-reward tiny runs/other --seed 1 --start balanced --json world.json`
    """
    with one_line_errors():
        from guard_reward.tiny.files import write_world

        with hidden(quiet):
            written = write_world(folder, seed, start.value, rebuild=rebuild)
    write_json(json_file, {"folder": str(folder), "written": written, "seed": seed, "start": start.value})
    if not quiet:
        typer.echo(f"{folder}: {', '.join(written)}\nnext: python recipes/grpo.py --config configs/grpo_tiny.yaml")
