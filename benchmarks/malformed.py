"""How fast rows are scored whose answers never fit the grammar: guards of random weights, 128 new tokens a row.

    python benchmarks/malformed.py                            # this checkout
    python benchmarks/malformed.py --before v0.3.0 --rounds 5  # and another commit, taking turns

Every round is a new batch of random rows. With ``--before`` both commits score the same rows in processes of their own,
one after the other; the ratio is that of their medians. Needs git for ``--before``, no network.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # so that it runs from anywhere

from earlier_commit import earlier_package  # noqa: E402
from malformed_worker import Round, Setting, Worker  # noqa: E402

SETTINGS = {
    "tiny-64": Setting("tiny", 3, rows=64, tokens=120),
    "tiny-256": Setting("tiny", 3, rows=256, tokens=120),
    "0.6B-16": Setting("0.6B", 2, rows=16, tokens=500),
}


def measure(setting: Setting, checkouts: dict[str, Path], rounds: int) -> dict[str, list[Round]]:
    """Each checkout's rounds; they take turns, and take turns at being first."""
    with ExitStack() as stack:
        workers = {name: Worker(folder, setting) for name, folder in checkouts.items()}
        for worker in workers.values():
            stack.callback(worker.close)
        found: dict[str, list[Round]] = {name: [] for name in workers}
        for number in range(rounds):
            order = list(workers) if number % 2 else list(reversed(workers))
            for name in order:
                found[name].append(workers[name](number))
        return found


def row_of(name: str, setting: Setting, found: dict[str, list[Round]]) -> dict[str, Any]:
    """One setting's numbers.

    Returns:
        ``rollouts_per_second`` and ``passes_per_verdict`` of each checkout; with two ``ratio``, and ``differing``:
        how many answers are not the same (random weights have ties that float32 cannot tell apart).
    """
    row: dict[str, Any] = {"setting": name, "guard": setting.guard, "rows": setting.rows, "tokens": setting.tokens}
    row["rollouts_per_second"] = {
        checkout: setting.rows / statistics.median(one.seconds for one in rounds) for checkout, rounds in found.items()
    }
    row["passes_per_verdict"] = {
        checkout: sum(one.passes for one in rounds) / setting.rows / len(rounds) for checkout, rounds in found.items()
    }
    if "before" in found:
        row["ratio"] = row["rollouts_per_second"]["now"] / row["rollouts_per_second"]["before"]
        row["differing"] = sum(
            mine != other
            for now, before in zip(found["now"], found["before"], strict=True)
            for mine, other in zip(now.answers, before.answers, strict=True)
        )
    return row


def markdown(table: list[dict[str, Any]]) -> str:
    """The numbers as a Markdown table."""
    lines = [
        "| setting | rows | tokens | before | now | ratio | answers that differ |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table:
        rates = row["rollouts_per_second"]
        before = f"{rates['before']:.2f} /s" if "before" in rates else ""
        ratio = f"{row['ratio']:.1f}×" if "ratio" in row else ""
        lines.append(
            f"| {row['setting']} | {row['rows']} | {row['tokens']} | {before} | {rates['now']:.2f} /s | {ratio} "
            f"| {row.get('differing', '')} |"
        )
    return "\n".join(lines)


def main(
    before: Annotated[str | None, typer.Option(help="Commit of this repository to compare with.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(SETTINGS)}; default: all.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Rows instead of the setting's.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of a row instead of the setting's.")] = None,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 128,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; default: its own choice.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")] = None,
) -> None:
    """Measure and print the table."""
    unknown = sorted(set(setting or ()) - set(SETTINGS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(SETTINGS)}", param_hint="--setting")
    table = []
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {"now": HERE.parent}
        if before is not None:
            checkouts = {"before": earlier_package(before, Path(folder)), **checkouts}
        for name in setting or SETTINGS:
            usual = SETTINGS[name]
            this = Setting(usual.guard, usual.layers, rows or usual.rows, tokens or usual.tokens, new_tokens, threads)
            table.append(row_of(name, this, measure(this, checkouts, rounds)))
            typer.echo(f"{name} done", err=True)
            if json_file is not None:  # after every setting, so that an interrupted run keeps what it has
                json_file.parent.mkdir(parents=True, exist_ok=True)
                json_file.write_text(json.dumps(table, indent=1) + "\n")
    typer.echo(markdown(table))


if __name__ == "__main__":
    typer.run(main)
