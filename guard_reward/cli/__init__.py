"""The command line: ``guard-reward COMMAND``.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once. What a user got wrong is said in
one line on standard error, with exit status 1 (2 for a mistake in the command line itself); only bugs have tracebacks.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard_reward._version import __version__
from guard_reward.errors import LOADING_ERRORS, first_paragraph
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from guard_reward.guards import TransformersGuard
    from guard_reward.moderation.moderate import Summary

__all__ = ["app"]

# What to install when a command's module is not there.
_EXTRA_OF = {"accelerate": "trl", "datasets": "trl", "plotly": "report", "trl": "trl"}

app = typer.Typer(
    name="guard-reward",
    help="A guard model (Qwen3Guard-Gen) as the reward of safety reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,  # locals hold whole conversations
    context_settings={"help_option_names": ["-h", "--help"]},
)

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the results to this file, for machines.", dir_okay=False),
]

# How every command that loads a guard is told which, and where to.
GuardName = Annotated[
    str, typer.Option(metavar="MODEL", envvar="GUARD_REWARD_MODEL", help="The guard: a hub id or a folder.")
]
Revision = Annotated[
    str | None, typer.Option(envvar="GUARD_REWARD_REVISION", help="The guard's branch, tag or commit on the hub.")
]
Device = Annotated[str | None, typer.Option(help="Such as cuda:1; default: an accelerator, else the CPU.")]
Dtype = Annotated[str | None, typer.Option(help="Such as bfloat16; default: the checkpoint's own.")]


class Start(StrEnum):
    """Which safe habit the demo's policy has before training."""

    REFUSING = "refusing"
    BALANCED = "balanced"


class Judge(StrEnum):
    """What `moderate` judges in a row."""

    PROMPT = "prompt"
    RESPONSE = "response"


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
    pass


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for results.json and report.html.", file_okay=False)
    ] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")] = 0,
    start: Annotated[
        Start, typer.Option(help="The policy's commonest safe habit at the start: refusals, or redirects as often.")
    ] = Start.REFUSING,
    json_file: JsonFile = None,
) -> None:
    """Watch a tiny policy become safe: two GRPO runs on this machine, from nothing.

    Builds a tiny guard and a tiny policy, trains the policy with TRL's GRPOTrainer under the schemes guard_only and
    hybrid, and prints one table: before, guard_only, hybrid, judged by an exact oracle. Takes minutes on two cores, no
    GPU and no network.

    Examples:

    - `guard-reward demo`

    - `guard-reward demo --out runs/other --seed 1 --start balanced`
    """
    with _clean_errors():
        from guard_reward.tiny import run_demo

        results = run_demo(out, seed, start.value)
    _write_json(json_file, results)


