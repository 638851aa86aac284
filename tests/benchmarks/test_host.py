"""The benchmark of the host's time: a small form of it really runs, and says what each stage takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def run(repository, *arguments):
    command = [sys.executable, str(repository / "benchmarks" / "host.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_a_small_run(repository, tmp_path):
    done = run(repository, "--rows", "16", "--group-size", "4", "--rounds", "1", "--json", str(tmp_path / "host.json"))
    assert done.returncode == 0, done.stderr
    [numbers] = json.loads((tmp_path / "host.json").read_text())
    assert (numbers["version"], numbers["cores"]) == ("now", 1)
    stages = ("reading rows", "typed marks", "encoding", "planning", "verifying", "verdicts", "rewards and metrics")
    assert all(numbers[stage] > 0 for stage in stages)  # so each has found its methods
    assert sum(numbers[stage] for stage in (*stages, "rest")) == pytest.approx(numbers["all of the host"])
    assert numbers["all but encoding"] == pytest.approx(numbers["all of the host"] - numbers["encoding"])
    assert 300 < numbers["tokens"] < 700
    assert "| planning | " in done.stdout
    assert "| encoding / raw tokenizer | " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--before", "no-such-commit"], "--before no-such-commit"),
        (["--cores", "0"], "--cores: this process may use 1 to"),
        (["--cores", "100000"], "--cores: this process may use 1 to"),
    ],
)
def test_what_cannot_be_measured(repository, arguments, says):
    done = run(repository, "--rows", "8", *arguments)
    assert done.returncode != 0
    assert says in done.stderr
