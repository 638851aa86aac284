"""``guard-reward moderate``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guard_reward.cli.options import Device, Dtype, GuardName, JsonFile, Revision
from guard_reward.cli.output import load_guard, one_line_errors, write_json
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from guard_reward.moderation.moderate import Summary

__all__ = ["moderate"]


class JudgedText(StrEnum):
    """What is judged in a row."""

    PROMPT = "prompt"
    RESPONSE = "response"


Source = Annotated[Path, typer.Argument(metavar="IN", help="Input file: .jsonl, .csv or .parquet.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="Output file, in the input's format or .jsonl.")]
PromptColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column with the prompt.", show_default="prompt")
]
ResponseColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column with the response.", show_default="response")
]
MessagesColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column with chat messages instead of prompt and response; the last message is judged.",
        show_default="messages, if there is no prompt",
    ),
]
JudgeOption = Annotated[
    JudgedText | None, typer.Option(help="What to judge.", show_default="response, if there is such a column")
]


def moderate(
    source: Source,
    target: Target,
    guard: GuardName = DEFAULT_GUARD,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    prompt_column: PromptColumn = None,
    response_column: ResponseColumn = None,
    messages_column: MessagesColumn = None,
    judge: JudgeOption = None,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Prefix of the added columns' names.")] = "guard_",
    chunk_rows: Annotated[int, typer.Option(min=1, help="Rows per journal entry.")] = 128,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Discard the work of an interrupted run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Judge every row of a file and write it with the verdicts in added columns.

    Adds guard_outcome, guard_severity, guard_categories, guard_refusal, guard_p_safe, guard_p_controversial,
    guard_p_unsafe, guard_refusal_probability, guard_verdict_text and guard_reason. All rows and columns of the input
    are kept, in order. If a row cannot be judged, guard_outcome and guard_reason say why.

    To resume an interrupted run, give the same command again.

    Examples:

    - `guard-reward moderate replies.jsonl judged.jsonl`

    - `guard-reward moderate replies.csv judged.csv --prompt-column question --response-column answer`

    - `guard-reward moderate prompts.parquet judged.parquet --judge prompt --guard Qwen/Qwen3Guard-Gen-4B`

    - `guard-reward moderate chats.jsonl judged.jsonl --messages-column messages --json summary.json`
    """
    with one_line_errors():
        from guard_reward.moderation.moderate import moderate_file

        summary = moderate_file(
            source,
            target,
            guard=lambda: load_guard(guard, device=device, dtype=dtype, revision=revision),
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
    write_json(json_file, summary.to_dict())
    if not quiet:
        _print_summary(summary)
    _report_failures(summary, prefix)


def _report_failures(summary: Summary, prefix: str) -> None:
    if not summary.failed_rows:
        return
    failed = f"{summary.failed_rows} of {summary.rows} rows could not be judged"
    typer.echo(f"guard-reward: {failed}: see {prefix}reason", err=True)
    # Some bad rows are a property of the input, and the output names them; not one verdict is a failure.
    if not any(summary.severities.values()):
        raise typer.Exit(1)


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
