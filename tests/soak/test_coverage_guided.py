"""The coverage-guided pass: the fuzzer's bytes are the choices, and its log says what became of a target."""

from __future__ import annotations

import pytest

from tests.soak.coverage_guided import Choices, Pass, main, read_log
from tests.soak.target import load_targets

_BEGIN = "#2\tINITED cov: 35 ft: 36 corp: 1/1b exec/s: 0 rss: 43Mb\n#9\tNEW    cov: 71 ft: 90 corp: 2/3b\n"
_CRASH = "AssertionError: a reason\nartifact_prefix='./'; Test unit written to ./crash-e2ff\nBase64: A///gw==\n"


def test_the_bytes_choose():
    assert [Choices(bytes([byte])).randrange(4) for byte in range(4)] == [0, 1, 2, 3]
    assert Choices(b"\x00\x00\x01").random() == 0.0
    assert Choices(b"\xff\xff").random() == 1 - 2**-16
    later = Choices(b"\x00\x00\x01")
    assert (later.random(), later.randrange(2)) == (0.0, 1)


def test_behind_the_bytes_chance_goes_on_and_is_the_same_again():
    first, again, other = ([it.random() for _ in range(50)] for it in (Choices(b"a"), Choices(b"a"), Choices(b"b")))
    assert first == again != other
    assert len(set(first)) > 40


@pytest.mark.parametrize("data", [b"", b"\x00" * 200, b"\xff" * 200, bytes(range(200))])
@pytest.mark.parametrize("name", ["answers", "configs", "forms", "tables", "thinking", "typed-marks"])
def test_any_bytes_are_an_input(name, data):
    target = load_targets()[name]
    target.check(target.make(Choices(data)))


@pytest.mark.parametrize(
    ("log", "expected", "failed"),
    [
        (f"{_BEGIN}Done 2000 in 1 second(s)\n", Pass(2000, (35, 71), None), False),
        (f"{_BEGIN}Done 2000 runs in 1 second(s)\n", Pass(2000, (35, 71), None), False),
        (f"{_BEGIN}{_CRASH}", Pass(None, (35, 71), "./crash-e2ff"), True),
        (_BEGIN, Pass(None, (35, 71), None), True),  # cut: the process was killed
        ("", Pass(None, (0, 0), None), True),
    ],
)
def test_the_log_of_a_pass(log, expected, failed):
    assert read_log(log) == expected
    assert expected.failed is failed


def test_a_wrong_target_is_named():
    pytest.importorskip("atheris")
    with pytest.raises(SystemExit, match="there is no 'nothing'"):
        main(["--target", "nothing"])


def test_a_real_pass(capsys):
    pytest.importorskip("atheris")
    assert main(["--target", "thinking", "--runs", "500", "--seconds", "60"]) == 0
    assert "500" in capsys.readouterr().out
