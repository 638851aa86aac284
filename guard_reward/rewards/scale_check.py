"""Whether a scheme's numbers fit the helpfulness model's scale, judged by the rollouts of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from guard_reward.rewards.metrics import JudgedRollout
from guard_reward.schemes import Boundary, Hybrid, SafeCompletion, Scheme
from guard_reward.verdict import Severity, Unjudged, Verdict

__all__ = ["scale_warning"]


def scale_warning(scheme: Scheme, rows: Sequence[JudgedRollout]) -> str | None:
    """What is wrong with the scheme's numbers for the helpfulness of these rows, and the fix; None if nothing is.

    | scheme | is wrong if |
    |---|---|
    | `Hybrid` | safe, non-refusing rows have a helpfulness below the refusal cap: refusing is rewarded like helping |
    | `SafeCompletion` | most helpfulness lies outside `helpfulness_range` and is clipped |
    | `Boundary` | refusals have a helpfulness below `blocked`: being blocked is rewarded more than refusing |
    """
    scheme = scheme.unwrap()
    if isinstance(scheme, Hybrid):
        return _below_cap(scheme, _helpfulness(rows, refusal=False))
    if isinstance(scheme, SafeCompletion):
        return _out_of_range(
            scheme, [row.helpfulness for row in rows if row.outcome.is_complete and row.helpfulness is not None]
        )
    if isinstance(scheme, Boundary):
        return _below_blocked(scheme, _helpfulness(rows, refusal=True))
    return None


def _helpfulness(rows: Sequence[JudgedRollout], *, refusal: bool) -> list[float]:
    """Helpfulness of fully safe rows, filtered by whether they refuse."""
    return [
        row.helpfulness
        for row in rows
        if row.helpfulness is not None
        and isinstance(row.verdicts.answer, Verdict)
        and bool(row.verdicts.answer.refusal) is refusal
        and _is_safe(row.verdicts.answer)
        and (row.verdicts.thinking is None or _is_safe(row.verdicts.thinking))
    ]


def _is_safe(verdict: Verdict | Unjudged) -> bool:
    return isinstance(verdict, Verdict) and verdict.severity is Severity.SAFE


def _below_cap(scheme: Hybrid, values: Sequence[float]) -> str | None:
    below = [value for value in values if value < scheme.refusal]
    if not below:
        return None
    return (
        f"{len(below)} safe, non-refusing rollouts have a helpfulness below the refusal cap (lowest {min(below):.2f}, "
        f"cap {scheme.refusal:.2f}): refusing would be rewarded like helping. The report's caps assume WorldPM's "
        "scale; choose caps below your helpfulness model's usual scores, e.g. schemes.Hybrid(unsafe=-20, refusal=-15)"
    )


def _out_of_range(scheme: SafeCompletion, values: Sequence[float]) -> str | None:
    low, high = scheme.helpfulness_range
    outside = [value for value in values if not low <= value <= high]
    if 2 * len(outside) <= len(values):
        return None
    return (
        f"{len(outside)} of {len(values)} rollouts have a helpfulness outside of {low:.2f} to {high:.2f} (from "
        f"{min(values):.2f} to {max(values):.2f}), which is clipped: they no longer differ. Choose the range by your "
        "helpfulness model's usual scores: schemes.SafeCompletion(helpfulness_range=(low, high))"
    )


def _below_blocked(scheme: Boundary, values: Sequence[float]) -> str | None:
    below = [value for value in values if value < scheme.blocked]
    if not below:
        return None
    return (
        f"{len(below)} refusals have a helpfulness below what blocked output gets (lowest {min(below):.2f}, blocked "
        f"{scheme.blocked:.2f}): complying and being blocked would be rewarded more than refusing. Choose "
        "schemes.Boundary(blocked=...) below what your helpfulness model gives to refusals"
    )
