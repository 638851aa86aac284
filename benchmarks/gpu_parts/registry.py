"""Which parts there are, and how they are run: what fails is named and the rest goes on; time has a limit."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_parts import exactness, idle, sleep, speed, trained, training
from gpu_parts.bench import Bench, say
from gpu_parts.rows import Report, Row

__all__ = ["PARTS", "Part", "run_parts"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the benchmark.

    Attributes:
        name: for the table, ``--parts`` and ``--skip``.
        settings: options, shape → what is measured; shown with ``str``.
        measure: bench, shape, setting → rows.
        comes_last: it takes the time that the other parts of all shapes leave.
    """

    name: str
    settings: Callable[[argparse.Namespace, str], list[Any]]
    measure: Callable[[Bench, str, Any], Iterator[Row]]
    comes_last: bool = False


PARTS = (
    Part("exactness", exactness.settings, exactness.measure),
    Part("trained", trained.settings, trained.measure),
    Part("sleep", sleep.settings, sleep.measure),
    Part("idle", idle.settings, idle.measure),
    Part("grpo", training.settings, training.measure_grpo),
    Part("ppo", training.settings, training.measure_ppo),
    Part("speed", speed.settings, speed.measure, comes_last=True),
)


def run_parts(bench: Bench, parts: Sequence[Part], report: Report, out: Path) -> None:
    """Measure every setting of every part for every shape; write the report after each."""
    shapes = bench.options.shapes
    jobs = [
        (part, shape, setting)
        for last in (False, True)
        for shape in shapes
        for part in parts
        if part.comes_last == last
        for setting in part.settings(bench.options, shape)
    ]
    for part, shape, setting in jobs:
        about = {"part": part.name, "shape": shape, "setting": str(setting)}
        if bench.clock.left <= 0:
            report.add([Row(**about, status="not run", result="time")])
            continue
        say(f"{part.name}, {shape}: {setting} ({bench.clock.left / 60:.1f} minutes left)")
        _run(bench, part, shape, setting, report, about)
        report.write(out)
    bench.release()
    report.write(out)


def _run(bench: Bench, part: Part, shape: str, setting: Any, report: Report, about: dict[str, str]) -> None:
    """One setting. Rows that came before a failure stay."""
    try:
        for row in part.measure(bench, shape, setting):
            report.add([row])
        return
    except Exception as error:  # one part must not take the others with it
        # Only its text: the error itself would keep the frames' tensors alive.
        reason = f"{type(error).__name__}: {str(error).strip()[:300]}"
    say(f"  failed: {reason}")
    report.add([Row(**about, status="failed", result=reason)])
    bench.release()  # the guard may have been left half changed
