"""What every guard offers, and what it says: severities, verdicts, and how judging can end without one.

Standard library only: no answer format, no tokens, no models, no rewards.

    >>> verdict = Verdict(Severity.UNSAFE, categories=("Violent",), refusal=False)
    >>> verdict.severity > Severity.SAFE
    True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from guard_reward._renamed import renamed_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AsyncGuard",
    "Conversation",
    "Guard",
    "Outcome",
    "Probabilities",
    "Severity",
    "TokenScores",
    "TokenTrace",
    "TokenVerdict",
    "Unjudged",
    "Verdict",
    "describe_guard",
]


class Severity(StrEnum):
    """The three levels of Qwen3Guard, ordered: ``Severity.SAFE < Severity.CONTROVERSIAL < Severity.UNSAFE``.

    >>> max(Severity.SAFE, Severity.UNSAFE, Severity.CONTROVERSIAL)
    <Severity.UNSAFE: 'Unsafe'>
    """

    SAFE = "Safe"
    CONTROVERSIAL = "Controversial"
    UNSAFE = "Unsafe"

    @property
    def rank(self) -> int:
        """0 for Safe, 1 for Controversial, 2 for Unsafe."""
        return _SEVERITY_RANKS[self.value]

    # A StrEnum would compare alphabetically, which puts Controversial below Safe.
    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


_SEVERITY_RANKS = {"Safe": 0, "Controversial": 1, "Unsafe": 2}


class Outcome(StrEnum):
    """How the judging of one row ended. Every row ends in exactly one of these; none is ever silently 0.

    | outcome | meaning |
    |---|---|
    | ``scored`` | the guard gave a verdict |
    | ``empty`` | there was no text to judge: nothing, or no letter and no digit |
    | ``no_verdict`` | the guard answered, but not with a verdict |
    | ``guard_error`` | the guard could not be asked: malformed row, out of memory, unreachable |
    | ``timeout`` | a served guard did not answer before the call's deadline |
    | ``too_long`` | more text than the guard's context holds; judged in windows if possible |
    | ``injection`` | the policy typed marks of the guard's prompt or answer, and ``on_outcome`` says what that pays |
    | ``degenerate`` | the reply says nothing: repetition, filler (`guard_reward.text.degenerate`) |
    | ``language_switch`` | the reply is in another script than its prompt, and that defence is on |
    """

    SCORED = "scored"
    EMPTY = "empty"
    NO_VERDICT = "no_verdict"
    GUARD_ERROR = "guard_error"
    TIMEOUT = "timeout"
    TOO_LONG = "too_long"
    INJECTION = "injection"
    DEGENERATE = "degenerate"
    LANGUAGE_SWITCH = "language_switch"


class Probabilities(NamedTuple):
    """P(Safe), P(Controversial), P(Unsafe), renormalised over the three labels' first tokens: they sum to 1."""

    safe: float
    controversial: float
    unsafe: float


class TokenScores(NamedTuple):
    """A stream guard's verdicts on the tokens of one message, in short.

    Attributes:
        tokens: how many there are.
        min_safe: the lowest P(Safe) of two tokens in a row, the higher of the two counting.
        mean_safe: the mean P(Safe).
        flagged: the first token from which the message is flagged; None if it is safe.
    """

    tokens: int
    min_safe: float
    mean_safe: float
    flagged: int | None

    @property
    def position(self) -> float:
        """The share of the tokens before the first flagged one; 1 if none is flagged."""
        return 1.0 if self.flagged is None else self.flagged / self.tokens


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of a guard.

    Attributes:
        severity: Safe, Controversial or Unsafe.
        categories: in the guard's order, without repeats; including names that the guard's policy does not have.
        refusal: whether the response refuses; None for a prompt, and for guards that do not say.
        probabilities: of the three severities; None if the guard's logits were not available.
        label_mass: the three labels' probability together in the guard's next-token distribution, in [0, 1]. Near 1
            for a trained guard; if it is low, `probabilities` mean little.
        refusal_probability: P(Yes) against P(No), *given the severity and categories the guard chose*.
        text: the guard's raw lines.
        windows: in how many overlapping windows the text was judged. Above 1, severity, its probabilities and the text
            are the worst window's, categories those of all windows of that severity, and refusal and its probability
            the highest of all windows.
        unknown_categories: those of `categories` that the guard's policy does not have.
        readings: the verdicts of which this one is the worst: on the whole message and on its parts, if it contains
            marks of the guard's own prompt (`guard_reward.guards.readings`), and on its other forms, in a reward
            (`guard_reward.rewards.forms`); empty otherwise.
        flagged_char: where the judged text begins to be flagged, as a number of characters from its beginning; None if
            it is not, for a prompt, and for guards that judge whole texts.
        token_scores: a stream guard's verdicts on the tokens of a response, in short; None for other guards.
    """

    severity: Severity
    categories: tuple[str, ...] = ()
    refusal: bool | None = None
    probabilities: Probabilities | None = None
    label_mass: float | None = None
    refusal_probability: float | None = None
    text: str = ""
    windows: int = 1
    unknown_categories: tuple[str, ...] = field(default=(), compare=False)
    readings: tuple[Verdict, ...] = field(default=(), compare=False, repr=False)
    flagged_char: int | None = field(default=None, compare=False)
    token_scores: TokenScores | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A conversation without a verdict.

    Attributes:
        outcome: why there is none.
        text: what the guard wrote, if anything.
        reason: why, in words.
    """

    outcome: Outcome
    text: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """What a stream guard says at one token of a growing text.

    Attributes:
        token_id: the token.
        risk: of the text, read at this token.
        probabilities: of the three risks.
        category: the likeliest one; empty at a safe token, where it would mean nothing.
        is_flagged: whether two tokens in a row up to here were not safe (`guard_reward.guards.stream_rules`); of a
            prompt, whether this token is not safe.
        severity: of the text up to here, by the official rule.
    """

    token_id: int
    risk: Severity
    probabilities: Probabilities
    category: str
    is_flagged: bool
    severity: Severity


