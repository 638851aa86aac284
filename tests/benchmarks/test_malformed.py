"""The benchmark of malformed answers: a small form of it really runs, against another commit and alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SMALL = ["--rows", "3", "--tokens", "12", "--new-tokens", "9", "--rounds", "2", "--threads", "1"]


@pytest.fixture
def run(repository, tmp_path):
    def run(*options):
        command = [sys.executable, str(repository / "benchmarks" / "malformed.py"), *options]
        found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        return found.returncode, found.stdout, found.stderr

    return run


def test_before_and_now(run, repository, tmp_path):
    if subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("not a git checkout")
    status, printed, errors = run(*SMALL, "--setting", "tiny-64", "--before", "HEAD", "--json", "found/numbers.json")
    assert status == 0, errors
    [row] = json.loads((tmp_path / "found" / "numbers.json").read_text())
    assert (row["setting"], row["rows"], row["tokens"], row["differing"]) == ("tiny-64", 3, 12, 0)
    assert row["passes_per_verdict"] == {"before": 9.0, "now": 9.0}
    rates = row["rollouts_per_second"]
    assert row["ratio"] == pytest.approx(rates["now"] / rates["before"])
    header, _, line = printed.strip().splitlines()
    assert header.startswith("| setting | rows | tokens | before | now | ratio |")
    assert line == f"| tiny-64 | 3 | 12 | {rates['before']:.2f} /s | {rates['now']:.2f} /s | {row['ratio']:.1f}× | 0 |"


def test_this_checkout_alone(run):
    status, printed, errors = run(*SMALL, "--setting", "tiny-256")
    assert status == 0, errors
    assert "| tiny-256 | 3 | 12 |  |" in printed


def test_an_unknown_setting(run):
    status, _, errors = run("--setting", "huge")
    assert status == 2
    assert "0.6B-16" in errors
