"""Where an interrupted run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guard_reward.launch import LaunchError, find_checkpoint


def checkpoint(run: Path, step: int, *, finished: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if finished:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def args(run: Path, wanted: Any) -> Any:
    return SimpleNamespace(output_dir=str(run), resume_from_checkpoint=wanted)


def test_nothing_is_asked_for(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5)
    assert find_checkpoint(args(tmp_path, None)) is None


@pytest.mark.parametrize("run", ["", "not/there/yet"])
def test_auto_without_a_checkpoint_is_a_fresh_start(tmp_path: Path, caplog: pytest.LogCaptureFixture, run: str) -> None:
    assert find_checkpoint(args(tmp_path / run, "auto")) is None
    assert "no checkpoint: a fresh start" in caplog.text


def test_auto_takes_the_last_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (9, 10, 100):  # as numbers: 9 is not the last
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 11).rename(tmp_path / "checkpoint-best")
    assert find_checkpoint(args(tmp_path, "auto")) == str(tmp_path / "checkpoint-100")
    assert "going on from checkpoint-100" in caplog.text


@pytest.mark.parametrize("state", [None, "", '{"global_st', "{}"])
def test_auto_passes_over_what_was_not_written_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, state: str | None
) -> None:
    checkpoint(tmp_path, 1)
    folder = checkpoint(tmp_path, 2, finished=False)
    if state is not None:
        (folder / "trainer_state.json").write_text(state)
    assert find_checkpoint(args(tmp_path, "auto")) == str(tmp_path / "checkpoint-1")
    assert "checkpoint-2 was not written to its end: passed over" in caplog.text


def test_a_checkpoint_by_its_path(tmp_path: Path) -> None:
    first = checkpoint(tmp_path, 1)
    checkpoint(tmp_path, 2)
    assert find_checkpoint(args(tmp_path / "other", str(first))) == str(first)


@pytest.mark.parametrize("wanted", ["none", "", "checkpoint-2", True])
def test_a_path_that_is_no_checkpoint(tmp_path: Path, wanted: Any) -> None:
    checkpoint(tmp_path, 2, finished=False)
    path = str(tmp_path / wanted) if wanted in ("checkpoint-2", "none") else wanted
    with pytest.raises(LaunchError, match=r"is no checkpoint folder .* 'auto' takes the last one in output_dir"):
        find_checkpoint(args(tmp_path, path))
