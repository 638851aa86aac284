"""A training whose disk is full, and one whose last checkpoint was not written to its end."""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.recipes.conftest import SMALL, logged_steps, read_json


@pytest.fixture
def train(run_here: Callable[..., None], tmp_path: Path) -> Callable[..., None]:
    """GRPO with a checkpoint every step."""

    def run(steps: int) -> None:
        options = ("--save_steps", "1", "--save_total_limit", "9", "--max_steps", str(steps))
        run_here("grpo", *SMALL, *options, "--output_dir", str(tmp_path / "run"))

    return run


def test_a_checkpoint_that_is_not_whole_is_passed_over_by_its_name(
    train: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(2)
    optimizer = tmp_path / "run" / "checkpoint-2" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        train(3)
    assert f"{optimizer.parent} is not whole (optimizer.pt was not written to its end): skipped" in caplog.text
    assert read_json(tmp_path / "run" / "run_config.json")["launch"]["resumed_from"].endswith("checkpoint-1")
    assert [step["step"] for step in logged_steps(tmp_path / "run")] == [1, 2, 3]
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 4  # the last one is of the whole training


def test_a_full_disk_ends_a_training_at_its_checkpoint_in_one_line_and_it_goes_on(
    train: Callable[..., None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tables and log lines that cannot be written are warnings."""
    import trl

    train(1)
    before, begin = resource.getrlimit(resource.RLIMIT_FSIZE), trl.GRPOTrainer.train

    def begin_on_a_full_disk(self: Any, **options: Any) -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
        return begin(self, **options)

    try:
        monkeypatch.setattr(trl.GRPOTrainer, "train", begin_on_a_full_disk)
        with caplog.at_level(logging.WARNING), pytest.raises(SystemExit) as stop:
            train(2)
    finally:
        monkeypatch.setattr(trl.GRPOTrainer, "train", begin)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stop.value.code == 1
    assert "completions_00002.parquet or a dashboard cannot be written: " in caplog.text
    assert not (tmp_path / "run" / "completions" / "completions_00002.parquet").exists()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: output_dir: no space left in '{tmp_path}/run', where 'checkpoint-2/")
    train(2)
    assert [step["step"] for step in logged_steps(tmp_path / "run")] == [1, 2]
    assert (tmp_path / "run" / "completions" / "completions_00002.parquet").exists()
