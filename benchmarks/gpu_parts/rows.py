"""The table: one row per measurement, written as Markdown and as JSON after every setting."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["COLUMNS", "Report", "Row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement, or why there is none.

    Attributes:
        part: of the benchmark, such as ``"speed"``.
        shape: of the guard.
        setting: what was asked of it.
        variant: who did it.
        rollouts_per_second: conversations judged per second.
        ratio_to_model_card: how many times faster than the loop of the guard's model card.
        roofline_fraction: least possible time, at the measured rate of a matrix product, divided by the time it took.
        mfu: necessary operations divided by what the card's peak could have done in that time.
        idle_share: of the GPU.
        peak_memory_bytes: allocated on a GPU, resident on a CPU.
        passes_per_verdict: mean forward passes.
        result: in words.
        status: ``"measured"``, ``"failed"``, ``"not run"`` or ``"n/a"``; the last three have their reason in `result`.
        numbers: what the table has no column for.
    """

    part: str
    shape: str
    setting: str
    variant: str = "–"
    rollouts_per_second: float | None = None
    ratio_to_model_card: float | None = None
    roofline_fraction: float | None = None
    mfu: float | None = None
    idle_share: float | None = None
    peak_memory_bytes: int | None = None
    passes_per_verdict: float | None = None
    result: str = ""
    status: str = "measured"
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """A second row with the same key replaces the first."""
        return self.part, self.shape, self.setting, self.variant


def _plain(pattern: str) -> Callable[[Any], str]:
    return lambda value: "–" if value is None else pattern.format(value)


def _gibibytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 2**30:.2f}"


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "part": ("part", str),
    "shape": ("guard", str),
    "setting": ("setting", str),
    "variant": ("variant", str),
    "rollouts_per_second": ("rollouts/s", _plain("{:.2f}")),
    "ratio_to_model_card": ("× model card", _plain("{:.2f}")),
    "roofline_fraction": ("of the roofline", _plain("{:.2f}")),
    "mfu": ("MFU", _plain("{:.1%}")),
    "idle_share": ("GPU idle", _plain("{:.1%}")),
    "peak_memory_bytes": ("peak GiB", _gibibytes),
    "passes_per_verdict": ("passes", _plain("{:.2f}")),
    "result": ("result", str),
}
"""Field of `Row` → its heading, and how it is shown."""


@dataclass(slots=True)
class Report:
    """All rows so far.

    Attributes:
        machine: what they were measured on.
        options: of the command line.
        rows: in the order in which they were measured.
    """

    machine: dict[str, Any]
    options: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows; one with the key of an earlier row takes its place."""
        for row in rows:
            places = [index for index, earlier in enumerate(self.rows) if earlier.key == row.key]
            if places:
                self.rows[places[0]] = row
            else:
                self.rows.append(row)

    def markdown(self) -> str:
        """The machine and the table."""
        headings = [heading for heading, _ in COLUMNS.values()]
        lines = [f"- {name.replace('_', ' ')}: {value}" for name, value in self.machine.items()]
        lines += ["", "| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
        for row in self.rows:
            cells = [show(getattr(row, name)) for name, (_, show) in COLUMNS.items()]
            if row.status != "measured":
                cells[-1] = f"{row.status}: {row.result}"
            lines.append("| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``report.md`` and ``results.json``, each as a whole: a kill leaves the old file or the new one."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("report.md", self.markdown()),
            ("results.json", json.dumps(asdict(self), indent=1, default=str) + "\n"),
        ):
            whole = folder / f"{name}.tmp"
            whole.write_text(text, encoding="utf-8")
            os.replace(whole, folder / name)

    @classmethod
    def read(cls, folder: Path) -> Report:
        """What `write` wrote."""
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return cls(found["machine"], found["options"], [Row(**row) for row in found["rows"]])
