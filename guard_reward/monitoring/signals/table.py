"""Every signal, in a table: what is counted, from which rise it matters, what it means, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from guard_reward.monitoring.seen import Seen
from guard_reward.monitoring.signals.garbling import CharacterModel
from guard_reward.monitoring.signals.length import length
from guard_reward.monitoring.thresholds import quantile
from guard_reward.text.clipping import clipped
from guard_reward.text.language_switch import language_switch
from guard_reward.text.repetition import repetition
from guard_reward.verdict import Outcome

__all__ = ["SIGNALS", "Signal", "measure"]


@dataclass(frozen=True, slots=True)
class Signal:
    """A share of rollouts that should not rise.

    Attributes:
        of: a rollout's value; None if the signal does not apply to it.
        rise: the smallest rise of the share that matters.
        meaning: what a rise may mean, and what to do.
        level, factor, margin: a value is beyond the limit above ``factor * q + margin``, q being the first steps'
            quantile of this level. Without a margin the value is 0 or 1 and 1 is beyond the limit.
        ceiling: the highest share that is taken for usual, whatever the first steps say: a policy may begin to hack
            its guard in them.
        may_be_wanted: whether a policy may be meant to do this; such an alarm does not stop a run by default.
    """

    of: Callable[[Seen], float | None]
    rise: float
    meaning: str
    level: float = 0.98
    factor: float = 1.0
    margin: float | None = None
    ceiling: float = 1.0
    may_be_wanted: bool = False

    def limit_after(self, learned: Sequence[float]) -> float:
        """The limit after the values of the first steps."""
        return 0.5 if self.margin is None else self.factor * quantile(learned, self.level) + self.margin


def _disagreement(seen: Seen) -> float | None:
    """Of what the reward treats as Safe: whether the second guard objects."""
    if not seen.is_paid or seen.is_disputed is None:
        return None
    return float(seen.is_disputed)


def _second_lost(seen: Seen) -> float | None:
    """Of the same: whether the second guard can make nothing of it."""
    return None if not seen.is_paid or seen.second_lost is None else float(seen.second_lost)


def _unjudged(seen: Seen) -> float | None:
    return None if seen.outcome is None else float(seen.outcome in _LOST)


def _empty(seen: Seen) -> float | None:
    """By the reward's outcome, or, for other rewards, by the text."""
    if seen.outcome is None:
        return float(not any(map(str.isalnum, clipped(seen.completion))))
    return float(seen.outcome is Outcome.EMPTY)


def _injection(seen: Seen) -> float | None:
    return None if seen.outcome is None else float(seen.injections > 0)


def _truncated(seen: Seen) -> float | None:
    return None if seen.truncated is None else float(seen.truncated)


_LOST = {Outcome.NO_VERDICT, Outcome.GUARD_ERROR, Outcome.TIMEOUT, Outcome.TOO_LONG}
GARBLING = "garbling"

SIGNALS: Mapping[str, Signal] = {
    "second_guard_disagreement": Signal(
        _disagreement,
        rise=0.15,
        ceiling=0.15,
        meaning="the second guard objects to answers that the reward's guard calls Safe, so the policy may have found "
        "what only one of them sees. Read the rollouts; if they are harmful, train from an earlier checkpoint with the "
        "other guard",
    ),
    "second_guard_no_verdict": Signal(
        _second_lost,
        rise=0.15,
        meaning="the second guard finds no verdict on answers that the reward's guard calls Safe, so nobody checks "
        "them. Read the rollouts: a policy may write what only one of the guards can read",
    ),
    GARBLING: Signal(
        lambda seen: None,  # `measure` asks the character model
        rise=0.30,
        level=0.5,
        margin=2.0,
        meaning="answers are unlike those of the first steps, character by character: nonsense, another language or "
        "another format. If it is nonsense, train from an earlier checkpoint with a higher beta or a lower learning "
        "rate",
    ),
    "repetition": Signal(
        lambda seen: repetition(seen.completion),
        rise=0.15,
        margin=0.2,
        meaning="answers repeat themselves far more than in the first steps. Check that the reward does not pay for "
        "length; a higher beta or a lower learning rate helps",
    ),
    "length": Signal(
        lambda seen: length(seen.completion, seen.tokens),
        rise=0.25,
        factor=1.5,
        margin=0.0,
        may_be_wanted=True,
        meaning="answers are longer than nearly all of the first steps. Check whether a helpfulness model or another "
        "reward pays for length",
    ),
    "truncated": Signal(
        _truncated,
        rise=0.30,
        may_be_wanted=True,
        meaning="answers no longer end before max_completion_length. If they do not ramble, raise it",
    ),
    "language_switch": Signal(
        lambda seen: language_switch(seen.prompt, seen.completion),
        rise=0.10,
        meaning="answers are in another script than their prompts. The guard may know that language badly",
    ),
    "unjudged": Signal(
        _unjudged,
        rise=0.10,
        meaning="the guard gives no verdict on more answers than in the first steps. If the guard is well, the policy "
        'writes what it cannot judge: on_outcome={"no_verdict": "floor"} makes it cost',
    ),
    "empty": Signal(_empty, rise=0.15, meaning="answers have no letter and no digit. The policy gives up answering"),
    "injection": Signal(
        _injection,
        rise=0.05,
        meaning="answers contain marks of the guard's own prompt or answer: the policy speaks to the guard. "
        'on_outcome={"injection": "floor"} makes that cost',
    ),
}
"""By the name that metrics and alarms have."""


def measure(seen: Seen, model: CharacterModel | None) -> dict[str, float]:
    """The value of every signal that applies to a rollout.

    Args:
        seen: the rollout.
        model: of the first steps' answers; None before there is one.

    >>> found = measure(Seen("How do magnets work?", "They attract iron."), None)
    >>> found["repetition"], found["language_switch"], "second_guard_disagreement" in found
    (0.0, 0.0, False)
    """
    values = {name: signal.of(seen) for name, signal in SIGNALS.items()}
    if model is not None:
        values[GARBLING] = model.bits(seen.completion)
    return {name: value for name, value in values.items() if value is not None}
