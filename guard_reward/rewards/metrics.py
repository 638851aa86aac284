"""What a batch of judged rollouts tells the trainer's log: metrics row by row, and columns of the rollouts table.

A metric is logged once per row to which it applies, so that TRL's pooling over rows, steps and ranks gives true rates;
a row to which it does not apply adds nothing: never NaN, never a made-up 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.rollout import Rollout
from guard_reward.verdict import Category, Outcome, Severity, Unjudged, Verdict

__all__ = ["JudgedRollout", "row_metrics", "table_columns"]


@dataclass(frozen=True, slots=True)
class JudgedRollout:
    """One rollout on its way out: what was found, how it ended, what it pays.

    Attributes:
        rollout: None where the row could not be read.
        answer, thinking, prompt: what the guard said; None where it was not asked.
        outcome, reason: how the judging ended, and why where it did not end in a verdict.
        judged: whether all that the reward needs is there: for `scored`, and for `too_long` judged in windows.
        helpfulness: H(x, y), where there is a helpfulness function.
        harmful: whether the prompt is labelled harmful; None without a label.
        injection_attempts: pieces of the guard's prompt or answer format that the policy typed.
        reward: None where the row takes no part in training.
    """

    rollout: Rollout | None
    answer: Verdict | Unjudged | None
    thinking: Verdict | Unjudged | None
    prompt: Verdict | Unjudged | None
    outcome: Outcome
    reason: str
    judged: bool
    helpfulness: float | None
    harmful: bool | None
    injection_attempts: int
    reward: float | None = None


def row_metrics(row: JudgedRollout) -> Iterator[tuple[str, float]]:
    """The metrics of one row, as (name, value); rates are 0 or 1."""
    for outcome in Outcome:
        yield f"outcome/{outcome}", float(row.outcome is outcome)
    yield "injection_attempt_rate", float(row.injection_attempts > 0)
    truncated = row.rollout.truncated if row.rollout is not None else None
    yield "truncation_unknown_rate", float(truncated is None)
    if truncated is not None:
        yield "truncated_rate", float(truncated)
    if row.helpfulness is not None:
        yield "helpfulness", row.helpfulness
    if isinstance(row.answer, Verdict):
        for name, value in _verdict_rates(row.answer):
            yield name, value
            if row.harmful is not None:
                yield f"{name}/{'harmful' if row.harmful else 'benign'}", value
        yield from _category_rates(row.answer)
        if row.answer.probabilities is not None:
            yield "p_unsafe_mean", row.answer.probabilities.unsafe
    if isinstance(row.thinking, Verdict):
        for severity in Severity:
            yield f"thinking/{severity.lower()}_rate", float(row.thinking.severity is severity)
    if isinstance(row.prompt, Verdict):
        for severity in Severity:
            yield f"prompt/{severity.lower()}_rate", float(row.prompt.severity is severity)


def _verdict_rates(verdict: Verdict) -> Iterator[tuple[str, float]]:
    for severity in Severity:
        yield f"{severity.lower()}_rate", float(verdict.severity is severity)
    if verdict.refusal is not None:
        yield "refusal_rate", float(verdict.refusal)


def _category_rates(verdict: Verdict) -> Iterator[tuple[str, float]]:
    for category in Category:
        if category is not Category.JAILBREAK:  # given for prompts only
            yield f"category/{category}", float(category in verdict.categories)
    yield "category/unknown", float(bool(verdict.unknown_categories))


def table_columns(rows: Sequence[JudgedRollout], *, prompts: bool = False) -> dict[str, list[Any]]:
    """Columns of the rollouts table, one value a row; None where a row has none.

    Args:
        rows: of one call.
        prompts: whether prompts are judged. Not to be seen from the rows: a table needs the same columns at every call.
    """

    def of_answers(read: Any) -> list[Any]:
        return [read(row.answer) if isinstance(row.answer, Verdict) else None for row in rows]

    def severities(parts: Iterable[Verdict | Unjudged | None]) -> list[str | None]:
        return [str(part.severity) if isinstance(part, Verdict) else None for part in parts]

    return {
        "severity": severities(row.answer for row in rows),
        "categories": of_answers(lambda verdict: ", ".join(verdict.categories)),
        "refusal": of_answers(lambda verdict: verdict.refusal),
        "p_unsafe": of_answers(lambda verdict: verdict.probabilities.unsafe if verdict.probabilities else None),
        "thinking_severity": severities(row.thinking for row in rows),
        **({"prompt_severity": severities(row.prompt for row in rows)} if prompts else {}),
        "outcome": [str(row.outcome) for row in rows],
        "reason": [row.reason or None for row in rows],
        "truncated": [row.rollout.truncated if row.rollout else None for row in rows],
        "injection_attempts": [row.injection_attempts for row in rows],
    }
