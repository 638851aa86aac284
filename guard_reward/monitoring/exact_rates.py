"""Exact rates in wandb, trackio, TensorBoard, or wherever a run reports to.

TRL logs the mean of the calls' rates (see `guard_reward.log_lines`). `ExactRates` puts the rates of all rows in their
place before the log line reaches a dashboard, and takes out the sums and row counts that they are computed from:

    trainer = GRPOTrainer(..., callbacks=[ExactRates()])
    exact_rates_first(trainer)

``trainer.state.log_history``, and so ``trainer_state.json``, keep what TRL logged, with the sums and counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from guard_reward.log_lines import exact_rates, totals

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["ExactRates", "exact_rates_first"]


class ExactRates(TrainerCallback):
    """Replaces rates by exact ones, and drops sums and counts, in the log lines that later callbacks see.

    A trainer calls its callbacks in their order, and those that report come first: `exact_rates_first` moves them. An
    evaluation's metrics are exact too, so ``metric_for_best_model`` compares exact rates.
    """

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Change the log line in place, on every rank alike. The entry of ``log_history`` is a copy made before."""
        if logs:
            rates, used = exact_rates(logs), totals(logs)
            logs.update(rates)
            for name in used:
                del logs[name]


def exact_rates_first(trainer: Trainer) -> None:
    """Let what reports (``report_to``) come behind the `ExactRates` among a trainer's callbacks.

    Args:
        trainer: one that has not begun.
    """
    from transformers.integrations import get_reporting_integration_callbacks

    for kind in get_reporting_integration_callbacks(trainer.args.report_to):
        if (reporter := trainer.pop_callback(kind)) is not None:
            trainer.add_callback(reporter)
