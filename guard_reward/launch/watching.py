"""What the recipes watch a run with: callbacks for their trainers.

trainer = GRPOTrainer(..., callbacks=launch.watching_callbacks(monitor))
launch.watch(trainer)
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.errors import first_paragraph
from guard_reward.monitoring.exact_rates import ExactRates, exact_rates_first
from guard_reward.monitoring.log_file import LogFile
from guard_reward.monitoring.progress import Progress, show_progress

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

    from guard_reward.monitoring.monitor import RewardMonitor

__all__ = ["keep_going_without_tables", "watch", "watching_callbacks"]

logger = logging.getLogger(__name__)


def watching_callbacks(monitor: RewardMonitor | None = None) -> list[TrainerCallback]:
    """The alarm, exact rates for dashboards, ``log.jsonl``, and the progress.

    Args:
        monitor: what `build_monitor` returned. It comes first: the others see its metrics.
    """
    return [*([monitor] if monitor is not None else []), ExactRates(), LogFile(), Progress("training")]


def watch(trainer: Trainer) -> None:
    """Give the callbacks of `watching_callbacks` their place: dashboards behind `ExactRates`, no second progress bar,
    and no end of the run when a table cannot be written.

    Args:
        trainer: one that has these callbacks and has not begun.
    """
    exact_rates_first(trainer)
    show_progress(trainer)
    keep_going_without_tables(trainer)


def keep_going_without_tables(trainer: Trainer) -> None:
    """Warn, and train on, when a table of rollouts or a dashboard cannot be written: a full disk may be cleared.

    TRL writes ``completions/*.parquet`` in ``trainer.log``, behind all metrics, so only that step's table is lost; what
    is left of it is removed. A checkpoint that cannot be written still stops the run.

    Args:
        trainer: one that has not begun.
    """
    log = trainer.log

    @wraps(log)
    def tolerant(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        try:
            log(logs, *args, **kwargs)
        except OSError as error:
            table = Path(trainer.args.output_dir, "completions", f"completions_{trainer.state.global_step:05d}.parquet")
            logger.warning(
                "%s or a dashboard cannot be written: %s; the training goes on", table, first_paragraph(error)
            )
            with suppress(OSError):
                table.unlink()

    trainer.log = tolerant
