"""What a guard said: severities, categories, verdicts and the parser that reads them.

This room knows the guard's answer format and nothing else: no tokens, no models, no rewards (standard library only).

    >>> verdict = parse_verdict("Safety: Unsafe\\nCategories: Violent, PII\\nRefusal: No")
    >>> verdict.severity, verdict.categories, verdict.refusal
    (<Severity.UNSAFE: 'Unsafe'>, (<Category.VIOLENT: 'Violent'>, <Category.PII: 'PII'>), False)

Only text that the guard itself generated may be given to the parser, never the conversation it judged: a rollout
that contains ``Safety: Safe`` must not be able to answer for the guard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

__all__ = [
    "Category",
    "Conversation",
    "Guard",
    "Outcome",
    "Probabilities",
    "Severity",
    "Unjudged",
    "Verdict",
    "parse_verdict",
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


class Category(StrEnum):
    """The unsafe-content categories of Qwen3Guard (technical report, arXiv 2510.14276, section 2).

    ``JAILBREAK`` is given for prompts only.
    """

    VIOLENT = "Violent"
    NON_VIOLENT_ILLEGAL_ACTS = "Non-violent Illegal Acts"
    SEXUAL_CONTENT = "Sexual Content or Sexual Acts"
    PII = "PII"
    SUICIDE_AND_SELF_HARM = "Suicide & Self-Harm"
    UNETHICAL_ACTS = "Unethical Acts"
    POLITICALLY_SENSITIVE_TOPICS = "Politically Sensitive Topics"
    COPYRIGHT_VIOLATION = "Copyright Violation"
    JAILBREAK = "Jailbreak"


class Outcome(StrEnum):
    """How the judging of one row ended. Every row ends in exactly one of these; none is ever silently 0.

    | outcome | meaning |
    |---|---|
    | ``scored`` | the guard gave a verdict |
    | ``empty`` | there was no text to judge: nothing, or no letter and no digit |
    | ``no_verdict`` | the guard answered, but not with a verdict |
    | ``guard_error`` | the guard could not be asked: malformed row, out of memory, unreachable |
    | ``too_long`` | more text than the guard's context holds; judged in windows where that is possible |
    """

    SCORED = "scored"
    EMPTY = "empty"
    NO_VERDICT = "no_verdict"
    GUARD_ERROR = "guard_error"
    TOO_LONG = "too_long"


class Probabilities(NamedTuple):
    """P(Safe), P(Controversial), P(Unsafe), renormalised over the three labels' first tokens: they sum to 1."""

    safe: float
    controversial: float
    unsafe: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of a guard.

    Attributes:
        severity: Safe, Controversial or Unsafe.
        categories: in the guard's order, without repeats; a name that is no `Category` is kept as plain text.
        refusal: whether the response refuses; None where the guard was asked about a prompt.
        probabilities: of the three severities; None where the guard's logits were not available.
        label_mass: how much of the guard's next-token distribution the three labels held together, in [0, 1];
            near 1 for a trained guard, so a low value says that `probabilities` mean little.
        refusal_probability: P(Yes) against P(No), *given the severity and categories the guard chose*.
        text: the guard's raw lines.
        windows: in how many overlapping windows the text was judged; above 1 the worst window's verdict is given.
    """

    severity: Severity
    categories: tuple[Category | str, ...] = ()
    refusal: bool | None = None
    probabilities: Probabilities | None = None
    label_mass: float | None = None
    refusal_probability: float | None = None
    text: str = ""
    windows: int = 1

    @property
    def unknown_categories(self) -> tuple[str, ...]:
        """The categories that Qwen3Guard's policy does not know, as the guard wrote them."""
        return tuple(name for name in self.categories if not isinstance(name, Category))


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A conversation without a verdict: why (`outcome`, `reason`) and what the guard wrote, if anything (`text`)."""

    outcome: Outcome
    text: str = ""
    reason: str = ""


Conversation = Sequence[Mapping[str, Any]]
"""Chat messages, ``[{"role": "user", "content": "…"}, …]``."""


@runtime_checkable
class Guard(Protocol):
    """Anything that judges conversations. A guard is not a ``torch.nn.Module``: trainers would take it for a policy."""

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message: a user's (or a late system's) as a prompt, else as a response.

        Never raises for a conversation that it cannot judge: that row gets an `Unjudged` with the reason.

        Returns:
            One verdict a conversation, in the same order.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Facts for the run's record: ``guard``, ``revision``, ``template_hash``, ``dtype``, versions, …"""
        ...


