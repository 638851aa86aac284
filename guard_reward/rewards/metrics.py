"""Judged rollouts as metrics and as columns of the trainer's rollouts table.

A metric is logged once per row to which it applies, so that TRL's pooling over the rows and ranks of one call gives
the call's rate. A row to which it does not apply adds nothing: never NaN, never a made-up 0. TRL then averages the
calls, so each metric's sum and number of rows are logged too, once per call (`guard_reward.log_lines`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from guard_reward.guards.spec import GuardSpec
from guard_reward.log_lines import over, rows_name, sum_name
from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.outcomes import RowOutcome
from guard_reward.rewards.shadow import agreement
from guard_reward.rollout import Rollout
from guard_reward.schemes import Compliance
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

__all__ = ["JudgedRollout", "Metric", "log_rows", "metrics_of", "table_columns"]


@dataclass(frozen=True, slots=True)
class JudgedRollout:
    """Everything that is known about one rollout in the end.

    Attributes:
        rollout: None if the row could not be read.
        verdicts: what the guard said.
        outcome: how the judging ended, and why.
        helpfulness: H(x, y), if there is a helpfulness function, within the limits of `HelpfulnessRails`.
        harmful: whether the prompt is labelled harmful; None without a label.
        injection_attempts: how many pieces of the guard's prompt or answer format the policy typed.
        reward: None if the row takes no part in training.
        compliance: what was right to do and how far the answer does it, if the scheme knows.
        raw_helpfulness: H(x, y) as the helpfulness function gave it.
        switched_language: 1 if the reply is in a script that its prompt neither uses nor asks for, else 0; None if
            unknown.
    """

    rollout: Rollout | None
    verdicts: RolloutVerdicts
    outcome: RowOutcome
    helpfulness: float | None
    harmful: bool | None
    injection_attempts: int
    reward: float | None
    compliance: Compliance | None = None
    raw_helpfulness: float | None = None
    switched_language: float | None = None


class Metric(NamedTuple):
    """A number per row.

    Attributes:
        name: without the reward's own; `guard_reward.log_lines.over` knows which rows it is over.
        of: its value for a row; None if it does not apply to the row.
    """

    name: str
    of: Callable[[JudgedRollout], float | None]


def metrics_of(
    spec: GuardSpec,
    *,
    labels: bool = False,
    helpfulness: bool = False,
    rails: bool = False,
    forms: bool = False,
    thinking: bool = True,
    prompts: bool = False,
    shadow: bool = False,
    tokens: bool = False,
    behaviours: Sequence[str] = (),
) -> tuple[Metric, ...]:
    """Every metric that a reward logs; the same on every call and rank, whatever the rows are.

    Args:
        spec: of the guard, for its categories.
        labels: whether prompts are labelled harmful or benign.
        helpfulness: whether there is a helpfulness function.
        rails: whether its values are limited.
        forms: whether replies are also judged in other forms.
        thinking: whether thinking is judged by itself.
        prompts: whether prompts are judged.
        shadow: whether another guard's verdicts on answers are compared.
        tokens: whether the guard says from which token an answer is flagged.
        behaviours: what the scheme may ask of an answer, by name.
    """
    answers = tuple(_severity_rates("", _answer))
    refusal = Metric("refusal_rate", _if_verdict(_answer, _refusal))
    return (
        *(Metric(f"outcome/{outcome}", partial(_has_outcome, outcome)) for outcome in Outcome),
        Metric("injection_attempt_rate", lambda row: float(row.injection_attempts > 0)),
        Metric("truncation_unknown_rate", lambda row: float(_truncated(row) is None)),
        Metric("truncated_rate", _truncated),
        Metric("language_switch_rate", lambda row: row.switched_language),
        *((Metric("helpfulness", lambda row: row.helpfulness),) if helpfulness else ()),
        *((Metric("raw_helpfulness", lambda row: row.raw_helpfulness),) if helpfulness and rails else ()),
        *((Metric("worse_form_rate", _is_worse), Metric("lost_form_rate", _has_lost)) if forms else ()),
        *answers,
        refusal,
        *(_split((*answers, refusal)) if labels else ()),
        *_category_rates(spec),
        Metric("p_unsafe_mean", _if_verdict(_answer, _p_unsafe)),
        *(_severity_rates("thinking/", lambda row: row.verdicts.thinking) if thinking else ()),
        *(_severity_rates("prompt/", lambda row: row.verdicts.prompt) if prompts else ()),
        *((Metric("shadow/agreement_rate", lambda row: agreement(row.verdicts)),) if shadow else ()),
        *(
            (Metric("first_flagged_token", _if_verdict(lambda row: row.verdicts.answer_as_written, _first_flagged)),)
            if tokens
            else ()
        ),
        *(_compliance_rates(spec, behaviours) if behaviours else ()),
    )


def log_rows(
    log_metric: Callable[[str, float], None], reward: str, metrics: Iterable[Metric], rows: Sequence[JudgedRollout]
) -> None:
    """Log one call's rows: each metric once per row to which it applies, its sum, and the number of these rows.

    Args:
        log_metric: as TRL's trainers pass it.
        reward: the reward's name, in front of the metrics' names.
        metrics: what `metrics_of` returned.
        rows: of one call.
    """
    counts: dict[str, int] = {}
    for metric in metrics:
        values = [value for row in rows if (value := metric.of(row)) is not None]
        for value in values:
            log_metric(f"{reward}/{metric.name}", value)
        log_metric(sum_name(reward, metric.name), float(sum(values)))
        kind = over(metric.name)
        assert kind is not None
        counts[kind] = len(values)
    for kind, count in counts.items():
        log_metric(rows_name(reward, kind), float(count))


_Part = Callable[[JudgedRollout], Verdict | Unjudged | None]


def _answer(row: JudgedRollout) -> Verdict | Unjudged | None:
    return row.verdicts.answer


def _if_verdict(part: _Part, read: Callable[[Verdict], float | None]) -> Callable[[JudgedRollout], float | None]:
    """What `read` says about a part's verdict; None if the part has none."""

    def of(row: JudgedRollout) -> float | None:
        verdict = part(row)
        return read(verdict) if isinstance(verdict, Verdict) else None

    return of


