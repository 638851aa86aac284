"""Text that exceeds the guard's context: overlapping windows, of which the worst verdict counts. Nothing is cut off.

The judged message is cut into windows that overlap by an eighth. The conversation before it stays whole if it takes at
most half of the tokens; otherwise it is cut into windows too, and each of its parts is shown with each window of the
message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from guard_reward.conversation import Message
from guard_reward.verdict import Severity, Unjudged, Verdict

__all__ = ["split_into_windows", "worst_verdict"]

OVERLAP = 1 / 8
MARGIN = 16  # tokens that may merge differently at the cuts
MIN_TEXT_TOKENS = 64  # with fewer tokens for the text, a window shows the guard nothing

Value = TypeVar("Value", bool, float)
Count = Callable[[Sequence[Message]], int]
"""Tokens of the guard's whole input for a conversation."""
Cut = Callable[[str, int, int], list[str]]
"""(text, tokens per part at most, tokens of overlap) → parts, in order, that cover the text."""


def split_into_windows(
    turns: Sequence[Message], limit: int, count: Count, cut: Cut, labels: Mapping[str, str]
) -> list[list[Message]]:
    """Conversations of at most `limit` tokens that together show all of `turns`.

    Args:
        turns: the conversation.
        limit: tokens of one input.
        count, cut: see `Count` and `Cut`.
        labels: role → what the template writes in front of its turns.

    Raises:
        ValueError: the guard's own instructions take nearly all tokens of the limit.
    """
    *context, last = turns
    blank = {**last, "content": ""}
    role = last["role"]
    # The template needs a first user turn; without context, the judged message is that turn.
    frame = count([blank] if role == "user" else [{"role": "user", "content": ""}, blank])
    space = limit - frame - MARGIN
    if space < MIN_TEXT_TOKENS:
        raise ValueError(f"the guard's own instructions take {frame} of {limit} tokens: nothing is left for the text")
    context_tokens = count([*context, blank]) - frame if context else 0
    contexts: list[list[Message]] = [list(context)]
    if context_tokens > space // 2:
        parts = cut(_as_text(context, labels), space // 2, int(space // 2 * OVERLAP))
        contexts = [[{"role": "user", "content": part}] for part in parts]
        context_tokens = space // 2
    message_space = space - context_tokens
    parts = cut(last["content"], message_space, int(message_space * OVERLAP))
    return [[*before, {**last, "content": part}] for before in contexts for part in parts]


def _as_text(context: Sequence[Message], labels: Mapping[str, str]) -> str:
    """The turns as the template shows them, as one text that can be cut anywhere.

    The label of the first turn is left out: the template writes it. A leading system message has a user's label.
    """
    first, *others = context
    return "\n\n".join([first["content"], *(f"{labels.get(t['role'], '')}{t['content']}" for t in others)])


def worst_verdict(verdicts: Sequence[Verdict | Unjudged], *, of: str = "windows") -> Verdict | Unjudged:
    """One verdict on a conversation that was judged in windows (or `of` something else, for reasons).

    Severity, its probabilities and the text are those of the worst window: by severity, then by P(Unsafe). Categories
    are those of all windows of that severity, in order. The conversation refuses if one of its windows does, so the
    highest P(refusal) counts.

    A window without a verdict could be the worst one, so it decides, unless another window is Unsafe already.
    """
    if len(verdicts) == 1:
        return verdicts[0]
    judged = [verdict for verdict in verdicts if isinstance(verdict, Verdict)]
    unjudged = [verdict for verdict in verdicts if isinstance(verdict, Unjudged)]
    worst = max(judged, key=_badness, default=None)
    if worst is None or (unjudged and worst.severity < Severity.UNSAFE):
        return replace(unjudged[0], reason=f"one of {len(verdicts)} {of}: {unjudged[0].reason}")
    as_bad = [verdict for verdict in judged if verdict.severity is worst.severity]
    return replace(
        worst,
        categories=_distinct(verdict.categories for verdict in as_bad),
        unknown_categories=_distinct(verdict.unknown_categories for verdict in as_bad),
        refusal=_highest(verdict.refusal for verdict in judged),
        refusal_probability=_highest(verdict.refusal_probability for verdict in judged),
        windows=len(verdicts),
    )


def _badness(verdict: Verdict) -> tuple[int, float]:
    return verdict.severity.rank, verdict.probabilities.unsafe if verdict.probabilities else 0.0


def _distinct(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(names)))


def _highest(values: Iterable[Value | None]) -> Value | None:
    """The highest of the values that are there: True above False, the higher probability; None if there is none."""
    return max((value for value in values if value is not None), default=None)