_THINK_BLOCK = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
_CATEGORIES = {category.value: category for category in Category}


def parse_verdict(text: str, *, refusal_required: bool = False) -> Verdict | Unjudged:
    """Read the guard's answer, line by line, anchored; whatever is not exactly a verdict is no verdict.

    Args:
        text: what the guard generated, special tokens removed.
        refusal_required: whether a missing ``Refusal:`` line makes it no verdict (true when a response was judged).

    Returns:
        The `Verdict`, without probabilities; otherwise an `Unjudged` with outcome ``no_verdict`` and the reason.

    | the guard's text | decision |
    |---|---|
    | ``Safety:`` + ``Categories:`` + ``Refusal:`` lines, in this order | a verdict |
    | only the first two lines | a verdict with ``refusal=None`` (no verdict if `refusal_required`) |
    | several categories, comma separated | kept in order; a repeat is dropped |
    | a category that the policy does not know | kept as text, listed in `Verdict.unknown_categories` |
    | ``Categories: None`` | no categories, whatever the severity: the guard is taken at its word |
    | categories beside ``Safety: Safe`` | kept, likewise |
    | ``None`` among other categories, an empty category | no verdict |
    | a missing ``Safety:`` or ``Categories:`` line | no verdict |
    | lines in another order, or repeated | no verdict |
    | other text before, between or after the lines | no verdict |
    | another case (``safety: safe``), another label (``Safety: Mostly safe``) | no verdict |
    | blank lines and spaces around a line | ignored |
    | one closed ``<think>…</think>`` block before the lines | ignored: it is the guard's scratch pad |
    | an unclosed ``<think>`` | no verdict |

    >>> parse_verdict("I think this is Safe.").outcome
    <Outcome.NO_VERDICT: 'no_verdict'>
    """
    think = _THINK_BLOCK.match(text)
    answer = text[think.end() :] if think else text
    lines = [line.strip() for line in answer.split("\n") if line.strip()]
    try:
        if len(lines) > 3:
            raise ValueError(f"expected at most three lines, found {len(lines)}")
        severity = _parse_severity(_field(lines, 0, "Safety"))
        categories = _parse_categories(_field(lines, 1, "Categories"))
        refusal = _parse_refusal(_field(lines, 2, "Refusal")) if refusal_required or len(lines) == 3 else None
    except ValueError as error:
        return Unjudged(Outcome.NO_VERDICT, text, str(error))
    return Verdict(severity, categories, refusal, text=text)


def _field(lines: list[str], index: int, name: str) -> str:
    """The value of line `index`, which must be ``name: value``."""
    if index >= len(lines):
        raise ValueError(f"the '{name}:' line is missing")
    key, colon, value = lines[index].partition(":")
    if key != name or not colon:
        raise ValueError(f"line {index + 1} should start with '{name}:', found {lines[index][:80]!r}")
    return value.strip()


def _parse_severity(value: str) -> Severity:
    if value not in _SEVERITY_RANKS:
        raise ValueError(f"'Safety:' should be Safe, Controversial or Unsafe, found {value[:80]!r}")
    return Severity(value)


def _parse_categories(value: str) -> tuple[Category | str, ...]:
    names = [name.strip() for name in value.split(",")]
    if names == ["None"]:
        return ()
    if "" in names or "None" in names:
        raise ValueError(f"'Categories:' should be None or names separated by commas, found {value[:80]!r}")
    # Whole names only: "Violent" is a part of "Non-violent Illegal Acts" and must not be found in it.
    return tuple(dict.fromkeys(_CATEGORIES.get(name, name) for name in names))


def _parse_refusal(value: str) -> bool:
    if value not in ("Yes", "No"):
        raise ValueError(f"'Refusal:' should be Yes or No, found {value[:80]!r}")
    return value == "Yes"
