"""``guard-reward moderate``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard_reward.cli.options import (
    Deadline,
    Device,
    Dtype,
    GuardFamily,
    GuardName,
    JsonFile,
    Quiet,
    Revision,
    ServedModel,
    ServedTokenizer,
)
from guard_reward.cli.output import load_guard, one_line_errors, printable, write_json
from guard_reward.errors import UserError, one_line
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from guard_reward.moderation.moderate import Summary

__all__ = ["moderate"]

_REASONS_SHOWN = 3


class JudgedText(StrEnum):
    """What is judged in a row."""

    PROMPT = "prompt"
    RESPONSE = "response"


Source = Annotated[Path, typer.Argument(metavar="IN", help="Input file: .jsonl, .csv or .parquet.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="Output file, in the input's format or .jsonl.")]
PromptColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column with the prompt, as text or chat messages; '' if the responses hold their prompts.",
        show_default="prompt",
    ),
]
ResponseColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[,NAME...]",
        help="Column with the response, as text or chat messages. Of several columns each is judged.",
        show_default="response; completion; chosen,rejected",
    ),
]
MessagesColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column with chat messages instead of prompt and response; the last message is judged.",
        show_default="messages or conversations, if there is no prompt",
    ),
]
JudgeOption = Annotated[
    JudgedText | None, typer.Option(help="What to judge.", show_default="response, if there is such a column")
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Write rows without a verdict when the guard fails on most of a chunk.")
]


def moderate(
    source: Source,
    target: Target,
    guard: GuardName = DEFAULT_GUARD,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    guard_model: ServedModel = None,
    guard_tokenizer: ServedTokenizer = None,
    guard_spec: GuardFamily = None,
    deadline: Deadline = None,
    prompt_column: PromptColumn = None,
    response_column: ResponseColumn = None,
    messages_column: MessagesColumn = None,
    judge: JudgeOption = None,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Prefix of the added columns' names.")] = "guard_",
    chunk_rows: Annotated[int, typer.Option(min=1, help="Rows per journal entry.")] = 128,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Discard the work of an interrupted run.")] = False,
    keep_going: KeepGoing = False,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """Judge every row of a file; write all its rows and columns, in order, and the verdicts in added columns.

    Adds guard_outcome, guard_severity, guard_categories, guard_refusal, guard_p_safe, guard_p_controversial,
    guard_p_unsafe, guard_refusal_probability, guard_verdict_text and guard_reason, and guard_flagged_char with a stream
    guard (where a response becomes unsafe); if several response columns are judged, guard_chosen_outcome,
    guard_rejected_outcome and so on.

    TRL's and ShareGPT's columns are found by their names: prompt with response or completion, chosen and rejected with
    or without prompt, messages, conversations. Prompts and responses are text or chat messages.

    The same command resumes an interrupted run. A guard that fails on most texts of a chunk stops the run, for the same
    command to go on later. If a judged column has no verdict at all, the exit status is 1.

    Examples:

    - `guard-reward moderate replies.jsonl judged.jsonl`
    - `guard-reward moderate replies.csv judged.csv --prompt-column question --response-column answer`
    - `guard-reward moderate prompts.parquet judged.parquet --judge prompt --guard Qwen/Qwen3Guard-Gen-4B`
    - `guard-reward moderate chats.jsonl judged.jsonl --messages-column turns --json summary.json`
    - `guard-reward moderate pairs.parquet judged.parquet --response-column chosen,rejected`
    - `guard-reward moderate replies.jsonl judged.jsonl --guard http://127.0.0.1:8000/v1 --guard-spec wildguard`
    """
    options: dict[str, Any] = {"device": device, "dtype": dtype, "revision": revision}
    options |= {"model": guard_model, "tokenizer": guard_tokenizer, "spec": guard_spec, "deadline": deadline}
    job: dict[str, Any] = {"prefix": prefix, "chunk_rows": chunk_rows, "overwrite": overwrite, "restart": restart}
    job |= {"keep_going": keep_going, "prompt_column": prompt_column, "response_column": response_column}
    with one_line_errors():
        from guard_reward.moderation.moderate import moderate_file

        _check_json_file(json_file, source, target)
        job |= {"guard": partial(load_guard, guard, **options), "judge": judge.value if judge else None}
        summary = moderate_file(source, target, progress=not quiet, messages_column=messages_column, **job)
    if not quiet:
        _print_summary(summary)
    write_json(json_file, summary.to_dict())
    _report_unjudged(summary, prefix)


def _check_json_file(json_file: Path | None, source: Path, target: Path) -> None:
    for name, path in (("IN", source), ("OUT", target)):
        if json_file is not None and json_file.resolve() == path.resolve():
            raise UserError(f"--json '{json_file}' is {name}: write the summary to another file")


def _report_unjudged(summary: Summary, prefix: str) -> None:
    """Say how many texts have no verdict, and the commonest reasons; exit with 1 if none has one."""
    if not summary.unjudged:
        return
    reasons = ", ".join(f"{prefix}{name}_reason" for name in summary.columns) or f"{prefix}reason"
    kind = "responses" if summary.columns else "rows"
    counts = f"{summary.unjudged:,} of {summary.texts:,} {kind} could not be judged: see {reasons}"
    typer.echo(printable(f"guard-reward: {counts}"), err=True)
    shown = dict(list(summary.reasons.items())[:_REASONS_SHOWN])
    for reason, count in shown.items():
        typer.echo(printable(f"  {count:,}: {one_line(reason)}"), err=True)
    if rest := summary.unjudged - sum(shown.values()):
        typer.echo(f"  {rest:,}: other reasons", err=True)
    # Some bad rows are a property of the input, and the output names them; not one verdict is a failure.
    if summary.judged_nothing:
        raise typer.Exit(1)


def _print_summary(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print()
    console.print(printable(f"{summary.target}: {summary.rows:,} rows, judged {summary.judged}"))
    columns = summary.columns or {"": {"outcomes": summary.outcomes, "severities": summary.severities}}
    table = Table("", show_header=len(columns) > 1)
    for name in columns:
        table.add_column(printable(name), justify="right")
        table.add_column(justify="right")
    kinds: list[tuple[str, str, Mapping[str, int]]] = [
        ("severity", "severities", summary.severities),
        ("outcome", "outcomes", summary.outcomes),
    ]
    for kind, key, totals in kinds:
        for name, total in totals.items():
            if total or kind == "severity":
                counts = [column[key][name] for column in columns.values()]
                table.add_row(f"{kind} {name}", *(cell for count in counts for cell in _cells(count, summary.rows)))
        table.add_section()
    console.print(table)
    rate = f" ({summary.rows_per_second:,} rows/s)" if summary.rows_per_second else ""
    resumed = f"; {summary.resumed_rows:,} were finished by an interrupted run" if summary.resumed_rows else ""
    console.print(f"{summary.judged_rows:,} rows judged in {summary.seconds:,.1f} s{rate}{resumed}")


def _cells(count: int, rows: int) -> tuple[str, str]:
    return f"{count:,}", f"{count / rows:.1%}" if rows else ""
