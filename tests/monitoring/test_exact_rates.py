"""Exact rates for what reports, by the order of a trainer's callbacks; with real runs in tests/integration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from guard_reward.monitoring.exact_rates import ExactRates, exact_rates_first

LINE = {"reward": 1.0, "guard/safe_rate": 0.5, "guard/sum/safe_rate": 0.5, "guard/rows/judged": 5.0}
EVALUATION = {f"eval_{name}": value for name, value in LINE.items()}


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (LINE, {"reward": 1.0, "guard/safe_rate": 0.1}),
        (EVALUATION, {"eval_reward": 1.0, "eval_guard/safe_rate": 0.1}),
        ({"guard/rows/judged": 0.0, "guard/sum/safe_rate": 0.0}, {}),  # no row, no rate
        ({"loss": 0.5, "note": None}, {"loss": 0.5, "note": None}),
        (
            {"tool/rows/returned": 5.0, "my/sum/tokens": 3.0},
            {"tool/rows/returned": 5.0, "my/sum/tokens": 3.0},
        ),  # a user's
        ({}, {}),
        (None, None),
    ],
)
def test_later_callbacks_see_exact_rates_and_no_totals(line: Any, seen: Any) -> None:
    logs = None if line is None else dict(line)
    ExactRates().on_log(None, None, None, logs=logs)
    assert logs == seen


class Reporter(TrainerCallback):
    """In the place of wandb's callback."""


class Trainer:
    """What a trainer does with callbacks, by transformers' own handler."""

    def __init__(self, *callbacks: TrainerCallback) -> None:
        self.callback_handler = CallbackHandler(list(callbacks), None, None, None, None)
        self.args = SimpleNamespace(report_to=["wandb", "tensorboard"])
        self.add_callback, self.pop_callback = self.callback_handler.add_callback, self.callback_handler.pop_callback


def test_what_reports_comes_last_and_nothing_else_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"wandb": Reporter, "tensorboard": type("Absent", (TrainerCallback,), {})}
    monkeypatch.setattr(
        "transformers.integrations.get_reporting_integration_callbacks", lambda names: [kinds[name] for name in names]
    )
    own, exact = TrainerCallback(), ExactRates()
    reporter = Reporter()
    trainer: Any = Trainer(reporter, exact, own)
    exact_rates_first(trainer)
    assert trainer.callback_handler.callbacks == [exact, own, reporter]
    exact_rates_first(trainer)
    assert trainer.callback_handler.callbacks == [exact, own, reporter]
