"""A bar on a terminal, whole lines elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from guard_reward.progress_bars import draws_bars, hidden, progress_bar


def work(shown: bool = True) -> None:
    with progress_bar(10, "judge", "row", done=4, shown=shown, seconds_between_lines=0) as bar:
        for _ in range(3):
            bar.update(2)


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.isprintable() or set(err) - set("\n") == set(filter(str.isprintable, err))
    assert re.fullmatch(r"judge: 10/10 rows, \d\d:\d\d passed, 00:00 left, .*", err.splitlines()[-1])
    assert len(set(err.splitlines())) == len(err.splitlines())


def test_a_short_job_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(2, "judge", "row") as bar:
        bar.update()
        bar.update()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_job_that_fails_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), progress_bar(9, "judge", "row") as bar:  # noqa: PT012
        bar.update(2)
        raise ValueError("broken")
    assert capsys.readouterr().err.startswith("judge: 2/9 rows")


def test_nothing_when_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    work(shown=False)
    with hidden(), hidden(False):  # what is hidden outside is hidden inside
        work()
    assert capsys.readouterr() == ("", "")
    with hidden(False):
        work()
    assert "judge" in capsys.readouterr().err


def test_a_notebooks_cell_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm.auto

    class InNotebook(tqdm.auto.tqdm):
        def display(self, *_: object, **__: object) -> None: ...

    assert not draws_bars()  # the tests' standard error is no terminal
    monkeypatch.setattr("tqdm.auto.tqdm", InNotebook)
    assert draws_bars()
    with progress_bar(3, "judge", "row") as bar:
        assert isinstance(bar, InNotebook)


@pytest.mark.parametrize("size", [(24, 80), (0, 0), (0, 100), (24, 0)])  # lines, columns; 0: nobody gave it a size
def test_a_bar_on_a_terminal_of_any_size(size: tuple[int, int]) -> None:
    root = Path(__file__).resolve().parents[1]
    code = "from tests.test_progress_bars import work; work()"
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, size)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": ""}
    subprocess.run([sys.executable, "-c", code], stderr=terminal, cwd=root, env=environment, check=True, timeout=60)
    os.close(terminal)
    drawn = os.read(main, 65536).decode()
    assert re.search(r"\rjudge: 100%\|█+\| 10/10 \[00:00<00:00", drawn)
