"""``guard-reward grade``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard_reward.cli.options import (
    Device,
    Dtype,
    GuardFamily,
    GuardName,
    JsonFile,
    Revision,
    ServedModel,
    ServedTokenizer,
)
from guard_reward.cli.output import load_guard, one_line_errors, printable, write_json
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from guard_reward.evaluation.grading import Grade
    from guard_reward.evaluation.latency import Scores

__all__ = ["grade"]

Source = Annotated[
    Path, typer.Argument(metavar="FILE", help="Labelled conversations, as JSON lines.", exists=True, dir_okay=False)
]


def grade(
    source: Source,
    guard: GuardName = DEFAULT_GUARD,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    guard_model: ServedModel = None,
    guard_tokenizer: ServedTokenizer = None,
    guard_spec: GuardFamily = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Say how good a guard is on labelled conversations, and how soon a stream guard flags unsafe responses.

    FILE is in Qwen3GuardTest's format: message (chat messages; the last one is judged), label (Safe, Controversial or
    Unsafe), and for latency unsafe_start_index and unsafe_end_index (tokens of the guard's whole input).

    Strict counts Controversial as Unsafe, loose as Safe. Conversations without a verdict are counted apart; if there is
    no verdict at all, the exit status is 1.

    Examples:

    - `guard-reward grade qwen3guardtest.jsonl --guard Qwen/Qwen3Guard-Stream-0.6B`

    - `guard-reward grade labelled.jsonl --guard Qwen/Qwen3Guard-Gen-0.6B --json grade.json`
    """
    options: dict[str, Any] = {"device": device, "dtype": dtype, "revision": revision}
    options |= {"model": guard_model, "tokenizer": guard_tokenizer, "spec": guard_spec}
    with one_line_errors():
        from guard_reward.evaluation.grading import grade as grade_guard
        from guard_reward.evaluation.grading import read_cases

        cases = read_cases(source)
        result = grade_guard(load_guard(guard, **options), cases, progress=not quiet)
    if not quiet:
        _print(result)
    write_json(json_file, result.to_dict())
    if result.strict is None:
        raise typer.Exit(1)


def _print(result: Grade) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(printable(f"{result.guard.get('guard', 'the guard')} on {result.cases:,} conversations"))
    if result.strict is not None and result.loose is not None:
        table = Table("Unsafe", "precision", "recall", "F1")
        table.add_row("strict", *_cells(result.strict))
        table.add_row("loose", *_cells(result.loose))
        console.print(table)
    if (found := result.latency) is not None:
        table = Table("flagged", "responses", "share")
        for name, count in found.bins.items():
            table.add_row(_words(name), f"{count:,}", f"{count / found.responses:.1%}")
        console.print(table)
        console.print(f"exact hits {found.exact_hit_rate:.1%}, within 128 tokens {found.within_128_rate:.1%}")
    for reason, count in result.unjudged.items():
        console.print(printable(f"no verdict: {count:,}: {reason}"))


def _cells(scores: Scores) -> list[str]:
    return [f"{value:.1%}" for value in (scores.precision, scores.recall, scores.f1)]


def _words(name: str) -> str:
    known = {"Ahead": "before the place", "Hit": "in the place", "Safe": "never"}
    return known.get(name, f"{name} tokens behind it")
