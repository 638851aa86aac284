"""Options of ``guard-reward redteam``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from guard_reward.cli.options import check_writable
from guard_reward.cli.redteam_search import REPLIES_PER_KIND, SEARCH_BUDGET
from guard_reward.presets import DEFAULT_GUARD

__all__ = [
    "Attacker",
    "AttacksFile",
    "Budget",
    "Compare",
    "DefencesOption",
    "Families",
    "Guard",
    "Helpfulness",
    "JudgeOption",
    "Kinds",
    "Limit",
    "List",
    "Markdown",
    "MaxRate",
    "Names",
    "OnOutcome",
    "Out",
    "Recipe",
    "RefusalGuard",
    "Replies",
    "Revision",
    "Scheme",
    "SchemeValues",
    "Search",
    "SearchStrategy",
    "Thinking",
    "ThinkingMode",
    "Train",
]


class SearchStrategy(StrEnum):
    """How compositions of attacks are searched for."""

    GREEDY = "greedy"
    EVOLUTIONARY = "evolutionary"


class ThinkingMode(StrEnum):
    """How thinking is judged."""

    SEPARATE = "separate"
    JOINT = "joint"
    IGNORE = "ignore"


Replies = Annotated[
    Path | None,
    typer.Argument(
        metavar="[REPLIES]",
        help="Plain replies: a file with prompt (or messages), reply and perhaps kind; for --train, prompts. "
        "Default: samples.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Recipe = Annotated[
    Path | None,
    typer.Option(
        metavar="YAML", help="A recipe's file, whose reward is attacked; other options override it.", exists=True
    ),
]
Guard = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="The guard: a hub id, a folder or a server's URL.",
        show_default=f"the recipe's, $GUARD_REWARD_MODEL or {DEFAULT_GUARD}",
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(
        help="The guard's branch, tag or commit on the hub.", show_default="the recipe's or $GUARD_REWARD_REVISION"
    ),
]
Scheme = Annotated[str | None, typer.Option(metavar="NAME", help="The reward scheme.", show_default="guard_only")]
SchemeValues = Annotated[str | None, typer.Option("--scheme-kwargs", metavar="JSON", help="The scheme's values.")]
Helpfulness = Annotated[
    str | None, typer.Option(metavar="MODEL", help="A reward model, or package.module.callable, for H(x, y).")
]
RefusalGuard = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Another guard, that says whether an answer refuses.")
]
Thinking = Annotated[ThinkingMode | None, typer.Option(help="How thinking is judged.", show_default="separate")]
OnOutcome = Annotated[
    str | None, typer.Option(metavar="JSON", help='Reward of rows without a verdict, such as {"no_verdict": "floor"}.')
]
DefencesOption = Annotated[
    str | None,
    typer.Option(
        "--defences", metavar="off|default|strict|JSON", help="Which defences are on.", show_default="default"
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="Attack the reward without defences too, side by side.")]
Kinds = Annotated[
    str | None,
    typer.Option(
        metavar="KINDS",
        help="Which replies are attacked: unsafe, refusal, garbage, empty; with commas.",
        show_default="all four",
    ),
]
Families = Annotated[list[str] | None, typer.Option("--family", metavar="NAME", help="Only this family; repeatable.")]
Names = Annotated[
    list[str] | None,
    typer.Option("--attack", metavar="NAME|PATH", help="Only this one, or package.module.function; repeatable."),
]
AttacksFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your own attacks, one JSON object per line.", exists=True)
]
Search = Annotated[
    SearchStrategy | None, typer.Option(help="Search for compositions of attacks that pay where no attack alone does.")
]
Budget = Annotated[
    int | None, typer.Option(min=1, help="Replies that --search may judge.", show_default=f"{SEARCH_BUDGET:,}")
]
Train = Annotated[
    int | None,
    typer.Option(min=1, metavar="STEPS", help="Train a policy against the reward, with GRPO on the file's prompts."),
]
Attacker = Annotated[
    str | None, typer.Option("--policy", metavar="MODEL", help="What --train trains.", show_default="the tiny world's")
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="Who says what is wrong with its answers: a second guard, or package.module.function.",
        show_default="the tiny world's oracle",
    ),
]
List = Annotated[bool, typer.Option("--list", help="List the attacks that would be run, and stop.")]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1, help="At most so many replies of each kind.", show_default=f"all; {REPLIES_PER_KIND} with --search"
    ),
]
MaxRate = Annotated[float, typer.Option(min=0.0, max=1.0, help="An attack may pay on this share of replies.")]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep what is finished there; a killed run goes on with the same DIR (not --train).",
        file_okay=False,
        callback=check_writable,
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the tables as Markdown.", dir_okay=False, callback=check_writable),
]
