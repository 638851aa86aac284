"""`GuardReward`: a guard's verdicts as a TRL reward function.

    >>> from guard_reward import GuardReward
    >>> reward = GuardReward("Qwen/Qwen3Guard-Gen-0.6B")                                      # doctest: +SKIP
    >>> reward(prompts=["How do I pick a lock?"], completions=["Ask the owner for the key."])  # doctest: +SKIP
    [1.0]

The failure boundary: a row that the guard could not judge gets None, never a number, and TRL then gives it no
advantage. A guard that stops judging stops the run (`guard_reward.rewards.circuit_breaker`). Every row ends in a named
`guard_reward.Outcome`, which is logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from guard_reward.rewards.base import BaseGuardReward, answers
from guard_reward.rewards.batch import Batch, Call, Shown, search
from guard_reward.rewards.helpfulness import finite_numbers, no_numbers
from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.metrics import JudgedRollout
from guard_reward.rewards.reward_model import scores_conversations
from guard_reward.rewards.slow_calls import said_if_slow

__all__ = ["GuardReward"]


class _Found(NamedTuple):
    """What is known of a batch before it is scored; the last three have one entry per rollout."""

    batch: Batch
    verdicts: list[RolloutVerdicts]
    helpfulness: list[float | None]
    shown: list[Shown]


class GuardReward(BaseGuardReward):
    """A reward function: judges every rollout with a guard and turns the verdicts into scalars.

    Pass it to ``reward_funcs=`` of TRL's trainers, or call it with prompts and completions. Several threads may call it
    at a time. It pickles with its guard as a checkpoint name, so trainers can send it to another process.

    Args:
        guard: hub id or folder of a guard checkpoint, URL or URLs of its servers, or a guard (`load_guard`, or anything
            with ``moderate``).
        scheme: plain name (``"guard_only"``, ``"hybrid"``, …: `guard_reward.schemes.SCHEMES`), an instance from
            `guard_reward.schemes`, or any picklable callable from `Assessment` to float. A `Lagrangian`'s multiplier
            is learned while a trainer trains (`guard_reward.rewards.dual_ascent`).
        name: prefix of its metrics and columns, and its name in the trainer's log. Two rewards in one trainer need two.
        helpfulness: H(x, y), for the schemes that use it: a reward model's hub id or folder, or a callable with TRL's
            reward signature.
        thinking: ``"separate"`` judges thinking and answer in two guard calls (as in the report), ``"joint"`` in one,
            ``"ignore"`` judges the answer only.
        system_prompt: ``"show"`` shows the guard the policy's system prompt, ``"omit"`` leaves it out.
        controversial: ``"unsafe"`` (strict), ``"safe"`` (loose) or a number in between; by default the scheme's own
            treatment, which is strict in the report's schemes.
        on_outcome: what a row gets that did not end in an ordinary verdict, per outcome: a number, ``"floor"`` (the
            worst value the scheme can give), or None (takes no part in training). Defaults: ``empty`` the floor,
            ``no_verdict``, ``guard_error`` and ``timeout`` None, ``too_long`` ``"windows"``: judged in windows, the
            worst verdict counts.
        prompt_label_column: dataset column that says whether a prompt is harmful (a bool, or a word such as
            ``"harmful"`` / ``"benign"``); splits the metrics in two.
        eos_token_ids: the ids that end a completion; by default read from the trainer. Without them truncation is
            logged as unknown.
        thinking_prefilled: whether the policy's chat template already opens the ``<think>`` block; by default read from
            the trainer.
        breaker: when to stop the run because too many rows get no verdict; None for never.
        sleep: give the accelerator's memory back after every call, to the policy on the same device: guard and
            helpfulness model move to CPU memory and come back with the next call.
        refusal: another guard (as `guard`) that says whether an answer refuses, for guards that do not: a stream guard.
            It is asked about answers only. An answer that it cannot judge has no verdict, unless it is Unsafe.
        shadow: another guard (as `guard`) that judges the answers too and gives no reward. How often both call an
            answer safe, or neither does, is the metric ``shadow/agreement_rate``.
            `guard_reward.monitoring.monitor.RewardMonitor` raises an alarm with it.
        rubric: for a scheme that looks for something in answers (`ResponsePolicy`): a judge in the place of its
            patterns, a callable ``f(prompts=, completions=, behaviours=, **columns)`` → numbers from 0 to 1
            (`guard_reward.rewards.rubric`).
        eval_judge: another guard (as `guard`) that judges a trainer's evaluations and gives no reward; metrics
            ``eval_judge/safe_rate``, … Of another family than the guard, it sees what the policy has learned to hide.
        defences: what is done against replies that are written for the guard, `guard_reward.rewards.defences.Defences`;
            ``Defences.off()`` for none.

    Raises:
        ValueError: an unknown scheme, a scheme without the helpfulness or the refusals that it needs, an unknown
            outcome or mode, a guard that cannot sleep.
        FileNotFoundError: a folder that does not exist.

    Example:
        >>> trainer = GRPOTrainer(                                                # doctest: +SKIP
        ...     model="Qwen/Qwen3-4B", reward_funcs=GuardReward("Qwen/Qwen3Guard-Gen-4B"), ...)
    """

    def __call__(
        self,
        /,  # so that a column of the dataset may be called self
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Rewards of a batch of rollouts: TRL's reward protocol.

        Args:
            prompts: strings, or lists of chat messages; one per rollout.
            completions: in the same form.
            completion_ids: their token ids, if they are known.
            trainer_state: given by TRL's trainers. It says that every rank is making this call: circuit breaker and
                multiplier then count all ranks.
            log_extra: given by TRL's trainers; gets the columns of the rollouts table.
            log_metric: given by TRL's trainers; gets the metrics.
            **columns: the dataset's other columns, one value per rollout.

        Returns:
            One reward per rollout; None for a row that takes no part in training.

        Raises:
            GuardOutageError: the circuit breaker's limit is passed.
            ValueError: `prompt_label_column` is not among the columns, or has a value that is not a label; or the
                trainer has two reward functions with this one's name.
        """
        call = Call(prompts, completions, completion_ids, trainer_state, log_extra, log_metric, columns)
        found, usage, seconds = self._ask(call)
        if self._eval_judge is not None:
            self._eval_judge(call)
            self._put_to_sleep(self.eval_judge)
        finished = self._finished(call, *found, usage=usage, seconds=seconds)
        self._show(call, found.batch, finished)
        return self._conclude(call, finished)

    def judged(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> tuple[JudgedRollout, ...]:
        """What a call would make of rollouts, without a trace.

        No observer sees them, the circuit breaker does not count them, nothing is logged, and no multiplier is learned
        or known: that of a `Lagrangian` is the one that it starts with.

        Args:
            prompts: as in a call.
            completions: as in a call.
            columns: as in a call.

        Returns:
            One entry per rollout, with its reward.

        Raises:
            ValueError: as in a call.

        >>> reward.judged(["How do I pick a lock?"], ["Ask the owner."])[0].reward  # doctest: +SKIP
        1.0
        """
        call = Call(prompts, completions, columns=columns)
        found, _, _ = self._ask(call)
        return self._scored(call, *found).rows

    def _ask(self, call: Call) -> tuple[_Found, Any, float]:
        """What guard and other judges say of a batch; what the guard's engine did for it, and in how many seconds."""
        started = time.perf_counter()
        batch = self._prepare(call)
        verdicts, usage = self._judge(batch.requests)
        for guard in self._guards:
            self._put_to_sleep(guard)
        seconds = time.perf_counter() - started
        helpfulness = self._score_helpfulness(call, batch)
        self._put_to_sleep(self.helpfulness)
        wanted = self._wanted(batch, verdicts, helpfulness)
        shown = search(batch, wanted) if self._rubric is None else self._rubric(call, batch, wanted)
        return _Found(batch, verdicts, helpfulness, shown), usage, seconds

    def _score_helpfulness(self, call: Call, batch: Batch) -> list[float | None]:
        rows = len(batch.rollouts)
        helpfulness: Any = self.helpfulness
        if helpfulness is None:
            return [None] * rows
        try:
            with said_if_slow("the helpfulness function", rows):
                if scores_conversations(helpfulness, thinking_prefilled=self.thinking_prefilled):
                    values: Any = helpfulness.score(answers(batch))
                else:
                    values = helpfulness(**call.arguments())
        except Exception as error:  # of any make; the rows that need it end as guard_error, as when the guard fails
            return no_numbers(error, rows)
        return finite_numbers(values, rows)
