"""``guard-reward redteam --search``: what a search for compositions of attacks has found, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from guard_reward.cli.output import printable, write_json

if TYPE_CHECKING:
    from guard_reward.redteam.attack import Attack
    from guard_reward.redteam.judging import Judging
    from guard_reward.redteam.searching.findings import Finding, SearchResults
    from guard_reward.redteam.selection import Selection

__all__ = ["REPLIES_PER_KIND", "SEARCH_BUDGET", "SEARCH_JOURNAL", "SEARCH_RESULTS", "run_search"]

REPLIES_PER_KIND = 3
"""That a search attacks, unless it is told otherwise."""
SEARCH_BUDGET = 20_000
"""Replies that it may judge, unless it is told otherwise."""
SEARCH_RESULTS, SEARCH_JOURNAL = "search.json", "search.journal"
_SHOWN, _EXAMPLES = 10, 3


def run_search(
    attacks: Sequence[Attack],
    selection: Selection,
    judging: Judging,
    *,
    strategy: str,
    budget: int,
    seed: int,
    out: Path | None,
    restart: bool,
    quiet: bool,
) -> SearchResults:
    """Search, print and write. A search that ended early keeps its journal, and goes on with the same call.

    Args:
        attacks: what is composed.
        selection: what is attacked.
        judging: the reward.
        strategy, budget, seed: of the search.
        out: folder for the results and, until it has ended, the journal; None for none.
        restart: discard what was judged.
        quiet: no bar and no table.

    Raises:
        UserError: the budget is too small, or the journal is that of another reward.
    """
    from guard_reward.redteam.searching.search import search

    journal = None if out is None else out / SEARCH_JOURNAL
    how: dict[str, Any] = {"strategy": strategy, "budget": budget, "seed": seed, "progress": not quiet}
    found = search(attacks, selection, judging, journal_path=journal, restart=restart, **how)
    write_json(None if out is None else out / SEARCH_RESULTS, found.to_dict())
    if journal is not None and not (found.interrupted or found.guard_gone):
        journal.unlink(missing_ok=True)
    if not quiet:
        _print(found)
    return found


def _print(found: SearchResults) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(printable(f"{found.reward['guard']}, {found.reward['scheme']}"))
    replies = sum(found.targets.values())
    console.print(
        f"attacks alone: {found.alone_paying:,} of {found.alone:,} pay, on {found.covered} of {replies} replies"
    )
    if found.findings:
        table = Table("composition", "pays on", "new", "parts that pay alone", "gain")
        for finding in found.findings[:_SHOWN]:
            table.add_row(*map(printable, _cells(finding)))
        console.print(table)
    for finding in found.findings[:_EXAMPLES]:
        example = finding.examples[0]
        console.print(printable(f"{example.kind}: {example.verdict_before} → {example.verdict_after}"))
        console.print(printable(f"  {example.prompt!r} → {example.reply[:200]!r}"), soft_wrap=True)
    console.print(
        f"compositions: {found.compositions_paying:,} of {found.compositions:,} pay, {len(found.findings):,} of these "
        f"where no part of theirs does, {len(found.new):,} where no attack alone does; {found.spent:,} replies judged"
    )
    if found.covered == replies:
        console.print("on every reply some attack alone pays, so no composition can be new: repair these first")
    if found.interrupted:
        typer.echo("guard-reward: the search was interrupted; this is what it had found", err=True)


def _cells(finding: Finding) -> list[str]:
    gain = "no reward" if finding.gain is None else f"{finding.gain:+.2f}"
    pays = f"{finding.paid} of {finding.rows}"
    return [" + ".join(finding.parts), pays, str(finding.new), ", ".join(finding.parts_that_pay) or "none", gain]
