"""Verdicts of a served guard beside those of the same guard in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from guard_reward.guards import TransformersGuard
from guard_reward.guards.served.plain_text import without_control_tokens
from guard_reward.verdict import Unjudged, Verdict

Result = Verdict | Unjudged


def has_control_tokens(guard: TransformersGuard, conversation: Sequence[dict[str, Any]]) -> bool:
    """Whether a message has what a server that renders it would take for a special token."""
    broken = without_control_tokens(conversation, guard._parts.codec.prompter.special_tokens)  # type: ignore[arg-type]
    return any(one["content"] != other["content"] for one, other in zip(conversation, broken, strict=True))


def differing_texts(found: Sequence[Result], expected: Sequence[Result]) -> list[tuple[int, str, str, float]]:
    """The rows whose verdicts have different texts, with the local verdict's lead over the second likeliest severity.

    A small lead says that the two were near each other, so that another order of adding numbers turns them. Blanks at
    the end do not count: `transformers serve` drops the one at which an answer is cut off.
    """
    assert len(found) == len(expected)
    return [
        (number, one.text, other.text, _lead(other))
        for number, (one, other) in enumerate(zip(found, expected, strict=True))
        if (type(one), one.text.rstrip()) != (type(other), other.text.rstrip())
    ]


def _lead(verdict: Result) -> float:
    if isinstance(verdict, Unjudged) or verdict.probabilities is None:
        return float("nan")
    first, second, _ = sorted(verdict.probabilities, reverse=True)
    return first - second


def largest_differences(found: Sequence[Result], expected: Sequence[Result]) -> dict[str, float]:
    """Of the probabilities and the refusal probabilities, over the rows that both have judged."""
    largest = {"severity": 0.0, "refusal": 0.0}
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Unjudged) or isinstance(other, Unjudged):
            continue
        assert (one.refusal_probability is None) == (other.refusal_probability is None)
        if one.refusal_probability is not None and other.refusal_probability is not None:
            largest["refusal"] = max(largest["refusal"], abs(one.refusal_probability - other.refusal_probability))
        assert one.probabilities is not None
        assert other.probabilities is not None
        pairs = zip(one.probabilities, other.probabilities, strict=True)
        largest["severity"] = max(largest["severity"], *(abs(a - b) for a, b in pairs))
    return largest


def outcomes(results: Sequence[Result]) -> Counter[str]:
    """How many rows ended how."""
    return Counter(str(result.outcome) if isinstance(result, Unjudged) else "scored" for result in results)
