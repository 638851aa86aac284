"""A disk that becomes full: one line that names the file, what was finished is kept, and with room it goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from guard_reward.cli.output import write_json
from guard_reward.errors import clean_errors
from guard_reward.journal import Journal
from guard_reward.monitoring.alarms import Alarm, append_alarms
from tests.faults.commands import Run, contents, run  # noqa: F401  a fixture
from tests.faults.forks import with_longest_file


def test_a_command_goes_on_when_there_is_room(run: Run, tmp_path: Path, capfd: Any) -> None:  # noqa: F811
    run(tmp_path / "whole")
    longest = max(map(len, contents(tmp_path / "whole").values()))

    def job() -> None:
        with clean_errors("guard-reward"):
            run(tmp_path / "out")

    for size in (300, longest // 4, longest // 2, longest - 1):  # the error must fit too: it goes to a file here
        assert with_longest_file(job, size) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("guard-reward: error: [Errno 27] File too large: ")  # of a full disk it is Errno 28
        assert line.removesuffix("'").rpartition("'")[2].startswith(str(tmp_path / "out"))
        for path in (tmp_path / "out").iterdir():
            assert path.suffix == ".journal", "no part of an output is left"
            assert path.read_bytes()[-1:] in (b"", b"\n"), "and no half line"
    run(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_work_that_was_journalled_before_is_kept(tmp_path: Path) -> None:
    def job() -> None:
        with Journal(tmp_path / "journal", {"job": "x"}) as journal:
            for number in range(100):
                journal.append([[number, "a" * 100]])

    assert with_longest_file(job, 2_000) == 1
    with Journal(tmp_path / "journal", {"job": "x"}) as journal:
        assert [number for number, _ in journal.results()] == list(range(journal.row_count))
        assert 10 < journal.row_count < 20


def test_alarms_have_no_half_line(tmp_path: Path) -> None:
    alarm = Alarm(step=1, signal="empty", value=0.5, limit=0.2, baseline=0.0, message="m" * 300)
    append_alarms(tmp_path, [alarm])
    before = (tmp_path / "monitor.jsonl").read_bytes()
    assert with_longest_file(lambda: append_alarms(tmp_path, [alarm]), len(before) + 100) == 1
    assert (tmp_path / "monitor.jsonl").read_bytes() == before
    append_alarms(tmp_path, [alarm])
    assert (tmp_path / "monitor.jsonl").read_bytes() == 2 * before


def test_results_of_before_are_kept(tmp_path: Path, capfd: Any) -> None:
    """The file of ``--json`` is replaced as a whole or not at all."""
    write_json(tmp_path / "found.json", {"rate": 0.5})

    def job() -> None:
        write_json(tmp_path / "found.json", {"rates": [0.25] * 100})

    assert with_longest_file(job, 400) == 1
    assert capfd.readouterr().err == f"guard-reward: error: [Errno 27] File too large: '{tmp_path}/found.json'\n"
    assert contents(tmp_path) == {"found.json": b'{\n  "rate": 0.5\n}\n'}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_device_without_room(capfd: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        write_json(Path("/dev/full"), {"rate": 0.5})
    assert stop.value.code == 1
    assert capfd.readouterr().err == "guard-reward: error: [Errno 28] No space left on device: '/dev/full'\n"
