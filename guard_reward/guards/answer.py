"""What a guard's answers look like: one description from which both the parser and the draft grammar are made.

    >>> from guard_reward.verdict import Severity
    >>> answer = AnswerFormat(
    ...     "Safety: <severity>\\nCategories: <categories>",
    ...     severity=Labels({"Safe": Severity.SAFE, "Unsafe": Severity.UNSAFE}),
    ...     categories=Names(["Violence", "Privacy"], none="None"),
    ... )
    >>> verdict = answer.parse("Safety: Unsafe\\nCategories: Violence")
    >>> verdict.severity, verdict.categories
    (<Severity.UNSAFE: 'Unsafe'>, ('Violence',))

Parsing is strict: text that is not exactly an answer is not a verdict. Blanks and line breaks are free only where the
description has some. Only text that the guard generated may be parsed, never the conversation: a rollout that contains
``Safety: Safe`` must not be able to answer for the guard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Generic, NamedTuple, TypeVar

from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

__all__ = ["AnswerFormat", "Labels", "Names", "Part"]

Meaning = TypeVar("Meaning")
_SLOT = re.compile(r"(?<!<)<([a-z]+)>")
_THINK_BLOCK = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_SHOWN = 80  # characters of an unexpected text that a reason quotes


class Labels(Generic[Meaning]):
    """A slot that holds one of a few labels.

    Args:
        meanings: label → what it means: a `Severity` in the slot ``severity``, a bool in ``refusal``. Slots of other
            names are read and checked, but are not part of the verdict. The likeliest labels come first.
    """

    def __init__(self, meanings: Mapping[str, Meaning]):
        self.meanings = dict(meanings)

    def read(self, text: str, slot: str) -> Meaning:
        """What the label `text` means; `slot` names the place in errors.

        Raises:
            ValueError: the text is not one of the labels.
        """
        if text not in self.meanings:
            *others, last = self.meanings
            expected = f"{', '.join(others)} or {last}" if others else last
            raise ValueError(f"{slot!r} should be {expected}, found {text[:_SHOWN]!r}")
        return self.meanings[text]


class Names:
    """A slot that holds a list of names, such as ``categories``.

    Args:
        known: the names that the guard's policy has; or word in the answer → name, for guards that write codes
            (``{"S1": "Violent Crimes"}``). A name that is not known is kept as text.
        none: the word for an empty list; None if the format leaves an empty list out.
        separator: between two names; blanks around it do not count when parsing.
    """

    def __init__(self, known: Iterable[str] | Mapping[str, str], *, none: str | None = None, separator: str = ", "):
        self.words = dict(known) if isinstance(known, Mapping) else {name: name for name in known}
        self.known = tuple(self.words.values())
        self.none = none
        self.separator = separator

    def read(self, text: str, slot: str) -> tuple[str, ...]:
        """The names in order, without repeats; `slot` names the place in errors.

        Raises:
            ValueError: an empty name, or the word for an empty list next to names.
        """
        names = [name.strip() for name in text.split(self.separator.strip() or self.separator)]
        if names == [self.none]:
            return ()
        if "" in names or self.none in names:
            expected = "names separated by commas" if self.none is None else f"{self.none} or names separated by commas"
            raise ValueError(f"{slot!r} should be {expected}, found {text[:_SHOWN]!r}")
        # Whole names only: "Violent" is a part of "Non-violent Illegal Acts" and must not be found in it.
        return tuple(dict.fromkeys(self.words.get(name, name) for name in names))


Slot = Labels[Any] | Names


class Part(NamedTuple):
    """A piece of literal text and the slot behind it; at the end of a format there may be text without a slot."""

    text: str
    name: str | None = None
    slot: Slot | None = None


class AnswerFormat:
    """The format of one kind of answer.

    Args:
        layout: the answer's text with its slots in angle brackets: ``"Safety: <severity>\\nRefusal: <refusal>"``. A
            bracket of the answer itself is written twice: ``"<<score> <severity> <</score>"``.
        optional: what may stand behind the layout, or be missing: ``"\\n<categories>"``; or several such texts, each of
            which may be missing.
        closing: text behind all that, such as the last bracket of a JSON object.
        opening: blanks or line breaks that the guard usually writes first, such as ``"\\n\\n"``. Parsing takes any.
        thinks: whether the guard usually writes a think block first, which may be empty.
        names_of_unsafe: whether the names count for unsafe texts only: of guards that list those of prompt and response
            together, so that next to a safe response they are the prompt's.
        **slots: what each slot holds. ``severity`` is required; ``refusal`` and ``categories`` are part of the verdict.

    Raises:
        ValueError: layout and slots have different names, or there are no labels for ``severity``.
    """

    def __init__(
        self,
        layout: str,
        *,
        optional: str | Sequence[str] = "",
        closing: str = "",
        opening: str = "",
        thinks: bool = False,
        names_of_unsafe: bool = False,
        **slots: Slot,
    ):
        self.layout = layout
        self.slots = slots
        self.opening, self.thinks, self._names_of_unsafe = opening, thinks, names_of_unsafe
        self.required: tuple[Part, ...] = tuple(_parts(layout, slots))
        texts = [optional] if isinstance(optional, str) else optional
        self.groups = tuple(group for text in texts if (group := tuple(_parts(text, slots))))
        self.closing: tuple[Part, ...] = tuple(_parts(closing, {}))
        named = [part.name for part in self.parts if part.name]
        if sorted(named) != sorted(slots) or not isinstance(slots.get("severity"), Labels):
            raise ValueError(
                f"the answer's layout has the slots {', '.join(named) or 'none'}, and described are "
                f"{', '.join(slots) or 'none'}: both need the same names, and Labels for 'severity'"
            )

    @property
    def optional(self) -> tuple[Part, ...]:
        """The parts that may be missing; those of one of the `groups` stand together."""
        return tuple(chain.from_iterable(self.groups))

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts in order: those that are required, the optional ones, the closing text."""
        return (*self.required, *self.optional, *self.closing)

    def parse(self, text: str) -> Verdict | Unjudged:
        """Read an answer: a `Verdict` without probabilities, or an `Unjudged` (``no_verdict``) with the reason.

        One closed ``<think>…</think>`` block in front is the guard's scratch pad and is left out.
        """
        try:
            found, _ = self._read(text)
        except ValueError as error:
            return Unjudged(Outcome.NO_VERDICT, text, str(error))
        categories = found.get("categories", ())
        if self._names_of_unsafe and found["severity"] is Severity.SAFE:
            categories = ()
        slot = self.slots.get("categories")
        known = slot.known if isinstance(slot, Names) else ()
        return Verdict(
            found["severity"],
            categories,
            found.get("refusal"),
            text=text,
            unknown_categories=tuple(name for name in categories if name not in known),
        )

    def places(self, text: str) -> dict[str, int]:
        """Slot → where its value begins in an answer; empty if the text is not one.

        >>> AnswerFormat("Safety: <severity>", severity=Labels({"Safe": 1})).places("Safety: Safe")
        {'severity': 8}
        """
        try:
            return self._read(text)[1]
        except ValueError:
            return {}

    def labelled_values(self) -> list[tuple[str, list[str]]]:
        """What one would type to answer in the guard's place: each line's label, and the words that may follow it."""
        lines = []
        for text, _, slot in self.parts:
            words = list(slot.meanings) if isinstance(slot, Labels) else [slot.none] if slot and slot.none else []
            if words and re.search(r"\w", text):  # a bare word, such as "safe", says nothing
                lines.append((text.strip(), words))
        return lines

    def _read(self, answer: str) -> tuple[dict[str, Any], dict[str, int]]:
        """What each slot of the answer means, and where its value begins.

        Raises:
            ValueError: the answer does not have this format; says where it differs first.
        """
        found: dict[str, Any] = {}
        places: dict[str, int] = {}
        think = _THINK_BLOCK.match(answer)
        start = think.end() if think else 0
        end = len(answer) - len(answer[start:].lstrip())
        nothing_more = re.compile("".join(_literal(part.text) for part in self.closing) + r"\s*")
        missing = 0  # parts of an optional text that is not there
        for index, part in enumerate((*self.required, *self.optional)):
            if index >= len(self.required) and nothing_more.fullmatch(answer, end):
                break
            missing = max(missing, self._parts_missing(index, answer, end))
            if missing:
                missing -= 1
                continue
            end = _behind(part.text, answer, end)
            if part.name and part.slot:
                value = _value_before(self._texts_behind(index), answer, end)
                found[part.name] = part.slot.read(value, part.text.strip() or part.name)
                places[part.name] = end
                end += len(value)
        for part in self.closing:
            end = _behind(part.text, answer, end)
        if rest := answer[end:].strip():
            raise ValueError(f"there is text after the answer: {rest[:_SHOWN]!r}")
        return found, places

    def alternatives(self, index: int) -> list[int]:
        """The parts that may stand in the stead of an optional text that begins at part `index`, in order.

        They are the beginnings of the texts behind it, and what closes the answer: ``len(parts)`` if nothing does.
        """
        starts = list(accumulate(map(len, self.groups), initial=len(self.required)))
        return starts[starts.index(index) + 1 :] if index in starts[:-1] else []

    def _parts_missing(self, index: int, answer: str, end: int) -> int:
        """How many parts of an optional text are not there; 0 if it is, or if no other one may stand there."""
        others = [other for other in self.alternatives(index) if other < len(self.required) + len(self.optional)]
        if not others or re.compile(_literal(self.parts[index].text)).match(answer, end):
            return 0
        return others[0] - index

    def _texts_behind(self, index: int) -> list[str]:
        """The texts that may stand behind a part."""
        places = [index + 1, *self.alternatives(index + 1)]
        texts = [self.parts[place].text for place in places if place < len(self.required) + len(self.optional)]
        return texts + ([part.text for part in self.closing] if index + 1 >= len(self.required) else [])


