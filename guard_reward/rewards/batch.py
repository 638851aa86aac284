"""A batch of rollouts before and after the guard: plain functions of their arguments, without I/O.

batch = prepare(call, rules)                                 # rows → what the guard is asked
…                                                            # the caller asks the guard, and waits or awaits
signs = wanted_signs(batch, verdicts, helpfulness, rules)    # what the scheme looks for in each answer
shown = search(batch, signs)                                 # … and finds; or the caller asks a rubric
finished = finish(batch, verdicts, helpfulness, shown, rules)  # verdicts → rewards, columns
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from guard_reward.conversation import Turns
from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.typed_marks import TypedMark
from guard_reward.rewards.behaviour import Shown, search_text, signs_of, worst_compliance
from guard_reward.rewards.defences import Defences
from guard_reward.rewards.forms import Forms
from guard_reward.rewards.judge import Request, RolloutRequests, RolloutVerdicts
from guard_reward.rewards.labels import read_labels
from guard_reward.rewards.metrics import JudgedRollout, table_columns
from guard_reward.rewards.outcomes import OutcomeReward, RowOutcome, row_outcome, score_row
from guard_reward.rewards.policy import policy_of_trainer
from guard_reward.rewards.reading import check_lengths, read_rollout
from guard_reward.rewards.stopped import as_stopped, read_stopped, with_stop
from guard_reward.rewards.system_prompt import SystemPromptMode, without_system_prompt
from guard_reward.rewards.written import as_written, railed, switched_language
from guard_reward.rollout import Rollout
from guard_reward.schemes import Scheme, Sign
from guard_reward.verdict import Outcome, Severity, Unjudged

__all__ = ["Batch", "Call", "FinishedBatch", "Rules", "ThinkingMode", "finish", "prepare", "search", "wanted_signs"]

logger = logging.getLogger(__name__)
ThinkingMode = Literal["separate", "joint", "ignore"]


@dataclass(frozen=True, slots=True)
class Call:
    """What a trainer passes to a reward function (TRL's protocol); see `guard_reward.GuardReward.__call__`."""

    prompts: Sequence[Any]
    completions: Sequence[Any]
    completion_ids: Sequence[Sequence[int]] | None = None
    trainer_state: Any = None
    log_extra: Callable[[str, list[Any]], None] | None = None
    log_metric: Callable[[str, float], None] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments, for another reward function."""
        return {
            "prompts": self.prompts,
            "completions": self.completions,
            "completion_ids": self.completion_ids,
            "trainer_state": self.trainer_state,
            "log_extra": self.log_extra,
            "log_metric": self.log_metric,
            **self.columns,
        }


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides the rewards of a batch: the settings of a reward function.

    Attributes:
        scheme: assessment → reward.
        thinking: how thinking is judged.
        outcome_rewards: what rows get without an ordinary verdict.
        prompt_label_column: the column that says which prompts are harmful; None for no labels.
        eos_token_ids: the ids that end a completion; None reads them from the trainer.
        thinking_prefilled: whether completions begin inside the thinking; None reads it from the trainer.
        system_prompt: whether the guard sees the policy's system prompt.
        has_shadow: whether another guard's verdicts are compared.
        has_helpfulness: whether there is a helpfulness function.
        defences: what is done against replies that are written for the guard.
    """

    scheme: Scheme
    thinking: ThinkingMode
    outcome_rewards: Mapping[Outcome, OutcomeReward]
    prompt_label_column: str | None = None
    eos_token_ids: tuple[int, ...] | None = None
    thinking_prefilled: bool | None = None
    system_prompt: SystemPromptMode = "show"
    has_shadow: bool = False
    has_helpfulness: bool = False
    defences: Defences = field(default_factory=Defences)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that were read, one entry per row in each.

    Attributes:
        rollouts: an `Unjudged` for a row that could not be read.
        harmful: whether the prompt is labelled harmful; None without a label.
        requests: what the guard is asked.
        stopped: what a stream guard found in a rollout that it stopped; None for others.
    """

    rollouts: tuple[Rollout | Unjudged, ...]
    harmful: tuple[bool | None, ...]
    requests: tuple[RolloutRequests, ...]
    stopped: tuple[Severity | None, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishedBatch:
    """What came of a batch.

    Attributes:
        rows: everything that is known about each row.
        columns: of the rollouts table, one value per row.
    """

    rows: tuple[JudgedRollout, ...]
    columns: Mapping[str, list[Any]]

    @property
    def rewards(self) -> list[float | None]:
        """One per row; None for a row that takes no part in training."""
        return [row.reward for row in self.rows]


def prepare(call: Call, rules: Rules) -> Batch:
    """Read the rows, and say what the guard must judge.

    Args:
        call: what the trainer passed. If its `log_metric` is the trainer's own, the policy's end tokens and whether its
            template opens the thinking are read from the trainer, unless the rules say them.
        rules: the reward's settings.

    Raises:
        ValueError: another number of completions, or of their ids, than of prompts; labels or severities of stopped
            rollouts that cannot be read.
    """
    check_lengths(call.prompts, call.completions, call.completion_ids)
    stopped = read_stopped(call.columns, len(call.completions))
    labels = read_labels(rules.prompt_label_column, call.columns, len(call.completions))
    policy = policy_of_trainer(call.log_metric)
    ids = call.completion_ids if call.completion_ids is not None else [None] * len(call.completions)
    rollouts = tuple(
        read_rollout(
            prompt,
            completion,
            policy=policy,
            completion_ids=row_ids,
            eos_token_ids=rules.eos_token_ids,
            thinking_prefilled=rules.thinking_prefilled,
        )
        for prompt, completion, row_ids in zip(call.prompts, call.completions, ids, strict=True)
    )
    shown = rollouts
    if rules.system_prompt == "omit":
        shown = tuple(without_system_prompt(*row) for row in zip(rollouts, call.prompts, strict=True))
    requests = (_requests(*row, rules) for row in zip(shown, stopped, strict=True))
    rollouts = tuple(_read_as(*row) for row in zip(rollouts, stopped, strict=True))
    return Batch(rollouts, tuple(labels), tuple(requests), tuple(stopped))


def wanted_signs(
    batch: Batch, verdicts: Sequence[RolloutVerdicts], helpfulness: Sequence[float | None], rules: Rules
) -> list[Mapping[str, Sign]]:
    """What the scheme looks for in the answer of each row; nothing in a row that gets no verdict, or is empty.

    Args:
        batch: what `prepare` returned.
        verdicts, helpfulness: one entry per row.
        rules: the reward's settings.
    """
    if not rules.scheme.needs_text:
        return [{} for _ in batch.rollouts]

    def signs(row: _Row) -> Mapping[str, Sign]:
        found, outcome = _ended(row, rules.scheme, None)
        if not outcome.is_complete:
            return {}
        return signs_of(rules.scheme, found.assessment(row.helpfulness))

    return [signs(row) for row in _rows(batch, verdicts, helpfulness, rules)]


def search(batch: Batch, wanted: Sequence[Mapping[str, Sign]]) -> list[Shown]:
    """How far each answer shows what is wanted of it; ``guard_error`` if a pattern takes too long on it.

    Only what the policy wrote itself, as content, is searched: not its thinking, its calls, or the results of tools.
    """

    contents = (rollout.content if isinstance(rollout, Rollout) else "" for rollout in batch.rollouts)
    return [search_text(*row) for row in zip(contents, wanted, strict=True)]


def finish(
    batch: Batch,
    verdicts: Sequence[RolloutVerdicts],
    helpfulness: Sequence[float | None],
    found_signs: Sequence[Shown],
    rules: Rules,
    *,
    spec: GuardSpec,
    special_tokens: Sequence[str] = (),
) -> FinishedBatch:
    """Turn verdicts into rewards and table columns.

    Args:
        batch: what `prepare` returned.
        verdicts, helpfulness: one entry per row.
        found_signs: how far each answer shows what the scheme looks for.
        rules: the reward's settings.
        spec: of the guard: what an injection attempt looks like.
        special_tokens: of the guard's tokenizer.
    """

    rows = zip(_rows(batch, verdicts, helpfulness, rules), helpfulness, found_signs, strict=True)
    judged = tuple(_judged(*row, rules, spec, special_tokens) for row in rows)
    columns = table_columns(
        judged,
        labels=rules.prompt_label_column is not None,
        helpfulness=rules.has_helpfulness,
        prompts=rules.scheme.needs_prompt,
        shadow=rules.has_shadow,
        policies=bool(rules.scheme.behaviours),
    )
    return FinishedBatch(judged, columns)


def _judged(
    row: _Row,
    raw_helpfulness: float | None,
    shown: Shown,
    rules: Rules,
    spec: GuardSpec,
    special_tokens: Sequence[str],
) -> JudgedRollout:
    """A row with its reward."""
    scheme, rewards = rules.scheme, rules.outcome_rewards
    readable = row.rollout if isinstance(row.rollout, Rollout) else None
    marks = _typed_marks(readable, spec, special_tokens)
    switched = switched_language(readable)
    found, outcome = _ended(row, scheme, shown)
    if found.forms is not None and found.forms.reason:
        outcome = replace(outcome, reason="; ".join(filter(None, (outcome.reason, found.forms.reason))))
    # What a stream guard cut off is not the policy's whole reply.
    outcome = as_written(outcome, readable, switched, marks, Defences.off() if row.stopped else rules.defences, rewards)
    if row.stopped and row.said.answer is None and not outcome.is_complete:
        # No helpfulness of an answer that is none.
        outcome = RowOutcome(Outcome.EMPTY, "stopped by a stream guard before an answer")
    known = {} if isinstance(shown, Unjudged) else shown
    assessment = found.assessment(row.helpfulness, known) if outcome.is_complete else None
    return JudgedRollout(
        rollout=readable,
        verdicts=found,
        outcome=outcome,
        helpfulness=row.helpfulness,
        raw_helpfulness=raw_helpfulness,
        harmful=row.harmful,
        injection_attempts=len(marks),
        switched_language=switched,
        reward=score_row(outcome, assessment, row.helpfulness, scheme, rewards),
        compliance=None if assessment is None else worst_compliance(scheme, assessment),
    )


class _Row(NamedTuple):
    """A row with its verdicts; its helpfulness is the one within the limits."""

    rollout: Rollout | Unjudged
    harmful: bool | None
    stopped: Severity | None
    said: RolloutVerdicts
    helpfulness: float | None


def _rows(
    batch: Batch, verdicts: Sequence[RolloutVerdicts], helpfulness: Sequence[float | None], rules: Rules
) -> Iterator[_Row]:
    stopped = batch.stopped or [None] * len(batch.rollouts)
    for row in zip(batch.rollouts, batch.harmful, stopped, verdicts, helpfulness, strict=True):
        rollout, harmful, stop, said, raw = row
        value = railed(raw, rules.defences.helpfulness, rollout if isinstance(rollout, Rollout) else None)
        yield _Row(rollout, harmful, stop, said, value)


def _ended(row: _Row, scheme: Scheme, shown: Shown | None) -> tuple[RolloutVerdicts, RowOutcome]:
    """The verdicts that count for a row, and how it ended."""
    found = with_stop(row.said, row.stopped) if row.stopped and isinstance(row.rollout, Rollout) else row.said
    return found, row_outcome(row.rollout, found, row.helpfulness, scheme, shown)


def _read_as(rollout: Rollout | Unjudged, stopped: Severity | None) -> Rollout | Unjudged:
    return as_stopped(rollout) if stopped and isinstance(rollout, Rollout) else rollout


def _requests(rollout: Rollout | Unjudged, stopped: Severity | None, rules: Rules) -> RolloutRequests:
    """What the guard is asked about a rollout."""
    if isinstance(rollout, Unjudged):
        return RolloutRequests()
    if rollout.outcome is Outcome.EMPTY:
        if stopped is None:
            return RolloutRequests()
        # Stopped in its thinking: there is no answer to judge, and the stream guard's verdict stands for it.
        return RolloutRequests(None, None, _prompt_request(rollout) if rules.scheme.needs_prompt else None)
    prompt = _prompt_request(rollout) if rules.scheme.needs_prompt else None
    answer = rollout.joint_conversation() if rules.thinking == "joint" else rollout.answer_conversation()
    is_separate = rules.thinking == "separate" and rollout.thinking is not None
    thinking = rollout.thinking_conversation() if is_separate else None
    try:
        forms = Forms.of(answer, thinking, rules.defences)
    except Exception as error:  # the policy's text is read in many ways, and one row must not stop the others
        logger.error("the other forms of a rollout cannot be found", exc_info=error)
        failed = Unjudged(Outcome.GUARD_ERROR, reason=f"its other forms: {type(error).__name__}: {error}")
        return RolloutRequests(failed, None, prompt)
    return RolloutRequests(answer, thinking, prompt, forms)


def _prompt_request(rollout: Rollout) -> Request:
    role = rollout.messages[-1]["role"]
    if role == "user":
        return Turns(rollout.messages)
    reason = f"the scheme needs a verdict on the prompt, but its last message has the role {role!r}, not 'user'"
    return Unjudged(Outcome.GUARD_ERROR, reason=reason)


def _typed_marks(rollout: Rollout | None, spec: GuardSpec, special_tokens: Sequence[str]) -> list[TypedMark]:
    """What the policy wrote of the guard's prompt or answer."""
    texts = () if rollout is None else (rollout.thinking or "", rollout.policy_text)
    return [mark for text in texts for mark in spec.typed_marks.find(text, special_tokens)]
