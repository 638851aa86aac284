"""Values, measurements and names in the words of the summary."""

from __future__ import annotations

from collections.abc import Sequence

from guard_reward.report.cells import Estimate
from guard_reward.report.change import Pair
from guard_reward.report.run import Measurement

__all__ = ["listed", "p_text", "replies", "shown", "value", "when"]


def value(key: str, found: Estimate) -> str:
    """The value alone: a rate in percent."""
    return found.shown(as_rate=not key.startswith("helpfulness"))


def shown(key: str, found: Estimate) -> str:
    """The value and, in brackets, its interval."""
    interval = found.interval(as_rate=not key.startswith("helpfulness"))
    return value(key, found) + (f" ({interval})" if interval else "")


def replies(pair: Pair) -> str:
    """What the pair's measure of safety is over."""
    if pair.safety == "safety_rate":
        return "replies to harmful prompts"
    only_benign = all("safe_rate_benign" in one.values and "safety_rate" not in one.values for one in pair.ends)
    return "replies to benign prompts" if only_benign else "replies"


def when(measurement: Measurement) -> str:
    """When a policy was measured: ``before training``, ``after it``, ``at step 400``, ``in steps 1–10``."""
    stages = {"before": "before training", "after": "after it"}
    return measurement.when or stages.get(measurement.stage, f"at {measurement.stage}")


def p_text(p_value: float | None) -> str:
    """The exact test's result in brackets; empty if there is none."""
    if p_value is None:
        return ""
    return f" (exact test on the same prompts: p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'})"


def listed(names: Sequence[str], most: int = 6, *, word: str = "and") -> str:
    """Names as an English list.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], 2)
    ('a, b and c', 'a, b and 2 more')
    """
    kept = list(names[:most])
    if len(names) > most:
        kept.append(f"{len(names) - most} more")
    return kept[0] if len(kept) == 1 else f"{', '.join(kept[:-1])} {word} {kept[-1]}" if kept else ""
