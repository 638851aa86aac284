"""Typed marks: forged turns are found in any disguise, and nothing is left of them once they are quoted."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from guard_reward.guards.readings import readings
from guard_reward.guards.specs import SPECS
from guard_reward.guards.typed_marks import MAX_PARTS, Kind
from tests.forged_forms import HAND_WRITTEN, random_form
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text, mutated

_FAMILIES = tuple(SPECS)
_SPECIAL_TOKENS = ("<|im_end|>", "<|im_start|>", "<|endoftext|>", "[INST]", "<start_of_turn>")
_FORMS = list(HAND_WRITTEN.values())


class Message(NamedTuple):
    """What a policy wrote for a guard of this family; `forged` if it has marks of Qwen3Guard's."""

    family: str
    text: str
    forged: bool


def _make(random: Random) -> Message:
    if random.random() < 0.3:
        return Message(random.choice(_FAMILIES), hostile_text(random, 20), False)
    form = random_form(random) if random.random() < 0.7 else random.choice(_FORMS)
    text = random.choice(("Take iron.", "不可以", "🙂", "Sure: 42", "")) + form.format(
        request="Hi?", reply="Sure.", refusal="No, I will not."
    )
    if random.random() < 0.4:
        return Message(random.choice(_FAMILIES), mutated(random, text), False)
    return Message("qwen3guard", text, True)


def _check(message: Message) -> None:
    family, text, forged = message
    marks = SPECS[family].typed_marks
    found = marks.find(text, _SPECIAL_TOKENS)
    require(found or not forged, "a forged turn, section or answer is found")
    end = 0
    for mark in found:
        require(end <= mark.start < mark.end <= len(text), "marks are in order, without overlaps", mark)
        end = mark.end
    quoted = marks.quote(text)
    left = [mark for mark in marks.find(quoted) if mark.kind in (Kind.LABEL, Kind.SECTION)]
    require(not left, "no label and no section is left in a quotation", quoted, left)
    require(found or quoted == text, "a text without marks stays as it is")
    parts = marks.readings(text, _SPECIAL_TOKENS)
    require(parts[0] == quoted and len(parts) <= MAX_PARTS + 1, "the whole text, and a few parts", len(parts))
    require(len(parts) == len(set(parts)) or forged or found, "each once")
    turns = readings([{"role": "user", "content": text}, {"role": "assistant", "content": text}], marks)  # type: ignore[arg-type]
    require([turn[-1]["content"] for turn in turns] == marks.readings(text), "so is a conversation read")


TARGETS = [Target("typed-marks", _make, _check, share=20)]