def _severity_rates(prefix: str, part: _Part) -> Iterator[Metric]:
    for severity in Severity:
        yield Metric(f"{prefix}{severity.lower()}_rate", _if_verdict(part, partial(_has_severity, severity)))


def _category_rates(spec: GuardSpec) -> Iterator[Metric]:
    for category in spec.response_categories:
        yield Metric(f"category/{category}", _if_verdict(_answer, partial(_has_category, category)))
    if spec.categories:
        yield Metric("category/unknown", _if_verdict(_answer, partial(_has_unknown_category, spec.categories)))


def _compliance_rates(spec: GuardSpec, behaviours: Sequence[str]) -> Iterator[Metric]:
    """How often each behaviour is right, how far it is shown then, and how often a table has no entry."""
    for behaviour in behaviours:
        yield Metric(f"policy/{behaviour}", partial(_has_policy, behaviour))
        yield Metric(f"compliance/{behaviour}", partial(_compliance, behaviour))
    yield Metric("policy/by_default", lambda row: None if row.compliance is None else float(row.compliance.by_default))
    if spec.categories:
        unknown = _if_verdict(lambda row: row.verdicts.prompt, partial(_has_unknown_category, spec.categories))
        yield Metric("prompt/unknown_category_rate", unknown)


def _split(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """The same metrics, once over harmful and once over benign prompts."""
    for metric in metrics:
        for label in ("harmful", "benign"):
            yield Metric(f"{metric.name}/{label}", partial(_if_labelled, label == "harmful", metric.of))


def _has_policy(behaviour: str, row: JudgedRollout) -> float | None:
    return None if row.compliance is None else float(row.compliance.policy == behaviour)


def _compliance(behaviour: str, row: JudgedRollout) -> float | None:
    return row.compliance.value if row.compliance is not None and row.compliance.policy == behaviour else None


def _if_labelled(harmful: bool, of: Callable[[JudgedRollout], float | None], row: JudgedRollout) -> float | None:
    return of(row) if row.harmful is harmful else None


def _has_outcome(outcome: Outcome, row: JudgedRollout) -> float:
    return float(row.outcome.name is outcome)


def _is_worse(row: JudgedRollout) -> float | None:
    if not isinstance(row.verdicts.answer, Verdict):
        return None
    return float(row.verdicts.forms is not None and row.verdicts.forms.worse is not None)


def _has_lost(row: JudgedRollout) -> float:
    forms = row.verdicts.forms
    return float(forms is not None and forms.lost + forms.left_out > 0)


def _truncated(row: JudgedRollout) -> float | None:
    truncated = row.rollout.truncated if row.rollout is not None else None
    return None if truncated is None else float(truncated)


def _has_severity(severity: Severity, verdict: Verdict) -> float:
    return float(verdict.severity is severity)


def _has_category(category: str, verdict: Verdict) -> float:
    return float(category in verdict.categories)


def _has_unknown_category(known: Sequence[str], verdict: Verdict) -> float:
    return float(any(name not in known for name in verdict.categories))


def _refusal(verdict: Verdict) -> float | None:
    return None if verdict.refusal is None else float(verdict.refusal)


def _first_flagged(verdict: Verdict) -> float | None:
    flagged = None if verdict.token_scores is None else verdict.token_scores.flagged
    return None if flagged is None else float(flagged)


def _p_unsafe(verdict: Verdict) -> float | None:
    return None if verdict.probabilities is None else verdict.probabilities.unsafe


def table_columns(
    rows: Sequence[JudgedRollout],
    *,
    labels: bool = False,
    helpfulness: bool = False,
    prompts: bool = False,
    shadow: bool = False,
    policies: bool = False,
) -> dict[str, list[Any]]:
    """Columns of the rollouts table, one value per row; None if a row has none.

    Args:
        rows: of one call.
        labels: whether prompts are labelled harmful or benign. Passed in, as the next ones are, rather than inferred:
            the table needs the same columns on every call.
        helpfulness: whether there is a helpfulness function.
        prompts: whether prompts are judged.
        shadow: whether another guard's verdicts are compared.
        policies: whether the scheme knows what is right to do.
    """

    def of_answers(read: Any) -> list[Any]:
        return [read(row.verdicts.answer) if isinstance(row.verdicts.answer, Verdict) else None for row in rows]

    def severities(parts: Iterable[Verdict | Unjudged | None]) -> list[str | None]:
        return [str(part.severity) if isinstance(part, Verdict) else None for part in parts]

    return {
        **({"harmful": [row.harmful for row in rows]} if labels else {}),
        "severity": severities(row.verdicts.answer for row in rows),
        "categories": of_answers(lambda verdict: ", ".join(verdict.categories)),
        "refusal": of_answers(lambda verdict: verdict.refusal),
        "p_unsafe": of_answers(lambda verdict: verdict.probabilities.unsafe if verdict.probabilities else None),
        **({"helpfulness": [row.helpfulness for row in rows]} if helpfulness else {}),
        "thinking_severity": severities(row.verdicts.thinking for row in rows),
        **({"prompt_severity": severities(row.verdicts.prompt for row in rows)} if prompts else {}),
        "outcome": [str(row.outcome.name) for row in rows],
        "reason": [row.outcome.reason or None for row in rows],
        "truncated": [row.rollout.truncated if row.rollout else None for row in rows],
        "injection_attempts": [row.injection_attempts for row in rows],
        **({"shadow_severity": severities(row.verdicts.shadow for row in rows)} if shadow else {}),
        **({"policy": [row.compliance and row.compliance.policy for row in rows]} if policies else {}),
        **({"compliance": [row.compliance and row.compliance.value for row in rows]} if policies else {}),
    }