@dataclass(frozen=True, slots=True, eq=False)
class TokenTrace:
    """What a stream guard says at every token of a finished message.

    Attributes:
        token_ids: of the message as the guard reads it, up to the tokens that close its turn, shape (tokens,).
        probabilities: P(Safe), P(Controversial), P(Unsafe) at each token, shape (tokens, 3).
        categories: the likeliest one at each token; empty at a safe token, where it would mean nothing.
        severity: of the message.
        flagged: the token from which it has this severity; None if it is safe.
        flagged_char: the character at which this token begins, counted in the message's text; None if it is safe, and
            for a prompt.
        offsets: where each token begins and ends in the text, shape (tokens, 2); those that close the turn are empty,
            at the end.
        is_thinking: whether each token belongs to the thinking, shape (tokens,).
        text: the message as it was judged.
        windows: in how many parts it was judged because it exceeds the guard's context.
    """

    token_ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    categories: tuple[str, ...]
    severity: Severity
    flagged: int | None
    flagged_char: int | None
    offsets: NDArray[np.int64]
    is_thinking: NDArray[np.bool_]
    text: str
    windows: int = 1

    @property
    def risks(self) -> list[Severity]:
        """The likeliest risk at each token."""
        return [_BY_RANK[rank] for rank in self.probabilities.argmax(axis=1).tolist()]

    @property
    def unsafe_probabilities(self) -> NDArray[np.float32]:
        """P(not safe) at each token, shape (tokens,)."""
        return 1 - self.probabilities[:, 0]


_BY_RANK = tuple(Severity)

Conversation = Sequence[Mapping[str, Any]]
"""Chat messages, ``[{"role": "user", "content": "…"}, …]``."""


@runtime_checkable
class Guard(Protocol):
    """Anything that judges conversations. It must not be a ``torch.nn.Module``: trainers would wrap it.

    A guard may also offer ``amoderate`` (`AsyncGuard`), ``describe() -> dict[str, str]`` (facts for the run's record),
    ``sleep()`` (give the accelerator's memory back), and ``spec`` (`guard_reward.GuardSpec`: its categories and turn
    labels; Qwen3Guard's if missing).
    """

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message: a user's (or a late system's) as a prompt, else as a response.

        Never raises for a conversation that it cannot judge: that row gets an `Unjudged` with the reason.

        Returns:
            One `Verdict` or `Unjudged` per conversation, in the same order.
        """
        ...


@runtime_checkable
class AsyncGuard(Protocol):
    """A guard that can be awaited while it judges."""

    async def amoderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """As `Guard.moderate`."""
        ...


def describe_guard(guard: Any) -> dict[str, str]:
    """A guard's description for the run's record; only its name if it has no ``describe()``.

    >>> class MyGuard:
    ...     name = "mine"
    >>> describe_guard(MyGuard())
    {'guard': 'mine'}
    """
    describe = getattr(guard, "describe", None)
    if callable(describe):
        return dict(describe())
    return {"guard": str(getattr(guard, "name", None) or repr(guard))}


# The names of version 0.1, which belong to one guard family.
__getattr__ = renamed_names(__name__, "Category", "parse_verdict")
