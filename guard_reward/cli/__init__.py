"""The command line: ``guard-reward COMMAND``, one module per command.

Nothing heavy is imported before a command runs, so ``--help`` answers at once. A user's mistake is one line on standard
error with exit status 1 (2 for a mistake in the command line itself); only bugs have tracebacks.
"""

from __future__ import annotations

from typing import Annotated

import typer

from guard_reward._version import __version__
from guard_reward.cli.demo import demo
from guard_reward.cli.evaluate import evaluate
from guard_reward.cli.grade import grade
from guard_reward.cli.init import init
from guard_reward.cli.moderate import moderate
from guard_reward.cli.ping import ping
from guard_reward.cli.redteam import redteam
from guard_reward.cli.report import report
from guard_reward.cli.select import select
from guard_reward.cli.serve import serve
from guard_reward.cli.speed import speed
from guard_reward.cli.tiny import tiny
from guard_reward.noise import quiet_libraries

__all__ = ["app"]

app = typer.Typer(
    name="guard-reward",
    help="A guard model (Qwen3Guard) as the reward of safety reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # locals hold whole conversations
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, moderate, select, evaluate, report, grade, redteam, speed, serve, ping, init, tiny):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"guard-reward {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    quiet_libraries()
