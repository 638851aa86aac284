"""Two processes on one output, and processes that are asked to stop."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from guard_reward.errors import UserError, clean_errors
from tests.faults.commands import Run, contents, run  # noqa: F401  a fixture


class Started:
    """A command in a process of its own, that has finished its first rows and does the next slowly."""

    def __init__(self, run: Run, out: Path):  # noqa: F811
        self.process = os.fork()
        if not self.process:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it would be ignored
            try:
                with clean_errors("guard-reward"):
                    run(out, seconds=0.2)
            except SystemExit as end:
                os._exit(int(str(end.code)))
            os._exit(0)
        deadline = time.monotonic() + 60
        while not any(path.read_bytes().count(b"\n") > 1 for path in out.glob("*.journal")):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def end_with(self, number: int) -> int:
        """Its exit status after a signal."""
        os.kill(self.process, number)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def test_the_second_is_refused_and_a_killed_one_blocks_nobody(run: Run, tmp_path: Path) -> None:  # noqa: F811
    run(tmp_path / "whole")
    first = Started(run, tmp_path / "out")
    with pytest.raises(UserError, match=r"another process is writing '.*\.journal': wait for it, or choose another"):
        run(tmp_path / "out")
    assert first.end_with(signal.SIGKILL) == -signal.SIGKILL
    run(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop(run: Run, tmp_path: Path, capfd: Any, number: int, status: int) -> None:  # noqa: F811
    run(tmp_path / "whole")
    capfd.readouterr()
    assert Started(run, tmp_path / "out").end_with(number) == status
    assert capfd.readouterr().err == "guard-reward: stopped\n"
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".journal"}
    run(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
