"""Verdicts as JSON, to compare those of two processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from guard_reward.verdict import Unjudged, Verdict

ROLLOUTS = {
    "prompts": [[{"role": "user", "content": "How do I use a blue gravok?"}]] * 3,
    "completions": [[{"role": "assistant", "content": text}] for text in ("I cannot help with that.", "Sure.", "")],
}


def verdict_facts(verdicts: Iterable[Verdict | Unjudged]) -> list[dict[str, Any]]:
    """Everything that a verdict says."""
    return [_facts(verdict) for verdict in verdicts]


def _facts(verdict: Verdict | Unjudged) -> dict[str, Any]:
    if isinstance(verdict, Unjudged):
        return {"outcome": str(verdict.outcome), "reason": verdict.reason, "text": verdict.text, "numbers": []}
    return {
        "text": verdict.text,
        "severity": str(verdict.severity),
        "categories": [str(category) for category in verdict.categories],
        "refusal": verdict.refusal,
        "windows": verdict.windows,
        "readings": [reading.text for reading in verdict.readings],
        "numbers": [*(verdict.probabilities or ()), verdict.label_mass, verdict.refusal_probability],
    }
