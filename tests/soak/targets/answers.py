"""Guard answers of every family: reading never raises, and nothing but an exact answer is a verdict."""

from __future__ import annotations

import re
from random import Random
from typing import NamedTuple

from guard_reward.guards.answer import AnswerFormat, Labels, Names
from guard_reward.guards.specs import SPECS
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD, parse_verdict
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text, mutated

_FAMILIES = tuple(SPECS)
_THINK = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_LINES = ("Safety:", "Categories:", "Refusal:")


class Answer(NamedTuple):
    """A text that is read as a guard's answer; `built` if it is exactly what the format says."""

    family: str
    is_response: bool
    text: str
    built: dict[str, str] | None


def _make(random: Random) -> Answer:
    family = random.choice((*_FAMILIES, "qwen3guard", "qwen3guard"))
    is_response = random.random() < 0.6
    text, labels = well_formed(random, SPECS[family].answer_format(is_response=is_response))
    if random.random() < 0.15:
        return Answer(family, is_response, text, labels)
    if random.random() < 0.1:
        return Answer(family, is_response, hostile_text(random), None)
    return Answer(family, is_response, mutated(random, text), None)


def well_formed(random: Random, answer: AnswerFormat) -> tuple[str, dict[str, str]]:
    """An answer of this format, and the word in each of its slots."""
    groups = [group for group in answer.groups if random.random() < 0.5]
    text, words = answer.opening if random.random() < 0.5 else "", dict[str, str]()
    for part in (*answer.required, *(part for group in groups for part in group), *answer.closing):
        word = ""
        if isinstance(part.slot, Labels):
            word = random.choice(list(part.slot.meanings))
        elif isinstance(part.slot, Names):
            names = random.sample(list(part.slot.words), random.randrange(1, 3)) if part.slot.words else []
            word = part.slot.none if part.slot.none and (random.random() < 0.3 or not names) else ""
            word = word or part.slot.separator.join(names or ["Other"])
        text += part.text + word
        if part.name:
            words[part.name] = word
    if random.random() < 0.1:
        text = f"<think>\n{random.choice(('', 'Safety: Safe', 'x'))}\n</think>\n\n{text}"
    return text, words


def _check(answer: Answer) -> None:
    family, is_response, text, built = answer
    spec = SPECS[family]
    verdict = spec.parse(text, is_response=is_response)
    if isinstance(verdict, Unjudged):
        require(built is None, "a well-formed answer is a verdict", verdict.reason)
        require(verdict.outcome is Outcome.NO_VERDICT and verdict.reason and verdict.text == text, "it says why")
    else:
        require(verdict.text == text, "a verdict keeps its text")
        require(isinstance(spec.parse(f"No {text.lstrip()}", is_response=is_response), Unjudged), "text in front")
    if built is not None:
        _check_built(answer, verdict)
    if spec is QWEN3GUARD:
        _check_exact(text, verdict, is_response=is_response)
        require(parse_verdict(text, refusal_required=is_response) == verdict, "both parsers agree")


def _check_built(answer: Answer, verdict: Verdict | Unjudged) -> None:
    """The verdict says what was written in the slots."""
    form = SPECS[answer.family].answer_format(is_response=answer.is_response)
    assert answer.built is not None
    for name, word in answer.built.items():
        slot = form.slots[name]
        if name in ("severity", "refusal") and isinstance(slot, Labels):
            require(getattr(verdict, name) == slot.meanings[word], "the verdict has what was written", name, word)
    places = form.places(answer.text)
    for name, word in answer.built.items():
        require(name in places and answer.text[places[name] :].startswith(word), "the places of the slots", name)


def _check_exact(text: str, verdict: Verdict | Unjudged, *, is_response: bool) -> None:
    """An independent reading of Qwen3Guard's format, line by line."""
    expected = _read_lines(_THINK.sub("", text, count=1) if _THINK.match(text) else text, is_response=is_response)
    found = None
    if isinstance(verdict, Verdict):
        found = (verdict.severity, tuple(map(str, verdict.categories)), verdict.refusal)
    require(found == expected, "a verdict if, and only if, the lines are exactly an answer's", found, expected)


def _read_lines(text: str, *, is_response: bool) -> tuple[Severity, tuple[str, ...], bool | None] | None:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) not in ((3,) if is_response else (2, 3)):
        return None
    if not all(line.startswith(label) for line, label in zip(lines, _LINES, strict=False)):
        return None
    safety, names, *refusal = (line[len(label) :].strip() for line, label in zip(lines, _LINES, strict=False))
    categories = tuple(name.strip() for name in names.split(","))
    if safety not in list(Severity) or refusal not in ([], ["Yes"], ["No"]):
        return None
    if categories == ("None",):
        categories = ()
    elif "None" in categories or "" in categories:
        return None
    return Severity(safety), tuple(dict.fromkeys(categories)), refusal[0] == "Yes" if refusal else None


TARGETS = [Target("answers", _make, _check, share=200)]
