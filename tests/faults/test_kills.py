"""Kills where they hurt most: between two file operations, and in the middle of a write."""

from __future__ import annotations

from pathlib import Path
from random import Random

from benchmarks.kill_parts.blows import Blow
from tests.faults.commands import Run, contents, run  # noqa: F401  a fixture
from tests.faults.forks import operations_of, was_killed


def test_killed_before_any_of_its_file_operations(run: Run, tmp_path: Path) -> None:  # noqa: F811
    run(tmp_path / "whole")
    count = operations_of(lambda: run(tmp_path / "counted"), tmp_path / "counted")
    assert count > 8
    for number in range(1, count + 1):
        out = tmp_path / f"killed-{number}"
        assert was_killed(lambda out=out: run(out), out, Blow("operation", number))  # type: ignore[misc]
        run(out)
        assert contents(out) == contents(tmp_path / "whole"), f"killed before operation {number}"


def test_killed_inside_a_write_again_and_again(run: Run, tmp_path: Path) -> None:  # noqa: F811
    run(tmp_path / "whole")
    longest, random = max(map(len, contents(tmp_path / "whole").values())), Random(0)
    killed = 0
    for size in sorted(random.sample(range(1, longest), 12)):  # each time it comes a little further
        killed += was_killed(lambda: run(tmp_path / "killed"), tmp_path / "killed", Blow("write", size))
    assert killed >= 6
    run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
