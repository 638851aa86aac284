"""Judged rollouts as metrics and as columns of the trainer's rollouts table.

A metric is logged once per row to which it applies, so that TRL's pooling over rows and ranks gives true rates.
A row to which it does not apply adds nothing: never NaN, never a made-up 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.guards.spec import GuardSpec
from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.outcomes import RowOutcome
from guard_reward.rollout import Rollout
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

__all__ = ["JudgedRollout", "row_metrics", "table_columns"]


@dataclass(frozen=True, slots=True)
class JudgedRollout:
    """Everything that is known about one rollout in the end.

    Attributes:
        rollout: None if the row could not be read.
        verdicts: what the guard said.
        outcome: how the judging ended, and why.
        helpfulness: H(x, y), if there is a helpfulness function.
        harmful: whether the prompt is labelled harmful; None without a label.
        injection_attempts: how many pieces of the guard's prompt or answer format the policy typed.
        reward: None if the row takes no part in training.
    """

    rollout: Rollout | None
    verdicts: RolloutVerdicts
    outcome: RowOutcome
    helpfulness: float | None
    harmful: bool | None
    injection_attempts: int
    reward: float | None


def row_metrics(row: JudgedRollout, spec: GuardSpec) -> Iterator[tuple[str, float]]:
    """The metrics of one row, as (name, value); rates are 0 or 1. The categories are those of the guard's `spec`."""
    for outcome in Outcome:
        yield f"outcome/{outcome}", float(row.outcome.name is outcome)
    yield "injection_attempt_rate", float(row.injection_attempts > 0)
    truncated = row.rollout.truncated if row.rollout is not None else None
    yield "truncation_unknown_rate", float(truncated is None)
    if truncated is not None:
        yield "truncated_rate", float(truncated)
    if row.helpfulness is not None:
        yield "helpfulness", row.helpfulness
    if isinstance(row.verdicts.answer, Verdict):
        for name, value in _verdict_rates(row.verdicts.answer):
            yield name, value
            if row.harmful is not None:
                yield f"{name}/{'harmful' if row.harmful else 'benign'}", value
        yield from _category_rates(row.verdicts.answer, spec)
        if row.verdicts.answer.probabilities is not None:
            yield "p_unsafe_mean", row.verdicts.answer.probabilities.unsafe
    if isinstance(row.verdicts.thinking, Verdict):
        for severity in Severity:
            yield f"thinking/{severity.lower()}_rate", float(row.verdicts.thinking.severity is severity)
    if isinstance(row.verdicts.prompt, Verdict):
        for severity in Severity:
            yield f"prompt/{severity.lower()}_rate", float(row.verdicts.prompt.severity is severity)


def _verdict_rates(verdict: Verdict) -> Iterator[tuple[str, float]]:
    for severity in Severity:
        yield f"{severity.lower()}_rate", float(verdict.severity is severity)
    if verdict.refusal is not None:
        yield "refusal_rate", float(verdict.refusal)


def _category_rates(verdict: Verdict, spec: GuardSpec) -> Iterator[tuple[str, float]]:
    for category in spec.response_categories:
        yield f"category/{category}", float(category in verdict.categories)
    if spec.categories:
        yield "category/unknown", float(any(name not in spec.categories for name in verdict.categories))


def table_columns(rows: Sequence[JudgedRollout], *, prompts: bool = False) -> dict[str, list[Any]]:
    """Columns of the rollouts table, one value per row; None if a row has none.

    Args:
        rows: of one call.
        prompts: whether prompts are judged. Passed in rather than inferred: the table needs the same columns on every
            call.
    """

    def of_answers(read: Any) -> list[Any]:
        return [read(row.verdicts.answer) if isinstance(row.verdicts.answer, Verdict) else None for row in rows]

    def severities(parts: Iterable[Verdict | Unjudged | None]) -> list[str | None]:
        return [str(part.severity) if isinstance(part, Verdict) else None for part in parts]

    return {
        "severity": severities(row.verdicts.answer for row in rows),
        "categories": of_answers(lambda verdict: ", ".join(verdict.categories)),
        "refusal": of_answers(lambda verdict: verdict.refusal),
        "p_unsafe": of_answers(lambda verdict: verdict.probabilities.unsafe if verdict.probabilities else None),
        "thinking_severity": severities(row.verdicts.thinking for row in rows),
        **({"prompt_severity": severities(row.verdicts.prompt for row in rows)} if prompts else {}),
        "outcome": [str(row.outcome.name) for row in rows],
        "reason": [row.outcome.reason or None for row in rows],
        "truncated": [row.rollout.truncated if row.rollout else None for row in rows],
        "injection_attempts": [row.injection_attempts for row in rows],
    }
