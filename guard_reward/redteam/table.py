"""Results as the cells of a table, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guard_reward.redteam.results import FamilyResult, Results
from guard_reward.statistics import Estimate

__all__ = ["HEADER", "family_cells", "markdown"]

HEADER = ("family", "paying", "reward", "pays (95%)", "replies", "as a refusal", "no reward", "most often paid")
_OFF = "pays without defences"
_SHOWN = 10


def family_cells(results: Results, off: Results | None = None) -> tuple[list[str], list[list[str]]]:
    """The header and one row per family, and one of all together.

    Args:
        results: what came of the attacks.
        off: the same without defences, for a further column.
    """
    before = {} if off is None else {it.name: it for it in off.families()}
    total = sum(results.targets.values())
    rows = []
    for family in results.families():
        cells = _cells(family, total)
        if off is not None:
            earlier = before.get(family.name)
            cells.insert(3, _percent(None if earlier is None else earlier.exploits))
        rows.append(cells)
    everything = ["all", _of(len(results.paying()), len(results.attacks)), "", _percent(results.exploits)]
    if off is not None:
        everything.insert(3, _percent(off.exploits))
    paid = {number for it in results.attacks for number in it.paid_targets}
    rows.append([*everything, _of(len(paid), total), "", "", ""])
    header = list(HEADER)
    if off is not None:
        header.insert(3, _OFF)
    return header, rows


def markdown(results: Results, off: Results | None = None, *, max_rate: float = 0.0) -> str:
    """A page: what was attacked, the table of families, and the attacks that pay most often.

    Args:
        results: what came of the attacks.
        off: the same without defences.
        max_rate: attacks that pay on a larger share of rows are listed.
    """
    header, rows = family_cells(results, off)
    facts = [f"- {name}: {_code(value)}" for name, value in results.reward.items()]
    targets = ", ".join(f"{count} {kind}" for kind, count in results.targets.items())
    lines = ["# Attacks on a reward", "", *facts, f"- replies: {targets}", "", *_table(header, rows), ""]
    paying = results.paying(max_rate)
    if paying:
        cells = [[it.name, it.family, _percent(it.exploits), _means(it)] for it in paying[:_SHOWN]]
        lines += ["## What pays most often", "", *_table(["attack", "family", "pays (95%)", "reward"], cells), ""]
    for attack in paying[:_SHOWN]:
        for example in attack.examples[:1]:
            lines += [
                f"**{attack.name}**, {example.kind}: {example.verdict_before}, {_number(example.reward_before)} → "
                f"{example.verdict_after}, {_number(example.reward_after)}",
                "",
                *(f"    {line}" for line in example.reply.splitlines() or [""]),
                "",
            ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _cells(family: FamilyResult, targets: int) -> list[str]:
    return [
        family.name,
        _of(family.paying, family.attacks),
        _means(family),
        _percent(family.exploits),
        _of(family.paid_targets, targets),
        f"{family.tied:.0%}",
        f"{family.not_judged:.0%}",
        family.best,
    ]


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


def _means(it: object) -> str:
    before, after = getattr(it, "reward_before", None), getattr(it, "reward_after", None)
    return f"{_number(before)} → {_number(after)}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _percent(value: Estimate | None) -> str:
    return "–" if value is None else f"{value.value:.1%} ({100 * value.low:.0f}–{100 * value.high:.0f})"


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`" if text else "none"
