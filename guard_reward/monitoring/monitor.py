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
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Literal
from weakref import WeakSet

from transformers import TrainerCallback

from guard_reward.monitoring.alarms import Alarm, append_alarms, drop_alarms
from guard_reward.monitoring.budget import Budget
from guard_reward.monitoring.monitor_checks import check_options, check_other_guard, checked_stop_on, guard_name
from guard_reward.monitoring.second_guard import SecondGuard, spread
from guard_reward.monitoring.seen import Seen, is_lenient, second_verdict, seen_rollout
from guard_reward.monitoring.text_reward import TextBatch, watched
from guard_reward.monitoring.watch import Report, Watch
from guard_reward.rewards.base import BaseGuardReward
from guard_reward.rewards.distributed import gather_objects
from guard_reward.rewards.observers import JudgedBatch
from guard_reward.verdict import Verdict, describe_guard

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
            reward treats as Safe.
        max_share: of the run's time that the monitor takes, at most; it looks at fewer rollouts to stay under it.
        warmup_steps: steps that it learns from. A policy that hacks in them makes hacking usual.
        action: ``"warn"``, or ``"stop"``: the run ends at the end of the step, on all ranks.
        stop_on: signals whose alarms stop it; the others warn. None: all but ``length`` and ``truncated``, which a
            policy may be meant to show.
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
        stop_on: Collection[str] | None = None,
        deadline: float = 30.0,
        seed: int = 0,
    ):
        check_options(
            reward, sample=sample, max_share=max_share, warmup_steps=warmup_steps, action=action, deadline=deadline
        )
        if second_guard is not None and reward is None:
            raise ValueError("second_guard needs reward: it is compared with the verdicts of the reward's guard")
        self.reward = reward
        self.action = action
        self.stop_on = checked_stop_on(stop_on)
        self.alarms: list[Alarm] = []
        self._sample = sample
        self._random = Random(seed)
        self._budget = Budget(max_share)
        self._watch = Watch(warmup_steps)
        self._settings = {"sample": sample, "max_share": max_share, "warmup_steps": warmup_steps, "deadline": deadline}
        self._second = None
        self._lenient = reward is not None and is_lenient(reward.scheme)
        if reward is not None and second_guard is not None and not _is_shadow(second_guard, reward):
            self._second = SecondGuard(second_guard, deadline, sleep=reward.sleep)
        if reward is not None and self.second_guard is not None:
            check_other_guard(self.second_guard, reward.guard)
        self._counts: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._folder: Path | None = None
        self._stops = False
        self._first_step = self._calls = 0
        self._wanted = self._asked = 0  # rollouts, of the second guard in this run
        self._trainer_state: Any = None
        self._model: Any = None
        self._watched: Any = None
        self._asking = 0.0  # seconds of the second guard in this call

    @property
    def second_guard(self) -> Any:
        """The second guard, if there is one; the reward's shadow unless another one was named."""
        if self._second is not None:
            return self._second.judge.guard
        return None if self.reward is None else self.reward.shadow

    def describe(self) -> dict[str, Any]:
        """The settings, for the run's record."""
        second = {} if self.second_guard is None else {"second_guard": describe_guard(self.second_guard)}
        return {"action": self.action, "stop_on": sorted(self.stop_on), **self._settings, **second}

    def watch(self, reward_func: Callable[..., Any]) -> Callable[..., Any]:
        """The same reward function, watched: the signs in its texts, without verdicts.

        For a trainer without a `GuardReward`; pass what is returned to the trainer. All reward functions of a trainer
        get the same texts, so one is watched: the last for which this was called.

        Raises:
            ValueError: the monitor has a guard's reward, which shows it all texts; or it is no function.

        >>> monitor = RewardMonitor()
        >>> reward = monitor.watch(lambda prompts, completions, **_: [1.0] * len(prompts))
        >>> reward(prompts=["Hi"], completions=["Hello."])
        [1.0]
        """
        if self.reward is not None:
            raise ValueError(
                "this monitor sees all texts through its reward: watch() is for RewardMonitor() without one"
            )
        self._watched = watched(reward_func, self._observe)
        return self._watched

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Begin to observe; go on where a resumed run was.

        Raises:
            ValueError: the trainer has two monitors.
        """
        self._take_over(state)
        self._folder, self._model = Path(args.output_dir), model
        self._first_step, self._calls, self._stops, self.alarms = state.global_step, 0, False, []
        self._wanted = self._asked = 0
        self._restore(state)
        if getattr(state, "is_world_process_zero", True):
            self._write(lambda folder: drop_alarms(folder, self._first_step))
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
        if state.global_step - self._first_step == _PATIENCE:
            self._say_if_blind(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Observe no longer."""
        self._say_if_blind(state)
        self._leave()

    def _take_over(self, state: Any) -> None:
        """Replace a monitor that an interrupted training has left on the reward."""
        for other in [other for other in _observing if other is not self]:
            if other._trainer_state is state:
                raise ValueError(
                    "a trainer has one RewardMonitor: both would keep their state and metrics in one place"
                )
            if other.reward is not None and other.reward is self.reward:
                other._leave()
        self._trainer_state = state
        _observing.add(self)

    def _leave(self) -> None:
        _observing.discard(self)
        self._trainer_state = self._model = None
        if self.reward is not None:
            self.reward.remove_observer(self._observe)

    def _say_if_blind(self, state: Any) -> None:
        if not self._calls and state.global_step > self._first_step:
            self._warn_once(
                "the monitor has seen no rollouts: the reward is not in this trainer, or is called in another process"
            )

        elif self._asked * 4 < self._wanted:
            self._warn_once(
                f"the second guard has seen {self._asked} of the {self._wanted} rollouts it was meant to see: it is "
                f"too slow for max_share={self._budget.max_share} of the time, so an alarm takes more steps. Raise "
                "max_share (monitor_max_share), or choose a smaller guard"
            )

    def _counts_as_training(self, batch: JudgedBatch | TextBatch) -> bool:
        if batch.training is not None:
            return batch.training
        training = getattr(self._model, "training", None)  # a wrapped log_metric does not say
        if training is None:
            self._warn_once("the monitor cannot tell training from evaluation: evaluations count as training")
        return training is not False

    def _observe(self, batch: JudgedBatch | TextBatch) -> None:
        """One call of the reward. Every rank comes here, and leaves with the same alarms."""
        if batch.trainer_state is None or not self._counts_as_training(batch):
            return
        if isinstance(batch, TextBatch) and batch.source is not self._watched:
            return
        self._calls += 1
        self._budget.earn()
        report = Report()
        try:
            report = self._look(batch)
        except Exception as error:  # the other ranks wait in the exchange below
            self._warn_once(f"the monitor could not look at rollouts: {type(error).__name__}: {error}")
        step = int(batch.trainer_state.global_step) + 1  # the step that is being made, as log and table count it
        reports = gather_objects(report, what="a monitor's report")
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
        # What the second guard was asked about is always looked at.
        looked = [row for index, row in rows.items() if index in chosen or row.second_lost is not None]
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
            pairs = zip(batch.rows, batch.tokens, strict=True)
            found = [seen_rollout(row, tokens, lenient=self._lenient) for row, tokens in pairs]
        return {index: seen for index, seen in enumerate(found) if seen is not None}

    def _with_second(self, rows: dict[int, Seen], batch: JudgedBatch, *, beside: int) -> dict[int, Seen]:
        """The rows, and the second guard's verdict in a sample of those that the reward treats as Safe."""
        assert self._second is not None
        rows = {index: replace(seen, second=None, second_lost=None) for index, seen in rows.items()}  # of a shadow
        safe = [index for index, seen in rows.items() if seen.is_paid and isinstance(batch.asked[index], Sequence)]
        count = self._budget.affordable("guard", min(self._sample, len(safe)), beside=beside)
        if self._second.is_pausing:
            return rows
        self._wanted += min(self._sample, len(safe))
        if not count:
            return rows
        sampled = [safe[place] for place in spread([rows[index].group for index in safe], count, self._random)]
        started = time.perf_counter()
        said = self._second([batch.asked[index] for index in sampled])
        self._asking = time.perf_counter() - started
        self._budget.spend("guard", self._asking, count)
        self._counts["asked"] = len(said)
        self._asked += len(said)
        self._counts["unjudged"] = sum(not isinstance(one, Verdict) for one in said)
        judged = {index: replace(rows[index], **second_verdict(one)) for index, one in zip(sampled, said, strict=True)}
        return rows | judged

    def _ring(self, alarms: Sequence[Alarm], *, is_main: bool) -> None:
        self.alarms += alarms
        stopping = [alarm for alarm in alarms if self.action == "stop" and alarm.signal in self.stop_on]
        self._stops = self._stops or bool(stopping)
        if not alarms or not is_main:
            return
        for alarm in alarms:
            logger.warning("step %d%s: %s", alarm.step, ", the run stops" if alarm in stopping else "", alarm)
        self._write(lambda folder: append_alarms(folder, alarms))

    def _write(self, write: Callable[[Path], None]) -> None:
        try:
            write(self._folder or Path())
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
        return None if self.second_guard is None else guard_name(self.second_guard)

    def _restore(self, state: Any) -> None:
        """What a checkpoint has kept; a baseline of another second guard is learned anew. Without one all is new."""
        self._watch = Watch(self._watch.warmup_steps)
        saved = state.stateful_callbacks.get(_STATE)
        if saved is None:
            return
        try:
            attributes = dict(saved["attributes"])
            self._watch.restore(attributes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._warn_once(f"the monitor learns anew: what the checkpoint has cannot be read: {error}")
            self._watch = Watch(self._watch.warmup_steps)
            return
        if attributes.get("second_guard") != self._second_name():
            for signal in ("second_guard_disagreement", "second_guard_no_verdict"):
                self._watch.forget(signal)
        if self.action == "stop":  # a checkpoint of the step that stopped the run is no way past the alarm
            for name in self.stop_on & set(self._watch.charts):
                self._watch.charts[name].rings = False

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s", message)


_MEASURED = ("garbling", "repetition", "length")
_observing: WeakSet[RewardMonitor] = WeakSet()


def _is_shadow(second_guard: Any, reward: BaseGuardReward) -> bool:
    """Whether it is the reward's shadow, or its name: what that has judged is compared."""
    if reward.shadow is None:
        return False
    is_named = isinstance(second_guard, str | Path) and str(second_guard) == getattr(reward.shadow, "name", None)
    return second_guard is reward.shadow or is_named
