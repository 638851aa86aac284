"""What the recipes watch a run with: callbacks for their trainers.

trainer = GRPOTrainer(..., callbacks=launch.watching_callbacks(args))
launch.watch(trainer)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guard_reward.monitoring.exact_rates import ExactRates, exact_rates_first
from guard_reward.monitoring.log_file import LogFile
from guard_reward.monitoring.progress import Progress, show_progress

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

__all__ = ["watch", "watching_callbacks"]


def watching_callbacks(args: Any) -> list[TrainerCallback]:
    """Exact rates for dashboards, ``log.jsonl``, and the progress.

    Args:
        args: the trainer's arguments.
    """
    return [ExactRates(), LogFile(), Progress("training")]


def watch(trainer: Trainer) -> None:
    """Give the callbacks of `watching_callbacks` their place: dashboards behind `ExactRates`, no second progress bar.

    Args:
        trainer: one that has these callbacks and has not begun.
    """
    exact_rates_first(trainer)
    show_progress(trainer)
