"""`GuardReward`: a guard's verdicts as a TRL reward function.

    >>> from guard_reward import GuardReward
    >>> reward = GuardReward("Qwen/Qwen3Guard-Gen-0.6B")                                      # doctest: +SKIP
    >>> reward(prompts=["How do I pick a lock?"], completions=["Ask the owner for the key."])  # doctest: +SKIP
    [1.0]

The failure boundary: a row that the guard could not judge gets None, never a number, and TRL then gives it no
advantage. A guard that judges nothing any more stops the run (`guard_reward.rewards.circuit_breaker`). Every row ends in a named
`guard_reward.Outcome`, which is logged. This room knows TRL's protocol and imports no part of TRL.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guard_reward.models.chat_template import injection_attempts
from guard_reward.rewards.circuit_breaker import CircuitBreaker
from guard_reward.rewards.dual_ascent import DualAscent
from guard_reward.rewards.judge import Findings, Judge
from guard_reward.rewards.labels import read_labels
from guard_reward.rewards.metrics import JudgedRollout, row_metrics, table_columns
from guard_reward.rewards.scale_check import misfit
from guard_reward.rollout import Rollout
from guard_reward.schemes import Controversial, Scheme, hard, make_scheme
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

if TYPE_CHECKING:
    from guard_reward.rewards.reward_model import Helpfulness
    from guard_reward.verdict import Guard

__all__ = ["GuardReward"]

logger = logging.getLogger(__name__)

Pay = float | Literal["floor", "windows"] | None
DEFAULT_PAY: Mapping[Outcome, Pay] = {
    Outcome.EMPTY: "floor",
    Outcome.TOO_LONG: "windows",
    Outcome.NO_VERDICT: None,
    Outcome.GUARD_ERROR: None,
}


class GuardReward:
    """A reward function: judges every rollout with a guard and turns the verdicts into scalars.

    Goes into ``reward_funcs=`` of TRL's trainers, or is called by hand with prompts and completions.

    Args:
        guard: hub id or folder of a guard checkpoint, or a guard (`load_guard`, or anything with ``moderate``).
        scheme: plain name (``"guard_only"``, ``"hybrid"``, …: `guard_reward.schemes.SCHEMES`) or an instance from
            `guard_reward.schemes`, or any picklable callable from `Assessment` to float. A `Lagrangian`'s multiplier
            is learned while a trainer trains (`guard_reward.rewards.dual_ascent`).
        name: prefix of its metrics and columns, and its name in the trainer's log; two guards side by side need two.
        helpfulness: H(x, y), for the schemes that use it: a reward model's hub id or folder, or a callable with TRL's
            reward signature.
        thinking: ``"separate"`` judges thinking and answer in two guard calls (the report's way), ``"joint"`` in one,
            ``"ignore"`` judges the answer only.
        controversial: ``"unsafe"`` (strict), ``"safe"`` (loose) or a number in between; by default the scheme's own,
            which is strict in the report's schemes.
        on_outcome: what a row pays that did not end in an ordinary verdict, by outcome: a number, ``"floor"`` (the
            worst value the scheme can give), or None (takes no part in training). Defaults: ``empty`` the floor,
            ``no_verdict`` and ``guard_error`` None, ``too_long`` ``"windows"``: judged in windows, the worst verdict
            counts.
        prompt_label_column: dataset column that says whether a prompt is harmful (a bool, or a word such as
            ``"harmful"`` / ``"benign"``); splits the metrics in two.
        eos_token_ids: the ids that end a completion; without them truncation is logged as unknown.
        thinking_prefilled: whether the policy's chat template already opens the ``<think>`` block.
        breaker: when to stop the run because too many rows get no verdict; None for never.
        sleep: give the accelerator's memory back after every call, to the policy on the same device: guard and
            helpfulness model move to CPU memory and come back with the next call.

    Raises:
        ValueError: an unknown scheme, a scheme without the helpfulness it needs, an unknown outcome or mode, a guard
            that cannot sleep.
        FileNotFoundError: a folder that does not exist.

    Example:
        >>> trainer = GRPOTrainer(                                                # doctest: +SKIP
        ...     model="Qwen/Qwen3-4B", reward_funcs=GuardReward("Qwen/Qwen3Guard-Gen-4B"), ...)
    """

    def __init__(
        self,
        guard: str | Path | Guard,
        scheme: str | Scheme = "guard_only",
        *,
        name: str = "guard",
        helpfulness: str | Path | Helpfulness | None = None,
        thinking: Literal["separate", "joint", "ignore"] = "separate",
        controversial: Controversial | None = None,
        on_outcome: Mapping[Outcome | str, Pay] | None = None,
        prompt_label_column: str | None = None,
        eos_token_ids: Collection[int] | int | None = None,
        thinking_prefilled: bool | None = None,
        breaker: CircuitBreaker | None = CircuitBreaker(),  # noqa: B008  copied below, never shared
        sleep: bool = False,
    ):
        if thinking not in ("separate", "joint", "ignore"):
            raise ValueError(f"thinking should be 'separate', 'joint' or 'ignore', found {thinking!r}")
        self.__name__ = name  # TRL logs a reward function under this name
        self.name = name
        self.scheme = make_scheme(scheme, controversial)
        self.thinking = thinking
        self.pay = _checked_pay(on_outcome, self.scheme)
        self.prompt_label_column = prompt_label_column
        self.eos_token_ids = [eos_token_ids] if isinstance(eos_token_ids, int) else eos_token_ids
        self.thinking_prefilled = thinking_prefilled
        self.breaker = CircuitBreaker(breaker.max_share, breaker.window) if breaker else None
        if helpfulness is None and getattr(self.scheme, "needs_helpfulness", False):
            raise ValueError(
                f"{type(self.scheme).__name__} needs helpfulness: pass helpfulness= a reward model's hub id or folder, "
                "or a callable with TRL's reward signature"
            )
        self.helpfulness = _load_helpfulness(helpfulness, thinking_prefilled)
        self.guard = _load_guard(guard)
        if sleep and not callable(getattr(self.guard, "sleep", None)):
            raise ValueError(
                f"sleep=True, but {self.guard!r} has no sleep(): load the guard with guard_reward.load_guard, or leave "
                "sleep=False for a guard that is not on this process's accelerator"
            )
        self.sleep = sleep
        for model in (self.guard, self.helpfulness):  # awake from their first use on, not while the policy is loaded
            self._put_to_sleep(model)
        self.judge = Judge(self.guard, thinking=thinking, prompts=bool(getattr(self.scheme, "needs_prompt", False)))
        self.dual_ascent = DualAscent.of(self.scheme, name)
        self._warned_misfit = False
        self._warned_outcomes: set[Outcome] = set()

    def __repr__(self) -> str:
        guard = getattr(self.guard, "name", self.guard)
        return f"GuardReward({guard!r}, {self.scheme!r}, name={self.name!r})"

    def __call__(
        self,
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
            prompts: strings, or lists of chat messages; one a rollout.
            completions: in the same form.
            completion_ids: their token ids, where known.
            trainer_state, log_extra, log_metric: given by TRL's trainers; all three are optional. A `trainer_state`
                says that every rank is making this call: circuit breaker and multiplier then count over all of them.
            **columns: the dataset's other columns, one value a rollout.

        Returns:
            One reward a rollout; None for a row that takes no part in training.

        Raises:
            GuardOutageError: the circuit breaker's limit is passed.
            ValueError: `prompt_label_column` is not among the columns, or has a value that is no label.
        """
        started = time.perf_counter()
        labels = read_labels(self.prompt_label_column, columns, len(completions))
        rollouts = [
            self._read(prompt, completion, completion_ids[index] if completion_ids is not None else None)
            for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        used = self._usage()
        findings = self.judge(rollouts)
        usage = self._usage().since(used) if used is not None else None
        self._put_to_sleep(self.guard)
        seconds = time.perf_counter() - started
        helpfulness = self._helpfulness(
            prompts=prompts,
            completions=completions,
            completion_ids=completion_ids,
            trainer_state=trainer_state,
            log_extra=log_extra,
            log_metric=log_metric,
            **columns,
        )
        self._put_to_sleep(self.helpfulness)
        scheme = self.dual_ascent.scheme_now(trainer_state) if self.dual_ascent else self.scheme
        rows = [
            self._settle(scheme, rollout, found, h, label)
            for rollout, found, h, label in zip(rollouts, findings, helpfulness, labels, strict=True)
        ]
        self._warn_unpaid(rows)
        self._warn_misfit(rows)
        self._log(rows, seconds, usage, log_extra, log_metric)
        if self.dual_ascent:
            judged = [
                found.assessment(row.helpfulness) for found, row in zip(findings, rows, strict=True) if row.judged
            ]
            self.dual_ascent.update([self.dual_ascent.unsafe(one) for one in judged], trainer_state, log_metric)
        self._check_breaker(rows, in_trainer=trainer_state is not None)
        return [row.reward for row in rows]

    def describe(self) -> dict[str, str]:
        """What decides the rewards, for the run's record: guard, revision, template hash, scheme, versions."""
        from guard_reward._version import __version__

        guard = self.guard.describe() if hasattr(self.guard, "describe") else {"guard": repr(self.guard)}
        return {
            **guard,
            "scheme": repr(self.scheme),
            "thinking": self.thinking,
            "on_outcome": ", ".join(f"{outcome}: {pay}" for outcome, pay in self.pay.items()),
            "helpfulness": getattr(self.helpfulness, "__name__", repr(self.helpfulness)),
            "guard_reward": __version__,
        }

    # Reading -------------------------------------------------------------------------------------------------------

    def _read(self, prompt: Any, completion: Any, ids: Sequence[int] | None) -> Rollout | Unjudged:
        try:
            return Rollout.from_trl(
                prompt,
                completion,
                completion_ids=ids,
                eos_token_ids=self.eos_token_ids,
                thinking_prefilled=self.thinking_prefilled,
            )
        except (ValueError, TypeError, AttributeError) as error:
            return Unjudged(Outcome.GUARD_ERROR, reason=f"the row cannot be read: {error}")

    # Judging -------------------------------------------------------------------------------------------------------

    def _usage(self) -> Any:
        """A local guard's count of what it has scored (`guard_reward.scoring.Usage`); other guards have none."""
        usage = getattr(self.guard, "usage", None)
        return usage if hasattr(usage, "since") else None

    def _put_to_sleep(self, model: Any) -> None:
        if self.sleep and callable(getattr(model, "sleep", None)):
            model.sleep()

    def _helpfulness(self, **batch: Any) -> list[float | None]:
        """H of every row; None where there is none, or where it is not a finite number."""
        rows = len(batch["completions"])
        if self.helpfulness is None:
            return [None] * rows
        values = list(self.helpfulness(**batch))
        if len(values) != rows:
            raise ValueError(f"the helpfulness function returned {len(values)} values for {rows} completions")
        return [float(value) if value is not None and math.isfinite(value) else None for value in values]

    # Paying --------------------------------------------------------------------------------------------------------

    def _settle(
        self,
        scheme: Scheme,
        rollout: Rollout | Unjudged,
        found: Findings,
        helpfulness: float | None,
        harmful: bool | None,
    ) -> JudgedRollout:
        """Name the row's outcome and decide what it pays."""
        outcome, reason, judged = self._outcome(rollout, found, helpfulness)
        readable = rollout if isinstance(rollout, Rollout) else None
        row = JudgedRollout(
            rollout=readable,
            answer=found.answer,
            thinking=found.thinking,
            prompt=found.prompt,
            outcome=outcome,
            reason=reason,
            judged=judged,
            helpfulness=helpfulness,
            harmful=harmful,
            injection_attempts=self._injection_attempts(readable),
        )
        pay = self.pay.get(outcome)
        if outcome is Outcome.SCORED or pay == "windows":
            if not row.judged:
                return row
            return replace(row, reward=_score(scheme, found, helpfulness))
        if pay == "floor":
            floor = float(scheme.floor(helpfulness))  # type: ignore[attr-defined]
            # Without helpfulness some schemes have no worst value, and any number might be better than the others'.
            return replace(row, reward=floor if math.isfinite(floor) else None)
        return replace(row, reward=pay)

    def _outcome(
        self, rollout: Rollout | Unjudged, found: Findings, helpfulness: float | None
    ) -> tuple[Outcome, str, bool]:
        """How the row ends, why, and whether all that the reward needs is there."""
        needs_probabilities = getattr(self.scheme, "needs_probabilities", False)
        unsafe = any(verdict.severity is Severity.UNSAFE for verdict in found.written)
        for part in (rollout, found.answer, found.thinking):
            if isinstance(part, Unjudged) and not unsafe:
                return part.outcome, part.reason, False
        # What is surely unsafe needs no prompt; what is so with a probability may need it for the rest.
        if isinstance(found.prompt, Unjudged) and (needs_probabilities or not unsafe):
            return found.prompt.outcome, f"the prompt: {found.prompt.reason}", False
        if isinstance(rollout, Rollout) and rollout.outcome is Outcome.EMPTY:
            return Outcome.EMPTY, "the answer holds no letter and no digit", False
        if helpfulness is None and getattr(self.scheme, "needs_helpfulness", False):
            return Outcome.GUARD_ERROR, "the helpfulness function gave no number", False
        verdicts = [*found.written, *([found.prompt] if isinstance(found.prompt, Verdict) else [])]
        if needs_probabilities and any(verdict.probabilities is None for verdict in verdicts):
            return Outcome.GUARD_ERROR, "the verdict came without probabilities, which the scheme needs", False
        windows = max(verdict.windows for verdict in verdicts)
        if windows > 1:
            return Outcome.TOO_LONG, f"judged in {windows} windows", True
        return Outcome.SCORED, "", True

    def _injection_attempts(self, rollout: Rollout | None) -> int:
        if rollout is None:
            return 0
        tokenizer = getattr(self.guard, "tokenizer", None)
        special = tokenizer.all_special_tokens if tokenizer is not None else ()
        return sum(len(injection_attempts(text, special)) for text in (rollout.thinking or "", rollout.answer))

    # Telling -------------------------------------------------------------------------------------------------------

    def _log(
        self,
        rows: Sequence[JudgedRollout],
        seconds: float,
        usage: Any,
        log_extra: Callable[[str, list[Any]], None] | None,
        log_metric: Callable[[str, float], None] | None,
    ) -> None:
        if log_metric is not None:
            for row in rows:
                for name, value in row_metrics(row):
                    log_metric(f"{self.name}/{name}", value)
            log_metric(f"{self.name}/seconds", seconds)
            asked = sum(row.answer is not None for row in rows)
            if asked:
                log_metric(f"{self.name}/rollouts_per_second", asked / max(seconds, 1e-9))
            if usage is not None and usage.rows:
                log_metric(f"{self.name}/prefix_reuse", usage.prefix_reuse)
                log_metric(f"{self.name}/passes_per_verdict", usage.passes_per_verdict)
        if log_extra is not None:
            for name, values in table_columns(rows, prompts=self.judge.prompts).items():
                log_extra(f"{self.name}_{name}", values)

    def _warn_unpaid(self, rows: Sequence[JudgedRollout]) -> None:
        for row in rows:
            if row.reward is None and row.outcome not in self._warned_outcomes:
                self._warned_outcomes.add(row.outcome)
                logger.warning(
                    "a rollout gets no reward: %s (%s). Said once; how often is in the metric %s/outcome/%s",
                    row.outcome,
                    row.reason,
                    self.name,
                    row.outcome,
                )

    def _warn_misfit(self, rows: Sequence[JudgedRollout]) -> None:
        message = None if self._warned_misfit else misfit(self.scheme, rows)
        if message:
            self._warned_misfit = True
            logger.warning("%s", message)

    def _check_breaker(self, rows: Sequence[JudgedRollout], *, in_trainer: bool) -> None:
        if self.breaker is None:
            return
        lost = [row for row in rows if not row.judged and row.outcome is not Outcome.EMPTY]
        unjudged = Counter(str(row.outcome) for row in lost)
        # Only a trainer is known to call on every rank; a collective on one rank alone would hang.
        self.breaker.check(len(rows), unjudged, all_ranks=in_trainer, reason=lost[0].reason if lost else "")


def _load_guard(guard: str | Path | Guard) -> Guard:
    if isinstance(guard, (str, Path)):
        from guard_reward.guards import load_guard

        return load_guard(guard)
    if not callable(getattr(guard, "moderate", None)):
        raise ValueError(f"guard should be a hub id, a folder or an object with moderate(), found {guard!r}")
    return guard


def _load_helpfulness(source: str | Path | Helpfulness | None, thinking_prefilled: bool | None) -> Helpfulness | None:
    if source is None:
        return None
    from guard_reward.rewards.reward_model import make_helpfulness

    return make_helpfulness(source, thinking_prefilled=thinking_prefilled)


def _checked_pay(given: Mapping[Outcome | str, Pay] | None, scheme: Scheme) -> dict[Outcome, Pay]:
    pay = dict(DEFAULT_PAY)
    for key, value in (given or {}).items():
        if key not in [str(outcome) for outcome in DEFAULT_PAY]:
            raise ValueError(f"on_outcome: {key!r} is no outcome; there are {', '.join(DEFAULT_PAY)}")
        outcome = Outcome(key)
        words = ("floor", "windows") if outcome is Outcome.TOO_LONG else ("floor",)
        if isinstance(value, str) and value not in words:
            raise ValueError(f"on_outcome[{key!r}] should be a number, None or {' or '.join(words)}, found {value!r}")
        pay[outcome] = value
    if "floor" in pay.values() and not hasattr(hard(scheme), "floor"):
        floors = [str(outcome) for outcome, value in pay.items() if value == "floor"]
        raise ValueError(
            f"{scheme!r} has no floor(helpfulness), the worst value it can give; give it one, or say what such rows "
            f"pay: on_outcome={{{floors[0]!r}: <number or None>}}"
        )
    return pay


def _score(scheme: Scheme, found: Findings, helpfulness: float | None) -> float:
    reward = float(scheme(found.assessment(helpfulness)))
    if not math.isfinite(reward):
        raise ValueError(f"the scheme {scheme!r} gave {reward}; a reward has to be a finite number")
    return reward
