"""Options that several commands share."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from guard_reward.cli.output import STANDARD_OUTPUT, results_alone

__all__ = [
    "Deadline",
    "Device",
    "Dtype",
    "GuardFamily",
    "GuardName",
    "Harmful",
    "JsonFile",
    "KeepGoing",
    "Limit",
    "MaxNewTokens",
    "Overwrite",
    "PolicyModel",
    "PolicyRevision",
    "PromptColumn",
    "Prompts",
    "Quiet",
    "Restart",
    "Revision",
    "SampleSeed",
    "ServedModel",
    "ServedTokenizer",
    "Start",
    "StartOption",
    "SystemPrompt",
    "Temperature",
    "Thinking",
    "ThinkingSwitch",
    "check_writable",
]


def check_writable(path: Path | None) -> Path | None:
    """Refuse a file that cannot be written, before the work whose results it is for. Nothing is created."""
    if path is None:
        return None
    if path == STANDARD_OUTPUT:
        raise typer.BadParameter("'-' is no file; only --json writes to standard output")
    try:
        existing = next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise typer.BadParameter(f"'{path}' cannot be written: {error.strerror}") from error
    if existing != path and not existing.is_dir():
        raise typer.BadParameter(f"'{path}' cannot be written: '{existing}' is not a folder")
    if not os.access(existing, os.W_OK if existing == path else os.W_OK | os.X_OK):
        raise typer.BadParameter(f"'{path}' cannot be written: '{existing}' does not allow it")
    return path


def _json_place(context: typer.Context, path: Path | None) -> Path | None:
    """Check the file of ``--json``; for ``-``, what the command prints goes to standard error."""
    if path != STANDARD_OUTPUT:
        return check_writable(path)
    context.with_resource(results_alone())
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Also write the results to this file, as JSON; - is standard output, and the rest goes to standard error.",
        dir_okay=False,
        allow_dash=True,
        callback=_json_place,
    ),
]
GuardName = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        envvar="GUARD_REWARD_MODEL",
        help="The guard: a hub id or a folder, with vllm: in front to run it in vLLM; or its server's URL (several "
        "with commas: replicas).",
    ),
]
ServedModel = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A served guard's name at its servers; default: the first that they list."),
]
ServedTokenizer = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="A served guard's tokenizer: a hub id or a folder; default: by its name."),
]
GuardFamily = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The guard's family, such as wildguard or rubric; default: found by its checkpoint."
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long one chunk of rows may wait for a served guard; default: 120, and one more per row.",
    ),
]
Revision = Annotated[
    str | None, typer.Option(envvar="GUARD_REWARD_REVISION", help="The guard's branch, tag or commit on the hub.")
]
Device = Annotated[str | None, typer.Option(help="Such as cuda:1; default: an accelerator, else the CPU.")]
Dtype = Annotated[
    str | None, typer.Option(help="Such as bfloat16; default: the checkpoint's own, or float32 on a CPU that lacks it.")
]


class Start(StrEnum):
    """How the tiny policy answers harmful requests before training, if it does not comply."""

    REFUSING = "refusing"
    BALANCED = "balanced"


StartOption = Annotated[
    Start, typer.Option(help="Starting policy: mostly refuses, or refuses and redirects equally often.")
]


class ThinkingSwitch(StrEnum):
    """Whether a policy's chat template is told to think."""

    ON = "on"
    OFF = "off"


def _bool_or_column(value: str | None) -> bool | str | None:
    return value if value is None else {"true": True, "false": False}.get(value.lower(), value)


Prompts = Annotated[
    list[str],
    typer.Argument(metavar="PROMPTS", help="Files, hub ids, or names of public sets.", show_default=False),
]
PromptColumn = Annotated[str, typer.Option(metavar="COLUMN", help="With texts or chat messages.")]
Harmful = Annotated[
    str | None,
    typer.Option(
        metavar="true|false|COLUMN",
        help="Whether the prompts are harmful, or the column that says so; default: the column harmful, if there is "
        "one. Public sets know.",
        callback=_bool_or_column,
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many prompts per set, drawn at random.")]
SystemPrompt = Annotated[str | None, typer.Option(metavar="TEXT", help="For prompts that have no system message.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="Of the policy's sampling; 0 takes the likeliest token.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="At which a reply is cut off.")]
Thinking = Annotated[
    ThinkingSwitch | None,
    typer.Option(help="Tell the chat template to think or not (enable_thinking); default: its own way."),
]
PolicyModel = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A served policy's name at its servers; default: the first that they list."),
]
PolicyRevision = Annotated[str | None, typer.Option(help="The policy's branch, tag or commit on the hub.")]
SampleSeed = Annotated[int, typer.Option(help="Of the replies, and of the prompts that --limit leaves.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace finished results in DIR.")]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Go on when the policy or a guard fails on most replies of a chunk.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew instead of going on where a run was stopped.")]
