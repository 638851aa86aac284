"""`RewardMonitor`: a trainer callback that says when a policy begins to hack its guard, and can stop the run.

    reward = GuardReward("Qwen/Qwen3Guard-Gen-4B")
    monitor = RewardMonitor(reward, second_guard="Qwen/Qwen3Guard-Stream-0.6B", action="stop")
    trainer = GRPOTrainer(..., reward_funcs=reward, callbacks=[monitor])

It sees what the reward has judged (`guard_reward.rewards.observers`), in training only. The second guard is asked about
a sample. What is usual is learned in the first steps (`guard_reward.monitoring.watch`).

On several ranks each measures its own rollouts. The reward's call is the place where every rank is: there the numbers
are exchanged, and every rank comes to the same alarms and the same decision to stop.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Literal

from transformers import TrainerCallback

from guard_reward.monitoring.alarms import Alarm, append_alarms
from guard_reward.monitoring.budget import Budget
from guard_reward.monitoring.second_guard import SecondGuard, spread
from guard_reward.monitoring.seen import Seen, seen_rollout
from guard_reward.monitoring.text_reward import TextBatch, watched
from guard_reward.monitoring.watch import Report, Watch
from guard_reward.rewards.base import BaseGuardReward
from guard_reward.rewards.distributed import gather_objects
from guard_reward.rewards.observers import JudgedBatch
from guard_reward.verdict import Severity, Verdict, describe_guard

__all__ = ["RewardMonitor"]

logger = logging.getLogger(__name__)

_STATE = "GuardRewardMonitor"  # in trainer_state.stateful_callbacks; no callback class has this name
_PATIENCE = 20  # steps after which a monitor that has seen nothing says so


class RewardMonitor(TrainerCallback):
    """Watches a reward for signs of hacking: warns once per sign with the worst rollouts, or stops the run.

    The signs are in `guard_reward.monitoring.signals.table`. Alarms are written to the log and to ``monitor.jsonl`` in
    the run's folder; their shares are metrics (``monitor/second_guard_disagreement``, ``monitor/garbling``, …).

    Args:
        reward: the guard's reward in the trainer; None for other rewards only, see `watch`.
        second_guard: another guard (or what `guard_reward.load_guard` takes) than the reward's, of another size or
            family, or a stream guard. None: the reward's ``shadow=`` if it has one, else signs in texts and outcomes
            only.
        sample: rollouts per reward call and rank that the second guard is asked about, at most, of those that the
            reward's guard calls Safe.
        max_share: of the run's time that the monitor takes, at most; it looks at fewer rollouts to stay under it.
        warmup_steps: reward calls that it learns from. A policy that hacks in them makes hacking usual.
        action: ``"warn"``, or ``"stop"``: the run ends at the end of the step, on all ranks.
        deadline: seconds that a reward call waits for a served second guard.
        seed: of the samples.

    Raises:
        ValueError: an argument out of its range, or a second guard that is the reward's.

    Example:
        >>> monitor = RewardMonitor(reward, "Qwen/Qwen3Guard-Stream-0.6B")       # doctest: +SKIP
        >>> trainer = GRPOTrainer(..., reward_funcs=reward, callbacks=[monitor])  # doctest: +SKIP
    """

    def __init__(
        self,
        reward: BaseGuardReward | None = None,
        second_guard: Any = None,
        *,
        sample: int = 32,
        max_share: float = 0.05,
        warmup_steps: int = 6,
        action: Literal["warn", "stop"] = "warn",
        deadline: float = 30.0,
        seed: int = 0,
    ):
        _check(reward, sample=sample, max_share=max_share, warmup_steps=warmup_steps, action=action, deadline=deadline)
        if second_guard is not None and reward is None:
            raise ValueError("second_guard needs reward: it is compared with the verdicts of the reward's guard")
        self.reward = reward
        self.action = action
        self.alarms: list[Alarm] = []
        self._sample = sample
        self._random = Random(seed)
        self._budget = Budget(max_share)
        self._watch = Watch(warmup_steps)
        self._settings = {"sample": sample, "max_share": max_share, "warmup_steps": warmup_steps, "deadline": deadline}
        self._second = None
        if second_guard is not None:
            assert reward is not None
            self._second = SecondGuard(second_guard, deadline, sleep=reward.sleep)
            if self._second.judge.guard is reward.guard:
                raise ValueError("second_guard is the reward's own guard: name another one, which errs elsewhere")
        self._counts: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._folder: Path | None = None
        self._stops = False
        self._first_step = 0
        self._asking = 0.0  # seconds of the second guard in this call

    @property
    def second_guard(self) -> Any:
        """The second guard, if there is one."""
        return None if self._second is None else self._second.judge.guard

    def describe(self) -> dict[str, Any]:
        """The settings, for the run's record."""
        second = {} if self._second is None else {"second_guard": describe_guard(self.second_guard)}
        return {"action": self.action, **self._settings, **second}

    def watch(self, reward_func: Callable[..., Any]) -> Callable[..., Any]:
        """The same reward function, watched: the signs in its texts, without verdicts.

        For rewards that are not a `GuardReward`; pass what is returned to the trainer.

        >>> monitor = RewardMonitor()
        >>> reward = monitor.watch(lambda prompts, completions, **_: [1.0] * len(prompts))
        >>> reward(prompts=["Hi"], completions=["Hello."])
        [1.0]
        """
        return watched(reward_func, self._observe)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin to observe; go on where a resumed run was."""
        self._folder = Path(args.output_dir)
        self._first_step, self._stops = state.global_step, False
        self._restore(state)
        if self._second is not None:  # a model loads and compiles before time is counted
            self._second([[{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}]])
        self._budget.restart()
        if self.reward is not None:
            self.reward.add_observer(self._observe)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep what a checkpoint needs, and stop the run if an alarm says so."""
        state.stateful_callbacks[_STATE] = {"args": {}, "attributes": self._state()}
        if self._stops:
            control.should_training_stop = True
        if not self._watch.updates and state.global_step - self._first_step == _PATIENCE:
            self._warn_once(
                "the monitor has seen no rollouts: the reward is not in this trainer, or is called in another process"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Observe no longer."""
        if self.reward is not None:
            self.reward.remove_observer(self._observe)

    def _observe(self, batch: JudgedBatch | TextBatch) -> None:
        """One call of the reward. Every rank comes here, and leaves with the same alarms."""
        if batch.trainer_state is None or batch.training is False:
            return
        self._budget.earn()
        report = Report()
        try:
            report = self._look(batch)
        except Exception as error:  # the other ranks wait in the exchange below
            self._warn_once(f"the monitor could not look at rollouts: {type(error).__name__}: {error}")
        step = int(batch.trainer_state.global_step)
        reports = gather_objects(report)
        started = time.perf_counter()
        alarms = self._watch.update(step, reports)
        self._budget.spend("other", time.perf_counter() - started, 0)
        self._ring(alarms, is_main=bool(getattr(batch.trainer_state, "is_world_process_zero", True)))
        if batch.log_metric is not None:
            for name, value in self._metrics().items():
                batch.log_metric(f"monitor/{name}", value)

    def _look(self, batch: JudgedBatch | TextBatch) -> Report:
        self._counts["asked"] = self._counts["unjudged"] = 0
        started = time.perf_counter()
        rows = self._seen(batch)
        count = self._budget.affordable("text", len(rows))
        chosen = set(self._random.sample(list(rows), count))
        if isinstance(batch, JudgedBatch) and self._second is not None:
            rows = self._with_second(rows, batch, beside=count)
        # What the second guard judged is always looked at.
        looked = [row for index, row in rows.items() if index in chosen or row.second is not None]
        before = time.perf_counter()
        report = self._watch.look(looked)
        self._budget.spend("text", time.perf_counter() - before, len(looked))
        self._budget.spend("other", before - started - self._asking, 0)
        return report

    def _seen(self, batch: JudgedBatch | TextBatch) -> dict[int, Seen]:
        """The rows that could be read, by their place."""
        self._asking = 0.0
        if isinstance(batch, TextBatch):
            found = batch.seen()
        else:
            found = [seen_rollout(row, tokens) for row, tokens in zip(batch.rows, batch.tokens, strict=True)]
        return {index: seen for index, seen in enumerate(found) if seen is not None}

    def _with_second(self, rows: dict[int, Seen], batch: JudgedBatch, *, beside: int) -> dict[int, Seen]:
        """The rows, and the second guard's verdict in a sample of those that the reward's guard calls Safe."""
        assert self._second is not None
        safe = [
            index
            for index, seen in rows.items()
            if seen.severity is Severity.SAFE and isinstance(batch.asked[index], Sequence)
        ]
        count = self._budget.affordable("guard", min(self._sample, len(safe)), beside=beside)
        if not count or self._second.is_pausing:
            return rows
        sampled = [safe[place] for place in spread([rows[index].prompt for index in safe], count, self._random)]
        started = time.perf_counter()
        said = self._second([batch.asked[index] for index in sampled])
        self._asking = time.perf_counter() - started
        self._budget.spend("guard", self._asking, count)
        self._counts["asked"] = len(said)
        self._counts["unjudged"] = sum(not isinstance(one, Verdict) for one in said)
        verdicts = {index: one.severity for index, one in zip(sampled, said, strict=True) if isinstance(one, Verdict)}
        return {index: replace(seen, second=verdicts.get(index)) for index, seen in rows.items()}

    def _ring(self, alarms: Sequence[Alarm], *, is_main: bool) -> None:
        self.alarms += alarms
        self._stops = self._stops or bool(alarms and self.action == "stop")
        if not alarms or not is_main:
            return
        for alarm in alarms:
            logger.warning("step %d: %s%s", alarm.step, alarm, " The run stops." if self.action == "stop" else "")
        try:
            append_alarms(self._folder or Path(), alarms)
        except OSError as error:
            self._warn_once(f"alarms could not be written: {error}")

    def _metrics(self) -> dict[str, float]:
        """What is logged, without its prefix: the same names on every rank."""
        asked = self._counts["asked"]
        means = {f"{name}/mean": value for name, value in self._watch.means.items() if name in _MEASURED}
        # What is yes or no is known while it is learned, too.
        rates = {
            **{name: value for name, value in self._watch.means.items() if name not in _MEASURED},
            **self._watch.shares,
        }
        second: dict[str, float] = {}
        if self._second is not None:
            second["second_guard_sampled"] = float(asked)
            if asked:
                second["second_guard_unjudged_rate"] = self._counts["unjudged"] / asked
        return {
            **means,
            **rates,
            **second,
            "alarms": float(len(self.alarms)),
            "share_of_step": self._budget.share,
        }

    def _state(self) -> dict[str, Any]:
        return {**self._watch.to_json(), "second_guard": self._second_name()}

    def _second_name(self) -> str | None:
        """Whose verdicts are compared; None for nobody's."""
        other = self.second_guard if self._second is not None else self.reward and self.reward.shadow
        return None if other is None else str(getattr(other, "name", None) or type(other).__name__)

    def _restore(self, state: Any) -> None:
        """What a checkpoint has kept; a baseline of another second guard is learned anew."""
        saved = state.stateful_callbacks.get(_STATE)
        if saved is None or self._watch.updates:
            return
        try:
            attributes = dict(saved["attributes"])
            self._watch.restore(attributes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._warn_once(f"the monitor learns anew: what the checkpoint has cannot be read: {error}")
            self._watch = Watch(self._watch.warmup_steps)
            return
        if attributes.get("second_guard") != self._second_name():
            self._watch.forget("second_guard_disagreement")
        if self.action == "stop":  # a checkpoint of the step that stopped the run is no way past the alarm
            for chart in self._watch.charts.values():
                chart.rings = False

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s", message)


_MEASURED = ("garbling", "repetition", "length")


def _check(reward: Any, *, sample: int, max_share: float, warmup_steps: int, action: str, deadline: float) -> None:
    """Refuse arguments out of their range.

    Raises:
        ValueError: names the argument.
    """
    if reward is not None and not isinstance(reward, BaseGuardReward):
        raise ValueError(
            f"reward should be a GuardReward or AsyncGuardReward, found {reward!r}; for another reward function pass "
            "monitor.watch(function) to the trainer"
        )
    if action not in ("warn", "stop"):
        raise ValueError(f"action should be 'warn' or 'stop', found {action!r}")
    if sample < 1:
        raise ValueError(f"sample should be at least 1 rollout, found {sample}")
    if warmup_steps < 1:
        raise ValueError(f"warmup_steps should be at least 1, found {warmup_steps}")
    if not 0.0 < max_share <= 1.0:
        raise ValueError(f"max_share should be above 0 and at most 1, found {max_share}")
    if not deadline > 0.0:
        raise ValueError(f"deadline should be above 0 seconds, found {deadline}")
