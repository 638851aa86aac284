"""What attacks came to, as tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard_reward.cli.output import printable

if TYPE_CHECKING:
    from guard_reward.redteam.results import AttackResult, Results

__all__ = ["print_attacks"]

_SHOWN = 5


def print_attacks(results: Results, off: Results | None, max_rate: float) -> None:
    """Print the table of families, and examples of what pays.

    Args:
        results: what came of the attacks.
        off: the same without defences.
        max_rate: the share of replies on which an attack may pay.
    """
    from rich.console import Console
    from rich.table import Table

    from guard_reward.redteam.table import family_cells

    console = Console(highlight=False, markup=False)
    console.print(printable(f"{results.reward['guard']}, {results.reward['scheme']}"))
    targets = ", ".join(f"{count:,} {kind}" for kind, count in results.targets.items())
    console.print(f"replies attacked: {targets}")
    for reason, count in results.left_out.items():
        console.print(printable(f"left out: {count:,} {reason}"))
    header, rows = family_cells(results, off)
    table = Table(*header)
    for number, row in enumerate(rows):
        if number == len(rows) - 1:
            table.add_section()
        table.add_row(*map(printable, row))
    console.print(table)
    paying = results.paying(max_rate)
    for attack in paying[:_SHOWN]:
        for line in _example(attack):
            console.print(printable(line))
    more = f"; the {_SHOWN} worst are above" if len(paying) > _SHOWN else ""
    allowed = f" on more than {max_rate:.1%} of the replies" if max_rate else ""
    if escaped := sum(attack.escaped for attack in results.attacks):
        paid = sum(sum(attack.paid.values()) for attack in results.attacks)
        console.print(
            f"{escaped:,} of the {paid:,} rows that pay get no reward at all, and so no punishment; on_outcome decides "
            """that, such as --on-outcome '{"no_verdict": "floor"}'"""
        )
    console.print(f"{len(paying):,} of {len(results.attacks):,} attacks pay{allowed}{more}")


def _example(attack: AttackResult) -> list[str]:
    share = "" if attack.exploits is None else f" pays on {attack.exploits.value:.0%}"
    lines = [f"{attack.family}: {attack.name}{share}"]
    for example in attack.examples[:1]:
        before, after = (_number(value) for value in (example.reward_before, example.reward_after))
        lines.append(f"  {example.kind}: {example.verdict_before}, {before} → {example.verdict_after}, {after}")
        lines.append(f"  {example.prompt!r} → {example.reply[:200]!r}")
    return lines


def _number(value: float | None) -> str:
    return "no reward" if value is None else f"{value:.2f}"
