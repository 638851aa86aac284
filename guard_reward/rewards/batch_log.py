"""What is logged of a judged batch: metrics, columns of the rollouts table, and what is said once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from guard_reward.rewards.batch import Call, FinishedBatch
from guard_reward.rewards.metrics import JudgedRollout, Metric, log_rows
from guard_reward.rewards.scale_check import scale_warning
from guard_reward.schemes import Scheme

__all__ = ["BatchLog"]

logger = logging.getLogger(__name__)


class BatchLog:
    """Logs the batches of one reward function.

    Args:
        name: prefix of the metrics and columns.
    """

    def __init__(self, name: str):
        self._name = name
        self._said: set[str] = set()

    def log(
        self, call: Call, finished: FinishedBatch, metrics: Iterable[Metric], *, usage: Any, seconds: float
    ) -> None:
        """The batch's metrics and columns, to whoever made the call.

        Args:
            call: has the loggers.
            finished: the batch.
            metrics: those of its rows.
            usage: what the guard's engine did for it; None if it does not say.
            seconds: that the guard took.
        """
        if call.log_metric is not None:
            log_rows(call.log_metric, self._name, metrics, finished.rows)
            call.log_metric(f"{self._name}/seconds", seconds)
            asked = sum(row.verdicts.answer is not None for row in finished.rows)
            if asked:
                call.log_metric(f"{self._name}/rollouts_per_second", asked / max(seconds, 1e-9))
            if usage is not None and usage.rows:
                call.log_metric(f"{self._name}/prefix_reuse", usage.prefix_reuse)
                call.log_metric(f"{self._name}/passes_per_verdict", usage.passes_per_verdict)
        if call.log_extra is not None:
            for name, values in finished.columns.items():
                call.log_extra(f"{self._name}_{name}", values)

    def warn(self, rows: Sequence[JudgedRollout], scheme: Scheme) -> None:
        """Say once per outcome that rows get no reward, and once that the scheme's numbers do not fit."""
        for row in rows:
            if row.reward is None and row.outcome.name not in self._said:
                self._said.add(row.outcome.name)
                logger.warning(
                    "a rollout gets no reward: %s (%s). Said once; the metric %s/outcome/%s counts them",
                    row.outcome.name,
                    row.outcome.reason,
                    self._name,
                    row.outcome.name,
                )
        if "scale" not in self._said and (message := scale_warning(scheme, rows)):
            self._said.add("scale")
            logger.warning("%s", message)
