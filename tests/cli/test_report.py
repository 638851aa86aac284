"""`guard-reward report`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("plotly")

from guard_reward.cli import app
from tests.processes import REPOSITORY
from tests.report.html_page import Page
from tests.report.run_folders import final_line, log_line, write_lines, write_run


def run(*arguments: str | Path, width: int = 400) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": str(width)})


def test_one_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "hybrid")
    target = tmp_path / "report.json"
    result = run(folder, "--json", target)
    assert result.exit_code == 0, result.output
    first, cost, doubts, note, written = result.stdout.splitlines()
    assert first == (
        "The run got safer: of the replies to harmful prompts, 20.0% (15.5–25.4%) were safe in steps 1–5 and 90.0% "
        "(85.7–93.1%) in steps 16–20, by the reward's own guard; half of the change came by step 11."
    )
    assert "refusals of benign prompts" in cost
    assert "the guard that gave the reward" in doubts
    assert note == "Note, hybrid: No other judge has evaluated the policy: see guard-reward evaluate."
    assert written == f"Written to {folder / 'report.html'}."
    text = " ".join(Page(folder / "report.html").text)
    assert "The run got safer" in text
    found = json.loads(target.read_text())
    assert found["summary"] == [first, cost, doubts]
    [one] = found["runs"]
    assert (one["name"], one["step"], one["half_change_step"], one["rollouts"]) == ("hybrid", 20, 11, 2)
    assert one["measurements"][1]["values"]["safety_rate"]["value"] == pytest.approx(0.9)


def test_several_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, beta in (("one", 0.04), ("two", 0.0)):
        folder = write_run(tmp_path / name)
        (folder / "run_config.json").write_text(json.dumps({"configs": {"GRPOConfig": {"beta": beta}}}))
    result = run("one", "two", "--title", "Two runs", "--json", "all.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Both runs got safer")
    assert result.stdout.endswith("Written to report.html.\n")
    assert "Two runs" in " ".join(Page(tmp_path / "report.html").text)
    assert json.loads(Path("all.json").read_text())["differences"] == [
        {"setting": "GRPOConfig.beta", "values": ["0.04", "0.0"]}
    ]


def test_quiet(tmp_path: Path) -> None:
    result = run(write_run(tmp_path / "run"), "--quiet", "--out", tmp_path / "page.html")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "page.html").is_file()


# arguments → what the error says
MISTAKES = [
    (["missing"], "'missing' cannot be read as a run: there is no such folder"),
    (["empty"], "'empty' is no folder of a run"),
    (["run", "--evaluation", "empty"], "--evaluation: 'empty' is no folder of guard-reward evaluate"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("guard-reward: error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_with_a_hostile_name_does_not_reach_the_terminal(tmp_path: Path) -> None:
    result = run(write_run(tmp_path / "\x1b[2J[bold]run"))
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "[bold]run" in result.stdout


def test_watching_ends_with_the_run_and_with_ctrl_c(tmp_path: Path) -> None:
    """Two processes: one ends by itself, the other by SIGINT, with exit status 0."""
    folders = [tmp_path / "ends", tmp_path / "stopped"]
    for folder in folders:
        write_lines(folder / "log.jsonl", [log_line(step) for step in range(1, 4)])
    command = [sys.executable, "-m", "guard_reward.cli", "report", "--watch", "--every", "0.1"]
    watchers = [
        subprocess.Popen(
            [*command, str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for folder in folders
    ]
    try:
        pages = [folder / "report.html" for folder in folders]
        _wait_until(lambda: all(page.exists() for page in pages))
        write_lines(folders[0] / "log.jsonl", [*(log_line(step) for step in range(1, 6)), final_line(5)])
        watchers[1].send_signal(signal.SIGINT)
        outputs = [watcher.communicate(timeout=60) for watcher in watchers]
    finally:
        for watcher in watchers:
            watcher.kill()
    assert [watcher.returncode for watcher in watchers] == [0, 0], outputs
    assert "ends at step 3." in outputs[0][0]
    assert "ends at step 5." in outputs[0][0]
    assert "Stopped watching." in outputs[1][0]
    assert "the run goes on, at step 3" in " ".join(outputs[1][0].split())
    assert [
        os.path.exists(folder / name) for folder in folders for name in os.listdir(folder) if name.endswith(".part")
    ] == []


def _wait_until(is_true: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
