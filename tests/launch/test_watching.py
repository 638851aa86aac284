"""What the recipes watch a run with: which callbacks there are, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

trl = pytest.importorskip("trl")
pytest.importorskip("tensorboard")

from guard_reward import launch  # noqa: E402


def callbacks_of(folder: Path, *, watched: bool = True, **changes: Any) -> list[str]:
    """The names of a trainer's callbacks, in their order."""
    from guard_reward.tiny import build_tiny_policy
    from guard_reward.tiny.grpo import DemoSettings, trainer_arguments, training_requests

    arguments = trainer_arguments(folder, seed=0, settings=DemoSettings(steps=1)) | {"report_to": ["tensorboard"]}
    args = trl.GRPOConfig(**arguments | changes)
    trainer = trl.GRPOTrainer(
        str(build_tiny_policy()),
        lambda completions, **_: [0.0] * len(completions),
        args,
        training_requests(0, 4, 0.5),
        callbacks=launch.watching_callbacks(args) if watched else None,
    )
    if watched:
        launch.watch(trainer)
    return [type(callback).__name__ for callback in trainer.callback_handler.callbacks]


def test_dashboards_come_behind_exact_rates_and_transformers_bar_goes(tmp_path: Path) -> None:
    without = callbacks_of(tmp_path, watched=False)
    names = callbacks_of(tmp_path)
    assert "ProgressCallback" in without
    assert "ProgressCallback" not in names
    assert names.index("ExactRates") < names.index("TensorBoardCallback")
    assert {"LogFile", "Progress"} <= set(names)
    assert set(without) - set(names) == {"ProgressCallback"}


def test_disable_tqdm_keeps_what_transformers_prints(tmp_path: Path) -> None:
    names = callbacks_of(tmp_path, disable_tqdm=True, report_to="none")
    assert "PrinterCallback" in names
