"""Log-probabilities of an answer's labels, from what a server tells about each place of the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from guard_reward.guards.answer import AnswerFormat, Labels
from guard_reward.guards.grammar import AnswerGrammar

__all__ = ["decision_log_probs", "label_log_probs"]


def decision_log_probs(
    grammar: AnswerGrammar, token_ids: Sequence[int], by_id: Sequence[Mapping[int, float]]
) -> dict[str, list[float]]:
    """Name of each decision that the answer passes → the log-probabilities of its tokens at that place.

    Args:
        grammar: of the answer.
        token_ids: the answer.
        by_id: at each of its places, token id → log-probability. A token that is not there has none (minus infinity):
            of a server that gives the likeliest tokens only, all others are less likely.
    """
    found: dict[str, list[float]] = {}
    state = grammar.start
    for token, known in zip(token_ids, by_id, strict=False):
        decision = grammar.decision(state)
        if decision is not None and any(option in known for option in decision.token_ids):
            found[decision.name] = [known.get(option, -math.inf) for option in decision.token_ids]
        state = grammar.step(state, token)
    return found


def label_log_probs(
    answer: AnswerFormat, text: str, by_text: Sequence[tuple[str, Mapping[str, float]]]
) -> dict[str, dict[str, float]]:
    """Slot → label → log-probability, from tokens as text. A token counts for the one label that it begins.

    Args:
        answer: the format.
        text: the answer.
        by_text: at each place of the answer: the token, and text → log-probability of the likeliest tokens.
    """
    ends, length = [], 0
    for token, _ in by_text:
        length += len(token)
        ends.append(length)
    whole = "".join(token for token, _ in by_text)
    stripped = _blanks(whole) - _blanks(text)  # some servers strip the answer, but not its tokens
    found: dict[str, dict[str, float]] = {}
    for name, start in answer.places(text).items():
        slot = answer.slots[name]
        place = next((index for index, end in enumerate(ends) if end > start + stripped), None)
        line = text[: start + len(text[start:].partition("\n")[0])].strip()
        if not isinstance(slot, Labels) or place is None or not whole.lstrip().startswith(line):
            continue
        before = whole[ends[place] - len(by_text[place][0]) : start + stripped]  # of the token, in front of the label
        masses = _masses(slot.meanings, before, by_text[place][1])
        if masses:
            found[name] = {label: math.log(mass) for label, mass in masses.items()}
    return found


def _blanks(text: str) -> int:
    """How many blanks are in front."""
    return len(text) - len(text.lstrip())


def _masses(labels: Mapping[str, object], before: str, known: Mapping[str, float]) -> dict[str, float]:
    """Label → the probability that the tokens have together which begin it and no other one."""
    masses: dict[str, float] = {}
    for token, value in known.items():
        piece = token[len(before) :] if token.startswith(before) else token
        begun = [label for label in labels if piece.strip() and label.startswith(piece.strip())]
        if len(begun) == 1:
            masses[begun[0]] = masses.get(begun[0], 0.0) + math.exp(value)
    return {label: mass for label, mass in masses.items() if mass > 0.0}
