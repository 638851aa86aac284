"""A share of the soak, always the same inputs; and that the soak finds, names and repeats what breaks."""

from __future__ import annotations

import json
import time

import pytest

from tests.soak.__main__ import main
from tests.soak.chunk import run_chunk
from tests.soak.runner import available, shares
from tests.soak.target import Target, Unavailable, load_targets, require

INPUTS = 2500
TARGETS = load_targets()
COUNTS = shares(TARGETS, INPUTS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_promises_hold(name):
    try:
        TARGETS[name].prepare()
    except Unavailable as missing:
        pytest.skip(str(missing))
    tally = run_chunk(TARGETS[name], 0, range(COUNTS[name]))
    assert [(failure.index, failure.error, failure.input) for failure in tally.failures] == []
    assert tally.inputs == COUNTS[name]


def even(number):
    require(number % 7, "no multiple of seven", number)


def broken(check):
    return {"broken": Target("broken", lambda random: random.randrange(1000), check)}


def test_equal_seeds_make_equal_inputs():
    for name, target in available(TARGETS)[0].items():
        assert [repr(target.input(3, index)) for index in (5, 6)] == [
            repr(target.input(3, index)) for index in (5, 6)
        ], name


def test_a_broken_promise_fails_the_run_and_can_be_repeated(tmp_path, capsys):
    options = ["--workers", "1", "--json", str(tmp_path / "soak.json")]
    assert main(["--inputs", "200", "--seed", "4", *options], broken(even)) == 1
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "soak.json").read_text())
    (failure,) = found["targets"]["broken"]["failures"]
    assert found["failed"] == found["targets"]["broken"]["failed"] > 1
    assert f"again: python -m tests.soak --target broken --seed 4 --index {failure['index']}" in shown
    again = ["--target", "broken", "--seed", "4", "--index", str(failure["index"])]
    assert main(again, broken(even)) == 1
    assert failure["input"] in capsys.readouterr().out
    assert main(["--target", "broken", "--seed", "4", "--index", str(failure["index"])], broken(str)) == 0


def busy(_):
    end = time.process_time() + 5
    while time.process_time() < end:
        pass


def test_a_slow_input_is_a_failure():
    tally = run_chunk(broken(busy)["broken"], 0, range(1), deadline=0.05)
    assert [failure.error for failure in tally.failures] == ["slower than 0.05 s"]
    assert tally.slowest[0] < 1


def test_the_run_ends_after_its_minutes():
    tally = run_chunk(broken(str)["broken"], 0, range(10), stop_at=time.time() - 1)
    assert tally.inputs == 0


def test_what_is_missing_is_said(capsys):
    def prepare():
        raise Unavailable("needs the moon")

    target = {"moon": Target("moon", str, str, prepare=prepare)}
    assert main(["--inputs", "1"], target) == 1
    assert "not run: moon: needs the moon" in capsys.readouterr().out


def test_an_unknown_target_is_refused():
    with pytest.raises(SystemExit, match="there is no 'moon'; there are answers"):
        main(["--target", "moon"])


def test_several_processes_check_every_input_once(capsys):
    assert main(["--target", "intervals", "--inputs", "300", "--workers", "2"]) == 0
    assert "intervals                      300" in capsys.readouterr().out
