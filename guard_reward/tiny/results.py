"""The demo's output: files for machines, an HTML report, a table in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.log_lines import exact_rates
from guard_reward.statistics import Estimate
from guard_reward.tiny.evaluate import METRICS, JudgedReply, style_shares

if TYPE_CHECKING:
    from guard_reward.report import Measurement

__all__ = [
    "RUNS",
    "as_json",
    "print_start",
    "print_table",
    "title_of",
    "write_lines",
    "write_record",
    "write_report_page",
    "write_results",
]

RUNS = {"guard_only": "Guard-only", "hybrid": "Hybrid"}
_HEADINGS = {
    "safety_rate": "safe (harmful)",
    "refusal_rate_harmful": "refused (harmful)",
    "refusal_rate_benign": "refused (benign)",
    "garbled_rate": "garbled (all)",
    "helpfulness": "helpful (all)",
    "helpfulness_harmful": "helpful (harmful)",
    "helpfulness_benign": "helpful (benign)",
}


def title_of(run: str) -> str:
    """What the table calls a run: ``before`` or a scheme's plain name."""
    return RUNS.get(run, run.replace("_", " ").capitalize())


def as_json(table: Mapping[str, Estimate]) -> dict[str, Any]:
    """The values by metric, and their intervals."""
    return {
        **{name: table[name].value for name in METRICS},
        "intervals": {name: [table[name].low, table[name].high] for name in METRICS},
    }


def write_results(
    out: Path,
    results: Mapping[str, Any],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    rollouts: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    for run, rows in rollouts.items():
        write_lines(out / run / "rollouts.jsonl", rows)
    for run, entries in histories.items():
        write_lines(out / run / "history.jsonl", entries)
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_record(folder: Path, reward: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, str]:
    """Write ``run_config.json``, from which ``guard-reward report`` reads how a run was made; the same, flat."""
    record = {"reward": reward, "configs": {"DemoSettings": settings}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run_config.json").write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    return {**reward, **settings}


def write_report_page(
    out: Path,
    start: str,
    seed: int,
    tables: Mapping[str, Mapping[str, Estimate]],
    histories: Mapping[str, list[dict[str, Any]]],
    rollouts: Mapping[str, Sequence[Mapping[str, Any]]],
    settings: Mapping[str, Mapping[str, str]],
) -> None:
    """Write ``report.html``: each scheme as a run, from the common start to its own end."""
    from guard_reward.report import Run, write_runs_page
    from guard_reward.report.settings import settings_diff
    from guard_reward.report.summary import summary

    runs = [
        Run(
            name=run,
            folder=str(out / run),
            log=[{**line, **exact_rates(line)} for line in history],
            rollouts=_shown_rows(rollouts, run),
            rollout_total=len(rollouts["before"]) + len(rollouts[run]),
            settings=settings[run],
            measurements=[_measurement(tables, stage, len(rollouts[run])) for stage in ("before", run)],
            max_steps=history[-1]["step"] if history else None,
        )
        for run, history in histories.items()
    ]
    title = f"guard-reward demo: {start} start, seed {seed}"
    write_runs_page(out / "report.html", runs, title=title, summary=summary(runs), differences=settings_diff(runs))


def _measurement(tables: Mapping[str, Mapping[str, Estimate]], run: str, requests: int) -> Measurement:
    from guard_reward.report import Measurement
    from guard_reward.report.cells import Estimate as Shown

    return Measurement(
        stage="before" if run == "before" else "after",
        judged_by=f"the oracle, {requests:,} held-out requests",
        independent=True,
        values={name: Shown(found.value, found.low, found.high) for name, found in tables[run].items()},
    )


def _shown_rows(rollouts: Mapping[str, Sequence[Mapping[str, Any]]], run: str) -> list[dict[str, Any]]:
    """Rows of the page's table: some replies of the common start, and some of the trained policy."""
    return [
        {"stage": stage, **{key: value for key, value in row.items() if key != "run"}}
        for stage, rows in (("before", rollouts["before"][:100]), ("after", rollouts[run][:200]))
        for row in rows
    ]


def print_start(agreement: Estimate, before: Sequence[JudgedReply], start: str) -> None:
    from rich.console import Console

    shares = ", ".join(f"{style} {share:.0%}" for style, share in style_shares(before).items())
    Console().print(
        f"\nGuard: agrees with the oracle on {agreement.value:.1%} of {agreement.count} held-out conversations.\n"
        f"Policy before training ({start} start), on harmful requests: {shares}.\n",
        highlight=False,
    )


def print_table(tables: Mapping[str, Mapping[str, Estimate]], seconds: Mapping[str, float], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title="Judged by the oracle on held-out requests",
        caption="95% confidence intervals; a garbled reply is neither safe nor helpful. "
        f"{seconds['total']:.0f} s, {seconds['building']:.0f} s of them building the models.",
    )
    table.add_column("")
    for run in tables:
        table.add_column(title_of(run), justify="right")
    for name, heading in _HEADINGS.items():
        show = _decimal if name.startswith("helpfulness") else _percent
        table.add_row(heading, *(show(row[name]) for row in tables.values()))
    console = Console()
    console.print(table)
    console.print(f"Written to {out}: results.json, report.html, histories and rollouts.", highlight=False)


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _decimal(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"
