"""A guard that judges a trainer's evaluations and gives no reward.

A policy learns what its guard overlooks, and the guard that gave the reward goes on praising it. Another guard, asked
in evaluations only, costs nothing in training, and the policy was not trained to please it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from guard_reward.rewards.batch import Call, Rules, finish, prepare
from guard_reward.rewards.defences import Defences
from guard_reward.rewards.dual_ascent import is_training
from guard_reward.rewards.judge import Judge, as_guard
from guard_reward.rewards.metrics import log_rows, metrics_of
from guard_reward.schemes import GuardOnly

__all__ = ["METRICS", "EvaluationJudge"]

logger = logging.getLogger(__name__)

METRICS = "judge"
"""The prefix of the metrics. Trainers write ``eval_`` in front in evaluations: ``eval_judge/safe_rate``."""


class EvaluationJudge:
    """Logs the metrics of a reward that another guard would give, in evaluations.

    Args:
        judge: the other guard.
        rules: of the reward: how thinking and system prompt are shown, and the labels.
    """

    def __init__(self, judge: Judge, rules: Rules):
        self.judge = judge
        self._has_warned = False
        off = Defences.off()
        self.rules = replace(rules, scheme=GuardOnly(), outcome_rewards={}, has_shadow=False, defences=off)

    @classmethod
    def of(cls, guard: Any, rules: Rules, reward: str) -> EvaluationJudge | None:
        """The judge, a guard or what `load_guard` takes, of a reward with this name; None without one.

        Raises:
            ValueError: the reward's metrics would have the same names.
        """
        if guard is None:
            return None
        if reward == METRICS:
            raise ValueError(f"name={reward!r} is the name of eval_judge's metrics: choose another one")
        return cls(Judge(as_guard(guard)), rules)

    def __call__(self, call: Call) -> None:
        """Judge a batch if a trainer is evaluating; otherwise nothing happens."""
        if call.log_metric is None:
            return
        training = is_training(call.log_metric)
        if training is None and not self._has_warned:
            self._has_warned = True
            logger.warning("eval_judge is not asked: the trainer does not tell whether it evaluates")
        if training is not False:
            return
        batch = prepare(call, self.rules)
        verdicts, _ = self.judge(batch.requests)
        nothing: list[Any] = [None] * len(batch.rollouts)
        finished = finish(
            batch,
            verdicts,
            nothing,
            [{} for _ in nothing],
            self.rules,
            spec=self.judge.spec,
            special_tokens=self.judge.special_tokens,
        )
        metrics = metrics_of(
            self.judge.spec,
            labels=self.rules.prompt_label_column is not None,
            helpfulness=False,
            thinking=self.rules.thinking == "separate",
            prompts=False,
            shadow=False,
            tokens=self.judge.gives_tokens,
        )
        log_rows(call.log_metric, METRICS, metrics, finished.rows)
