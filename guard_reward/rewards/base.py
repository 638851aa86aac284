"""What the synchronous and the asynchronous reward have in common: settings, the steps around the guard."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from guard_reward._version import __version__
from guard_reward.rewards.batch import (
    Batch,
    Call,
    FinishedBatch,
    Rules,
    Shown,
    ThinkingMode,
    finish,
    prepare,
    wanted_signs,
)
from guard_reward.rewards.batch_log import BatchLog
from guard_reward.rewards.circuit_breaker import CircuitBreaker
from guard_reward.rewards.defences import Defences
from guard_reward.rewards.dual_ascent import DualAscent
from guard_reward.rewards.eval_judge import EvaluationJudge
from guard_reward.rewards.functions import check_unique_name, is_asynchronous
from guard_reward.rewards.judge import Judge, RolloutVerdicts, as_guard, prefixed
from guard_reward.rewards.metrics import JudgedRollout, Metric, metrics_of
from guard_reward.rewards.observers import JudgedBatch, Observer, Observers
from guard_reward.rewards.outcomes import OutcomeReward, checked_outcome_rewards
from guard_reward.rewards.read_only import ReadOnlySettings
from guard_reward.rewards.rubric import Rubric, RubricJudge
from guard_reward.rewards.scheme_checks import check_rubric, check_scheme
from guard_reward.rewards.system_prompt import SystemPromptMode
from guard_reward.rollout import Rollout
from guard_reward.schemes import Controversial, Scheme, SchemeFunction, Sign, make_scheme
from guard_reward.verdict import Guard, Outcome

if TYPE_CHECKING:
    from guard_reward.rewards.reward_model import Helpfulness

__all__ = ["BaseGuardReward"]


_NOT_THE_GUARDS = {Outcome.EMPTY, Outcome.DEGENERATE}
"""Outcomes of rows for which no guard can be blamed."""


class BaseGuardReward(ReadOnlySettings):
    """Settings and steps of `guard_reward.GuardReward`, which documents them, and `guard_reward.AsyncGuardReward`.

    Only `breaker` can be changed after construction.
    """

    def __init__(
        self,
        guard: str | Path | Sequence[str] | Guard,
        scheme: str | Scheme | SchemeFunction = "guard_only",
        *,
        name: str = "guard",
        helpfulness: str | Path | Helpfulness | None = None,
        thinking: ThinkingMode = "separate",
        system_prompt: SystemPromptMode = "show",
        controversial: Controversial | None = None,
        on_outcome: Mapping[Outcome | str, OutcomeReward] | None = None,
        prompt_label_column: str | None = None,
        eos_token_ids: Collection[int] | int | None = None,
        thinking_prefilled: bool | None = None,
        breaker: CircuitBreaker | None = CircuitBreaker(),  # noqa: B008  copied below, never shared
        sleep: bool = False,
        refusal: str | Path | Sequence[str] | Guard | None = None,
        shadow: str | Path | Sequence[str] | Guard | None = None,
        rubric: Rubric | None = None,
        eval_judge: str | Path | Sequence[str] | Guard | None = None,
        defences: Defences = Defences(),  # noqa: B008  frozen
    ):
        _check_modes(thinking, system_prompt)
        made = make_scheme(scheme, controversial)
        ends = (eos_token_ids,) if isinstance(eos_token_ids, int) else eos_token_ids
        self._name = name
        self._rules = Rules(
            scheme=made,
            thinking=thinking,
            outcome_rewards=checked_outcome_rewards(on_outcome, made, defences),
            prompt_label_column=prompt_label_column,
            eos_token_ids=None if ends is None else tuple(ends),
            thinking_prefilled=thinking_prefilled,
            system_prompt=system_prompt,
            has_shadow=shadow is not None,
            has_helpfulness=helpfulness is not None,
            defences=defences,
        )
        if helpfulness is None and made.needs_helpfulness:
            raise ValueError(
                f"{made.name} needs helpfulness: pass helpfulness= a reward model's hub id or folder, or a callable "
                "with TRL's reward signature"
            )
        if is_asynchronous(helpfulness) and not is_asynchronous(self):
            raise ValueError("helpfulness is asynchronous, and GuardReward does not await it: use AsyncGuardReward")
        if rubric is not None:
            check_rubric(rubric, made, awaits=is_asynchronous(self))
        self._rubric = RubricJudge(rubric) if rubric is not None else None
        self.breaker = breaker
        self._helpfulness = _load_helpfulness(helpfulness, thinking_prefilled)
        others = (None if other is None else as_guard(other) for other in (refusal, shadow))
        self._judge = Judge(as_guard(guard), *others)
        self._eval_judge = EvaluationJudge.of(eval_judge, self._rules, name)
        self._observers: Observers[JudgedBatch] = Observers(name)
        self._dual_ascent = DualAscent.of(made, name)
        self._batch_log = BatchLog(name)
        self._sleep = sleep
        self._check_guard()

    def _check_guard(self) -> None:
        """Refuse a guard that cannot do what is asked of it, and put the models to sleep until their first use."""
        check_scheme(self.scheme, self._judge, self.name)
        if awake := [guard for guard in self._guards if self._sleep and not callable(getattr(guard, "sleep", None))]:
            raise ValueError(
                f"sleep=True, but {awake[0]!r} has no sleep(): load the guard with guard_reward.load_guard, or leave "
                "sleep=False for a guard that is not on this process's accelerator"
            )
        for model in (*self._guards, self._helpfulness):
            self._put_to_sleep(model)

    @property
    def name(self) -> str:
        """Prefix of the metrics and columns, and the name in the trainer's log."""
        return self._name

    @property
    def __name__(self) -> str:
        """TRL logs a reward function under this name."""
        return self._name

    @property
    def breaker(self) -> CircuitBreaker | None:
        """What stops the run if too many rows get no verdict; the reward's own copy. It can be changed."""
        return self._breaker

    @breaker.setter
    def breaker(self, breaker: CircuitBreaker | None) -> None:
        if breaker is not None and not isinstance(breaker, CircuitBreaker):
            raise ValueError(f"breaker should be a CircuitBreaker or None, found {breaker!r}")
        self._breaker = None if breaker is None else replace(breaker)

    @property
    def guard(self) -> Guard:
        """The guard."""
        return self._judge.guard

    @property
    def refusal(self) -> Guard | None:
        """The other guard, that says whether answers refuse, if there is one."""
        return None if self._judge.refusals is None else self._judge.refusals.guard

    @property
    def shadow(self) -> Guard | None:
        """The other guard, that is only compared with the first, if there is one."""
        return None if self._judge.shadow is None else self._judge.shadow.guard

    @property
    def eval_judge(self) -> Guard | None:
        """The other guard, that judges evaluations, if there is one."""
        return None if self._eval_judge is None else self._eval_judge.judge.guard

    @property
    def _guards(self) -> list[Guard]:
        guards = (self.guard, self.refusal, self.shadow, self.eval_judge)
        return [guard for guard in guards if guard is not None]

    @property
    def scheme(self) -> Scheme:
        """What maps verdicts to rewards."""
        return self._rules.scheme

    @property
    def thinking(self) -> ThinkingMode:
        """How thinking is judged."""
        return self._rules.thinking

    @property
    def defences(self) -> Defences:
        """What is done against replies that are written for the guard."""
        return self._rules.defences

    @property
    def system_prompt(self) -> SystemPromptMode:
        """Whether the guard sees the policy's system prompt."""
        return self._rules.system_prompt

    @property
    def helpfulness(self) -> Helpfulness | None:
        """H(x, y), if there is one."""
        return self._helpfulness

    @property
    def rubric(self) -> Rubric | None:
        """What says how far an answer shows a behaviour, if there is one."""
        return None if self._rubric is None else self._rubric.rubric

    @property
    def outcome_rewards(self) -> Mapping[Outcome, OutcomeReward]:
        """What rows get that did not end in an ordinary verdict."""
        return MappingProxyType(self._rules.outcome_rewards)

    @property
    def pay(self) -> Mapping[Outcome, OutcomeReward]:
        """Old name of `outcome_rewards`, for one more version."""
        warnings.warn("GuardReward.pay is now called outcome_rewards", DeprecationWarning, stacklevel=2)
        return self.outcome_rewards

    @property
    def eos_token_ids(self) -> tuple[int, ...] | None:
        """The ids that end a completion; None if they are read from the trainer."""
        return self._rules.eos_token_ids

    @property
    def thinking_prefilled(self) -> bool | None:
        """Whether the policy's template opens the thinking; None if it is read from the trainer."""
        return self._rules.thinking_prefilled

    @property
    def prompt_label_column(self) -> str | None:
        """The column that says which prompts are harmful."""
        return self._rules.prompt_label_column

    @property
    def sleep(self) -> bool:
        """Whether guard and reward model leave the accelerator between calls."""
        return self._sleep

    def add_observer(self, observer: Observer) -> None:
        """Show every judged batch to `observer` too (`guard_reward.rewards.observers`); it cannot change rewards.

        Observers stay in this process: a pickled or copied reward has none.

        >>> reward.add_observer(lambda batch: print(len(batch.rows)))  # doctest: +SKIP
        """
        self._observers.add(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Show it no more batches; nothing happens if it was not added."""
        self._observers.remove(observer)

    def __repr__(self) -> str:
        guard = getattr(self.guard, "name", self.guard)
        return f"{type(self).__name__}({guard!r}, {self.scheme!r}, name={self.name!r})"

    def describe(self) -> dict[str, str]:
        """What decides the rewards, for the run's record: guard, revision, template hash, scheme, versions."""
        return {
            **self._judge.describe(),
            **({} if self._eval_judge is None else prefixed("eval_judge", self._eval_judge.judge.describe())),
            "scheme": repr(self.scheme),
            "thinking": self.thinking,
            "system_prompt": self.system_prompt,
            "defences": repr(self.defences),
            "on_outcome": ", ".join(f"{outcome}: {reward}" for outcome, reward in self.outcome_rewards.items()),
            "helpfulness": getattr(self.helpfulness, "__name__", repr(self.helpfulness)),
            **({"rubric": self._rubric.name} if self._rubric is not None else {}),
            "guard_reward": __version__,
        }

    @property
    def _metrics(self) -> tuple[Metric, ...]:
        return metrics_of(
            self._judge.spec,
            labels=self.prompt_label_column is not None,
            helpfulness=self.helpfulness is not None,
            rails=self.defences.helpfulness is not None,
            forms=self.defences.normalise or self.defences.window is not None,
            thinking=self.thinking == "separate",
            prompts=self.scheme.needs_prompt,
            shadow=self.shadow is not None,
            tokens=self._judge.gives_tokens,
            behaviours=self.scheme.behaviours,
        )

    def _prepare(self, call: Call) -> Batch:
        """The rows, and what the guard is asked about them."""
        check_unique_name(self.name, call.log_metric)
        return prepare(call, self._rules)

    def _wanted(
        self, batch: Batch, verdicts: Sequence[RolloutVerdicts], helpfulness: Sequence[float | None]
    ) -> list[Mapping[str, Sign]]:
        """What the scheme looks for in each row's answer."""
        return wanted_signs(batch, verdicts, helpfulness, self._rules)

    def _finished(
        self,
        call: Call,
        batch: Batch,
        verdicts: Sequence[RolloutVerdicts],
        helpfulness: Sequence[float | None],
        shown: Sequence[Shown],
        *,
        usage: Any,
        seconds: float,
    ) -> FinishedBatch:
        """The rewards of a batch that was judged, logged."""
        finished = self._scored(call, batch, verdicts, helpfulness, shown)
        self._batch_log.warn(finished.rows, self.scheme)
        self._batch_log.log(call, finished, self._metrics, usage=usage, seconds=seconds)
        return finished

    def _scored(
        self,
        call: Call,
        batch: Batch,
        verdicts: Sequence[RolloutVerdicts],
        helpfulness: Sequence[float | None],
        shown: Sequence[Shown],
    ) -> FinishedBatch:
        """The rewards of a batch that was judged, with the multiplier of the trainer's state."""
        rules = self._rules
        if self._dual_ascent:
            rules = replace(rules, scheme=self._dual_ascent.scheme_now(call.trainer_state))
        judge = self._judge
        return finish(batch, verdicts, helpfulness, shown, rules, spec=judge.spec, special_tokens=judge.special_tokens)

    def _show(self, call: Call, batch: Batch, finished: FinishedBatch) -> None:
        if self._observers:
            self._observers.show(JudgedBatch.of(call, batch, finished.rows))

    def _conclude(self, call: Call, finished: FinishedBatch) -> list[float | None]:
        """The rewards, learned from and counted by the circuit breaker."""
        if self._dual_ascent:
            judged = [row.verdicts.assessment(row.helpfulness) for row in finished.rows if row.outcome.is_complete]
            unsafe = [self._dual_ascent.unsafe(assessment) for assessment in judged]
            self._dual_ascent.update(unsafe, call.trainer_state, call.log_metric)
        self._check_breaker(finished.rows, in_trainer=call.trainer_state is not None)
        return finished.rewards

    def _check_breaker(self, rows: Sequence[JudgedRollout], *, in_trainer: bool) -> None:
        if self.breaker is None:
            return
        lost = [
            row
            for row in rows
            if not row.outcome.is_complete and _NOT_THE_GUARDS.isdisjoint((row.outcome.name, *row.outcome.otherwise))
        ]
        unjudged = Counter(str(row.outcome.name) for row in lost)
        # Only a trainer is known to call on every rank; a collective on one rank alone would hang.
        self.breaker.check(len(rows), unjudged, all_ranks=in_trainer, reason=lost[0].outcome.reason if lost else "")

    def _put_to_sleep(self, model: Any) -> None:
        if self._sleep and callable(getattr(model, "sleep", None)):
            model.sleep()


# What the constructor takes, and what is made from it.
_CHANGEABLE = {"self", "breaker"}
_SETTINGS = {*inspect.signature(BaseGuardReward.__init__).parameters, "__name__", "outcome_rewards", "pay"}
BaseGuardReward.read_only = frozenset(_SETTINGS - _CHANGEABLE)


def answers(batch: Batch) -> list[Any]:
    """The conversation with each row's answer, for a reward model; None for a row that could not be read."""
    return [row.answer_conversation() if isinstance(row, Rollout) else None for row in batch.rollouts]


def _check_modes(thinking: ThinkingMode, system_prompt: SystemPromptMode) -> None:
    if thinking not in ("separate", "joint", "ignore"):
        raise ValueError(f"thinking should be 'separate', 'joint' or 'ignore', found {thinking!r}")
    if system_prompt not in ("show", "omit"):
        raise ValueError(f"system_prompt should be 'show' or 'omit', found {system_prompt!r}")


def _load_helpfulness(source: str | Path | Helpfulness | None, thinking_prefilled: bool | None) -> Helpfulness | None:
    if source is None:
        return None
    from guard_reward.rewards.reward_model import make_helpfulness

    return make_helpfulness(source, thinking_prefilled=thinking_prefilled)