@app.command()
def moderate(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Input file: .jsonl, .csv or .parquet.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Output file; its format may be another one.")],
    guard: GuardName = DEFAULT_GUARD,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    prompt_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column with the prompt.", show_default="prompt")
    ] = None,
    response_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column with the response.", show_default="response")
    ] = None,
    messages_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column with chat messages instead of the two; the last role decides what is judged.",
            show_default="messages, where there is no prompt",
        ),
    ] = None,
    judge: Annotated[
        Judge | None, typer.Option(help="What to judge.", show_default="response, where there is such a column")
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Put before the names of the added columns.")] = "guard_",
    chunk_rows: Annotated[int, typer.Option(min=1, help="Rows to judge between two entries of the journal.")] = 128,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an interrupted run has finished.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Judge every row of a file and write it with the verdicts in added columns.

    Adds guard_outcome, guard_severity, guard_categories, guard_refusal, guard_p_safe, guard_p_controversial,
    guard_p_unsafe, guard_refusal_probability, guard_verdict_text and guard_reason. All rows and columns of the input
    are kept, in order; a row that cannot be judged says why in guard_outcome and guard_reason.

    An interrupted run goes on where it was when the same command is given again.

    Examples:

    - `guard-reward moderate replies.jsonl judged.jsonl`

    - `guard-reward moderate replies.csv judged.parquet --prompt-column question --response-column answer`

    - `guard-reward moderate prompts.parquet judged.csv --judge prompt --guard Qwen/Qwen3Guard-Gen-4B --dtype bfloat16`

    - `guard-reward moderate chats.jsonl judged.jsonl --messages-column messages --json summary.json`
    """
    with _clean_errors():
        from guard_reward.moderation.moderate import moderate_file

        summary = moderate_file(
            source,
            target,
            guard=lambda: _load_guard(guard, device=device, dtype=dtype, revision=revision),
            prompt_column=prompt_column,
            response_column=response_column,
            messages_column=messages_column,
            judge=judge.value if judge else None,
            prefix=prefix,
            chunk_rows=chunk_rows,
            overwrite=overwrite,
            restart=restart,
            progress=not quiet,
        )
    _write_json(json_file, summary.to_dict())
    if not quiet:
        _print_summary(summary)
    if summary.failed_rows:
        failed = f"{summary.failed_rows} of {summary.rows} rows could not be judged"
        typer.echo(f"guard-reward: {failed}: see {prefix}reason", err=True)
        # Some bad rows are the input's affair and are reported in their place; no verdict at all is a failure.
        if not any(summary.severities.values()):
            raise typer.Exit(1)


@app.command()
def speed(
    guard: GuardName = DEFAULT_GUARD,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    compile: Annotated[bool, typer.Option("--compile", help="Score with torch.compile, see load_guard.")] = False,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts a round.")] = 2,
    group_size: Annotated[int, typer.Option(min=1, help="Completions of each prompt.")] = 8,
    completion_tokens: Annotated[int, typer.Option(min=1, help="About how long the completions are.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 2,
    json_file: JsonFile = None,
) -> None:
    """Measure how fast a guard judges on this machine, against what you could do instead, and what is possible.

    The model card's loop, batched `generate` and this library take turns on the same made-up rollouts. No ratio is
    given unless all of them say the same, token for token. The floor is the time that the arithmetic of the tokens
    takes at the device's own matmul rate: nobody can be faster.

    Examples:

    - `guard-reward speed --guard Qwen/Qwen3Guard-Gen-0.6B --dtype bfloat16`

    - `guard-reward speed --guard Qwen/Qwen3Guard-Gen-4B --prompts 32 --completion-tokens 512 --json speed.json`
    """
    with _clean_errors():
        from rich.console import Console

        from guard_reward.errors import UserError
        from guard_reward.speed import OutputMismatch
        from guard_reward.speed.check import check_speed

        loaded = _load_guard(guard, device=device, dtype=dtype, revision=revision, compile=compile)
        with Console(stderr=True).status("") as status:
            try:
                results = check_speed(
                    loaded,
                    prompts=prompts,
                    group_size=group_size,
                    completion_tokens=completion_tokens,
                    rounds=rounds,
                    on_step=status.update,
                )
            except OutputMismatch as error:
                raise UserError(str(error)) from error
    _write_json(json_file, results)
    _print_speed(results)


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to copy to; made if it is not there.", file_okay=False)
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Copy the recipes and configs of this version into a folder, to start a project of your own.

    Writes recipes/grpo.py and recipes/ppo.py, one YAML file per experiment under configs/, and launch settings under
    configs/accelerate/. All of them are yours to change. Without --force nothing is overwritten.

    Examples:

    - `guard-reward init .`

    - `guard-reward init my-project --force --json written.json`
    """
    with _clean_errors():
        from guard_reward.errors import UserError
        from guard_reward.launch.scaffold import copy_files

        try:
            written = copy_files(folder, force=force)
        except UserError as error:
            raise UserError(str(error)) from error
    _write_json(json_file, {"folder": str(folder), "written": [str(path) for path in written]})
    for path in written:
        typer.echo(f"wrote {folder / path}")
    go = f"cd {shlex.quote(str(folder))} && " if folder != Path(".") else ""
    typer.echo(
        f"\nnext: {go}python -m guard_reward.tiny runs/tiny && python recipes/grpo.py --config configs/grpo_tiny.yaml"
    )


def _print_speed(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    table = Table("way", *("rollouts/s", "ratio", "of the floor", "passes per verdict", "peak memory"))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in results["variants"]:
        passes = row["passes_per_verdict"]
        table.add_row(
            row["variant"],
            f"{row['rollouts_per_second']:,.2f}",
            f"{row['ratio_to_model_card']:.1f}x",
            f"{row['floor_fraction']:.0%}",
            "" if passes is None else f"{passes:.2f}",
            f"{row['peak_memory_bytes'] / 2**30:.2f} GiB",
        )
    console.print(table)
    facts = results["guard"]
    console.print(
        f"{facts['guard']}, {facts['dtype']} on {facts['device']}: matrix products run at "
        f"{results['matmul_tflops']:,.2f} TFLOP/s here, so no scorer can judge more than "
        f"{results['floor_rollouts_per_second']:,.1f} such rollouts a second."
    )


def _load_guard(
    model: str, *, device: str | None, dtype: str | None, revision: str | None, compile: bool = False
) -> TransformersGuard:
    """Load the guard; a wrong name, folder or option is the user's to mend, so it has no traceback."""
    from guard_reward import load_guard
    from guard_reward.errors import UserError

    try:
        return load_guard(model, device=device, dtype=dtype, revision=revision, compile=compile)
    except LOADING_ERRORS as error:
        raise UserError(f"the guard {model!r} could not be loaded: {first_paragraph(error)}") from error


def _print_summary(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(f"\n{summary.target}: {summary.rows:,} rows, judged {summary.judged}")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    counts: list[tuple[str, Mapping[str, int]]] = [("severity", summary.severities), ("outcome", summary.outcomes)]
    for kind, rows in counts:
        for name, count in rows.items():
            if count or kind == "severity":
                table.add_row(f"{kind} {name}", f"{count:,}", f"{count / summary.rows:.1%}" if summary.rows else "")
        table.add_section()
    console.print(table)
    rate = f" ({summary.rows_per_second:,} rows/s)" if summary.rows_per_second else ""
    resumed = f"; {summary.resumed_rows:,} were finished by an interrupted run" if summary.resumed_rows else ""
    console.print(f"{summary.judged_rows:,} rows judged in {summary.seconds:,.1f} s{rate}{resumed}")


def _write_json(path: Path | None, results: Any) -> None:
    if path is None:
        return
    with _clean_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _clean_errors() -> Iterator[None]:
    """Say what the user got wrong, or lacks, in one line; any other error is a bug and keeps its traceback."""
    from guard_reward.errors import UserError

    try:
        yield
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        typer.echo(f"guard-reward: error: {error.name} is missing: pip install 'guard-reward[{extra}]'", err=True)
        raise typer.Exit(1) from error
    except (UserError, OSError) as error:
        typer.echo(f"guard-reward: error: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("guard-reward: stopped", err=True)
        raise typer.Exit(130) from None


if __name__ == "__main__":
    app()
