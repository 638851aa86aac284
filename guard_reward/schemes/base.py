"""What a scheme is given (`Assessment`) and what a scheme is (`Scheme`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, NamedTuple

from guard_reward.schemes.values import Controversial
from guard_reward.verdict import Verdict

__all__ = [
    "SCHEMES",
    "Assessment",
    "CallableScheme",
    "Compliance",
    "Scheme",
    "SchemeFunction",
    "Sign",
    "as_scheme",
    "named_scheme",
    "required_helpfulness",
]


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything a scheme knows about one rollout.

    Attributes:
        answer: the verdict on the answer, or on thinking and answer together if they are judged jointly.
        thinking: the verdict on the thinking; None if there is no thinking or it is not judged separately.
        prompt: the verdict on the prompt; None unless the scheme's `needs_prompt` is true.
        helpfulness: H(x, y) on the helpfulness model's own scale; None without such a model.
        shown: how far the answer's text shows what the scheme looks for (`Scheme.looks_for`), by name, from 0 to 1.
            Schemes are not given the text itself: what a policy writes is searched in one place, in the form in which a
            reader sees it and with a time limit (`guard_reward.signs`), and never in the thinking.
    """

    answer: Verdict
    thinking: Verdict | None = None
    prompt: Verdict | None = None
    helpfulness: float | None = None
    shown: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts on what the policy wrote: thinking, if judged separately, and answer."""
        return (self.answer,) if self.thinking is None else (self.thinking, self.answer)


SchemeFunction = Callable[[Assessment], float]
"""Any callable from `Assessment` to float; `as_scheme` turns it into a `Scheme`."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What a scheme looks for in an answer's text: any of these patterns, among words of the answer's own.

    Attributes:
        patterns: phrases, and regular expressions with ``re:`` in front; see `guard_reward.signs`.
        own_words: how many other words must stand beside it to count in full.
        behaviour: what a rubric is asked about instead of the patterns, if the reward has one.
    """

    patterns: tuple[str, ...]
    own_words: int = 0
    behaviour: str = ""


class Compliance(NamedTuple):
    """What was the right behaviour for a row, and how far the row shows it.

    Attributes:
        policy: the name of the behaviour.
        value: from 0 to 1.
        by_default: whether the entry ``default`` of the scheme's table decided alone.
    """

    policy: str
    value: float
    by_default: bool = False


class Scheme(ABC):
    """Maps an `Assessment` to a reward. Subclasses are frozen dataclasses, and picklable.

    A row without something that the scheme needs gets no reward. One case is decided early: if the answer or the
    thinking is Unsafe, the scheme is called even if another part has no verdict. That part is then None.

    Attributes:
        needs_helpfulness: whether the scheme reads `Assessment.helpfulness`.
        needs_probabilities: whether the scheme reads the probabilities in the verdicts.
        needs_prompt: whether the scheme reads `Assessment.prompt`; the guard judges prompts only if it is true.
        needs_refusal: whether the scheme reads `Verdict.refusal` of the answer, which some guards do not say.
        needs_tokens: whether the scheme reads `Verdict.token_scores`, which only stream guards give.
        needs_text: whether the scheme looks for something in the answer's text: see `looks_for`.
        behaviours: the names that `compliance` can give; each becomes a metric.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Length(Scheme):
    ...     weight: float = -0.01
    ...
    ...     def __call__(self, assessment):
    ...         return self.weight * len(assessment.answer.text)
    >>> Length().has_floor, Length().needs_helpfulness
    (False, False)
    """

    # Without annotations, so that dataclasses do not take them for fields.
    needs_helpfulness = False
    needs_probabilities = False
    needs_prompt = False
    needs_refusal = False
    needs_tokens = False
    needs_text = False
    behaviours: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, assessment: Assessment) -> float:
        """The reward of one row; a finite number."""

    def floor(self, helpfulness: float | None = None) -> float:
        """The lowest reward that a row with this helpfulness can get; -inf if there is no lower bound without it.

        Raises:
            NotImplementedError: the scheme does not define a floor (`has_floor` is false).
        """
        raise NotImplementedError(f"{self!r} has no floor(helpfulness), the worst value it can give")

    def looks_for(self, assessment: Assessment) -> Mapping[str, Sign]:
        """What to look for in a row's answer, by name; `Assessment.shown` will say how far it is there.

        Asked only if `needs_text` is true, before the scheme is called, with the same assessment without `shown`.
        """
        return {}

    def compliance(self, assessment: Assessment) -> Compliance | None:
        """How far a row shows the behaviour that is right for its prompt, for the metrics; None if that is unknown."""
        return None

    @property
    def has_floor(self) -> bool:
        """Whether the scheme defines `floor`."""
        return type(self).floor is not Scheme.floor

    @property
    def name(self) -> str:
        """What error messages call the scheme."""
        return type(self).__name__

    def with_controversial(self, controversial: Controversial) -> Scheme:
        """A copy that treats Controversial as told.

        Raises:
            ValueError: the scheme has no field `controversial`, or the field does not allow this value.
        """
        return _with_controversial(self, controversial, self.name)

    def unwrap(self) -> Scheme:
        """The scheme inside a wrapper such as `Soft`; any other scheme returns itself."""
        return self


class CallableScheme(Scheme):
    """A plain callable as a `Scheme`.

    The callable may have the attributes of a scheme: ``needs_helpfulness``, ``needs_probabilities``, ``needs_prompt``,
    ``needs_refusal``, ``needs_tokens``, ``needs_text`` with ``looks_for(assessment)``, ``floor(helpfulness)``, and, if
    it is a dataclass, a field ``controversial``. Two are equal if their functions are.

    Args:
        function: from an assessment to a number.

    Raises:
        ValueError: it needs text and does not say what to look for.

    >>> as_scheme(len)
    <built-in function len>
    """

    def __init__(self, function: SchemeFunction):
        self.function = function
        self.needs_helpfulness = bool(getattr(function, "needs_helpfulness", False))
        self.needs_probabilities = bool(getattr(function, "needs_probabilities", False))
        self.needs_prompt = bool(getattr(function, "needs_prompt", False))
        self.needs_refusal = bool(getattr(function, "needs_refusal", False))
        self.needs_tokens = bool(getattr(function, "needs_tokens", False))
        self.needs_text = bool(getattr(function, "needs_text", False))
        if self.needs_text and not callable(getattr(function, "looks_for", None)):
            raise ValueError(f"{self.name} has needs_text, but no looks_for(assessment), which says what to look for")

    def __call__(self, assessment: Assessment) -> float:
        return self.function(assessment)

    def looks_for(self, assessment: Assessment) -> Mapping[str, Sign]:
        found: Mapping[str, Sign] = self.function.looks_for(assessment)  # type: ignore[attr-defined]
        return found

    def floor(self, helpfulness: float | None = None) -> float:
        if not self.has_floor:
            return super().floor(helpfulness)
        return float(self.function.floor(helpfulness))  # type: ignore[attr-defined]

    @property
    def has_floor(self) -> bool:
        return callable(getattr(self.function, "floor", None))

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def with_controversial(self, controversial: Controversial) -> Scheme:
        return CallableScheme(_with_controversial(self.function, controversial, self.name))

    def __repr__(self) -> str:
        return repr(self.function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CallableScheme) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)


def as_scheme(scheme: object) -> Scheme:
    """A scheme as it is, or a plain callable in a `CallableScheme`.

    Raises:
        ValueError: anything else, or a scheme's class instead of an instance.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if isinstance(scheme, type):
        raise ValueError(f"scheme is a class, not an instance: pass {scheme.__name__}()")
    if not callable(scheme):
        raise ValueError(f"scheme should be a name or a callable from Assessment to float, found {scheme!r}")
    return CallableScheme(scheme)


SCHEMES: dict[str, Callable[[], Scheme]] = {}
"""Plain names of the schemes with their defaults. `guard_reward.schemes.registry` fills it: the table is here only as
long as `Soft` accepts names, because the registry imports `Soft`."""


def named_scheme(name: str) -> Scheme:
    """The scheme with this plain name and its default values.

    Raises:
        ValueError: an unknown name.
    """
    if name not in SCHEMES:
        raise ValueError(f"unknown scheme {name!r}; there are {', '.join(SCHEMES)}, or pass an instance")
    return SCHEMES[name]()


def required_helpfulness(assessment: Assessment, scheme: str) -> float:
    """H(x, y).

    Raises:
        ValueError: the assessment has none; names the `scheme` that needs it.
    """
    if assessment.helpfulness is None:
        raise ValueError(f"the {scheme} scheme needs helpfulness; pass GuardReward(..., helpfulness=...)")
    return assessment.helpfulness


def _with_controversial(scheme: Any, controversial: Controversial, name: str) -> Any:
    has_field = is_dataclass(scheme) and any(field.name == "controversial" for field in fields(scheme))
    if not has_field:
        raise ValueError(f"{name} has no 'controversial'; set it inside the scheme instead")
    return replace(scheme, controversial=controversial)
