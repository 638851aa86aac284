"""The long run: a small form of it really runs, a changed verdict fails it, and a leak is told from a plateau."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest

from guard_reward import GuardReward
from guard_reward.verdict import Severity, Verdict


@pytest.fixture(autouse=True)
def benchmarks(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))


def run(repository, *arguments):
    command = [sys.executable, str(repository / "benchmarks" / "long_run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def test_a_small_run(repository, tmp_path):
    numbers = tmp_path / "found" / "long.json"
    done = run(repository, "--calls", "20", "--rollouts", "8", "--steps", "4", "--json", str(numbers))
    assert done.returncode == 0, done.stderr
    found = json.loads(numbers.read_text())
    calls, steps = found["parts"]
    assert (calls["unit"], calls["count"], steps["unit"], steps["count"]) == ("call", 20, "step", 4)
    assert (found["probes"], found["changed"]) == (3, [])
    assert calls["slope_kib"][1] <= calls["slope_kib"][0] <= calls["slope_kib"][2]
    assert steps["peak_mib"] >= calls["peak_mib"] >= calls["resident_mib"]["first"] > 100
    assert all(part["per_second"]["last"] > 0 and part["open_files"]["first"] > 0 for part in found["parts"])
    assert "0 rows changed" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--calls", "0", "--steps", "0"], ["--rollouts", "0"], ["--calls", "-1"]], ids=" ".join
)
def test_nothing_to_run(arguments, monkeypatch, capsys):
    from long_run import main

    monkeypatch.setattr(sys, "argv", ["long_run.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--rollouts is 1 or more" in capsys.readouterr().err


class Forgetful:
    """A guard that changes its mind about one row after so many calls."""

    def __init__(self, after: int):
        self._calls, self._after = 0, after

    def moderate(self, conversations):
        self._calls += 1
        verdicts = [Verdict(Severity.SAFE, (), False) for _ in conversations]
        if self._calls > self._after:
            verdicts[0] = Verdict(Severity.SAFE, (), True)  # the reward of guard_only stays the same
        return verdicts


@pytest.mark.parametrize(("after", "changed"), [(9, []), (2, ["third", "fourth"]), (0, [])])
def test_a_changed_verdict_is_found(after, changed):
    from long_run import Probe

    probe = Probe(GuardReward(Forgetful(after), "guard_only"), seed=0)
    for place in ("first", "second", "third", "fourth"):
        probe(place)
    assert [row["place"] for row in probe.changed] == changed
    assert probe.count == 4


def test_rollouts_have_every_kind():
    from long_run_rollouts import sample_batch

    batch = sample_batch("0", 400)
    texts = [str(completion) for completion in batch["completions"]]
    for sign in ("<think>", "tool_calls", "Safety: Safe", "<|im_start|>", "'content': ''"):
        assert any(sign in text for text in texts), sign
    assert {len(prompt) for prompt in batch["prompts"]} >= {1, 2, 3, 7}
    assert len({len(text) for text in texts}) > 100
    assert {True, False} == set(batch["harmful"])


RANDOM = Random(1)
NOISE = [RANDOM.gauss(0, 40) for _ in range(1000)]


@pytest.mark.parametrize(
    ("values", "leaks"),
    [
        ([1e6 + 4.0 * step + noise for step, noise in enumerate(NOISE)], True),
        ([1e6 + noise for noise in NOISE], False),
        ([1e6 + 64.0 * (step // 200 % 2) for step in range(1000)], False),  # memory taken and given back
    ],
    ids=["4 KiB per call", "noise", "steps up and down"],
)
def test_a_leak_is_clear(values, leaks):
    from process_samples import slope

    found = slope(values)
    assert (found.low > 0) == leaks
    assert not leaks or found.low < 4 < found.high


def test_too_few_samples_have_no_slope():
    from process_samples import slope

    assert slope([1.0, 2.0, 3.0, 4.0, 5.0]) is None