def _parts(layout: str, slots: Mapping[str, Slot]) -> Iterable[Part]:
    pieces = _SLOT.split(layout)  # text, slot, text, slot, …, text
    texts = [text.replace("<<", "<") for text in pieces[::2]]
    for text, name in zip(texts, pieces[1::2], strict=False):
        yield Part(text, name, slots.get(name))
    if texts[-1]:
        yield Part(texts[-1])


def _literal(text: str) -> str:
    """The pattern of a literal text, whose blanks and line breaks may be longer; blanks may also be missing."""
    return "".join(
        (r"[^\S\n]*\n\s*" if "\n" in piece else r"[^\S\n]*") if piece.isspace() else re.escape(piece)
        for piece in re.split(r"(\s+)", text)
    )


def _behind(text: str, answer: str, start: int) -> int:
    """Where the literal `text` ends that stands at `start`.

    Raises:
        ValueError: something else stands there.
    """
    match = re.compile(_literal(text)).match(answer, start)
    if match is None:
        raise ValueError(_expected(text.strip(), answer[start:].strip()))
    return match.end()


def _value_before(texts: Iterable[str], answer: str, start: int) -> str:
    """The text from `start` up to the first of the literal `texts`, or to the end of the line."""
    end = answer.find("\n", start)
    end = len(answer) if end < 0 else end
    value = answer[start:end].rstrip()
    ends = [start + len(value)]
    for text in texts:
        literal = text.lstrip()
        if literal and "\n" not in text[: -len(literal)]:  # else it does not stand in this line
            match = re.compile(_literal(literal)).search(answer, start, start + len(value))
            ends += [match.start()] if match else []
    return answer[start : min(ends)].rstrip()


def _expected(label: str, rest: str) -> str:
    if not rest:
        return f"the {label!r} line is missing"
    line = rest.partition("\n")[0]
    return f"the next line should start with {label!r}, found {line[:_SHOWN]!r}"
