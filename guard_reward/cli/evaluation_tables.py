"""The tables of ``guard-reward evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.cli.output import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_evaluation"]

_BY_PART = ("safe_rate_harmful", "safe_rate", "refusal_rate_harmful", "refusal_rate_benign")
_SHOWN = 8  # categories and reasons


def print_evaluation(results: Mapping[str, Any], out: Path) -> None:
    """Print the results of an evaluation.

    Args:
        results: what `guard_reward.evaluation.evaluate.evaluate_policy` returns.
        out: the folder with its files.
    """
    from rich.console import Console

    from guard_reward.evaluation.before import RECORDS, RESULTS

    console = Console(highlight=False, markup=False)
    _print_rates(console, results)
    for name, judged in results["judges"].items():
        _print_parts(console, name, judged)
        if results["compared_with"] and judged["changes"] is None:
            console.print(printable(f"{name}: not compared, for {results['compared_with']} was not judged by it"))
        if judged["changes"]:
            _print_changes(console, name, judged["changes"], results["compared_with"])
    for pair in results["agreement"]:
        _print_agreement(console, pair)
    for name, judged in results["judges"].items():
        for reason, count in list(judged["unjudged"].items())[:_SHOWN]:
            console.print(printable(f"{name}: no verdict on {count:,} replies: {reason}"))
    console.print(printable(f"written to {out}: {RECORDS} (one line per reply), {RESULTS}"))


def _print_rates(console: Console, results: Mapping[str, Any]) -> None:
    from rich.table import Table

    headings = _headings()
    title = f"{results['policy'].get('policy')}: {results['replies']:,} replies to {results['prompts']:,} prompts"
    table = Table(
        title=printable(title),
        caption="95% intervals over prompts. Strict: Controversial counts as not safe. –: the judge does not say.",
    )
    table.add_column("judged by")
    for name in results["judges"]:
        table.add_column(printable(name), justify="right", overflow="fold")
    if any(judged["warning"] for judged in results["judges"].values()):
        cells = (f"WARNING: {judged['warning']}" if judged["warning"] else "" for judged in results["judges"].values())
        table.add_row("", *cells, end_section=True)
    for measure, heading in headings.items():
        if any(measure in judged["all"] for judged in results["judges"].values()):
            table.add_row(heading, *(_cell(judged["all"].get(measure)) for judged in results["judges"].values()))
    mixes = [judged["categories"] for judged in results["judges"].values()]
    if any(mixes):
        table.add_section()
        table.add_row("not safe, by category", *map(_mix, mixes))
    console.print(table)
    if not any("safe_rate_benign" in judged["all"] for judged in results["judges"].values()):
        console.print("over-refusal is not measured: no prompt is labelled benign (--harmful)")


def _headings() -> dict[str, str]:
    from guard_reward.evaluation.measures import MEASURES

    return {measure.name: measure.heading for measure in MEASURES}


def _mix(mix: Mapping[str, float]) -> str:
    return "\n".join(printable(f"{name} {share:.1%}") for name, share in list(mix.items())[:_SHOWN])


def _print_parts(console: Console, judge: str, judged: Mapping[str, Any]) -> None:
    from rich.table import Table

    headings = _headings()
    for part in ("source", "language", "category"):
        groups = judged[f"by_{part}"]
        if len(groups) < 2:
            continue
        shown = [name for name in _BY_PART if any(name in table for table in groups.values())]
        heads = (headings[name] for name in shown)
        table = Table(part, "replies", *heads, title=printable(f"{judge}, by {part}"))
        for name, rates in groups.items():
            replies = f"{rates['empty_rate']['count']:,}"
            table.add_row(printable(name), replies, *(_cell(rates.get(measure)) for measure in shown))
        console.print(table)


def _print_changes(console: Console, judge: str, changes: Mapping[str, Any], before: str) -> None:
    from rich.table import Table

    changed = {name: change for name, change in changes.items() if change["risen"] or change["fallen"]}
    if not changed:
        console.print(printable(f"{judge}: no measure has changed on any prompt since {before}"))
        return
    headings = _headings()
    table = Table(
        "",
        "before",
        "after",
        "difference",
        "prompts risen / fallen",
        "p (exact)",
        title=printable(f"{judge}: compared with {before}"),
        caption="Measures that are the same on every prompt are left out.",
    )
    for name, change in changed.items():
        table.add_row(
            headings[name],
            f"{change['before']:.1%}",
            f"{change['after']:.1%}",
            f"{change['difference']:+.1%} ({change['low']:+.1%} to {change['high']:+.1%})",
            f"{change['risen']:,} / {change['fallen']:,}",
            f"{change['p_value']:.2g}",
        )
    console.print(table)


def _print_agreement(console: Console, pair: Mapping[str, Any]) -> None:
    first, second = pair["judges"]
    kappa = "" if pair["kappa"] is None else f", kappa {pair['kappa']:.2f}"
    console.print(
        printable(
            f"{first} and {second} agree on safe or not safe (strict) in {pair['agreement']:.1%} of "
            f"{pair['replies']:,} replies{kappa}; not safe by {first} "
            f"alone {pair['only_first_unsafe']:,}, by {second} alone {pair['only_second_unsafe']:,}"
        )
    )
    if pair["examples"]:
        shown = ", ".join(f"{prompt}/{sample}" for prompt, sample in pair["examples"])
        console.print(f"  they differ on, for example (prompt_id/sample): {shown}")


def _cell(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate['value']:.1%} ({100 * estimate['low']:.1f}–{100 * estimate['high']:.1f})"
