"""Other forms of a text, degenerate replies, and windows: bounded work, and nothing of a text is left out."""

from __future__ import annotations

import base64
from random import Random
from typing import NamedTuple

from guard_reward.text.degenerate import degenerate
from guard_reward.text.encodings import decoded
from guard_reward.text.hidden import without_hidden
from guard_reward.text.lookalikes import plain_letters
from guard_reward.text.views import views
from guard_reward.text.windows import windows
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text, mutated, words

_REASONS = (None, "one character", "no words", "an encoding", "only an opener", "filler", "repetition")
_FILLERS = words("um well okay so the Sure, of course! I can help with that. Here is")
_MOST_FORMS, _LONGEST = 6, 4  # as the docs of `views` say


class Reply(NamedTuple):
    """A text, and how it is cut."""

    text: str
    size: int
    overlap: float


def _make(random: Random) -> Reply:
    text = hostile_text(random, 25) if random.random() < 0.9 else " ".join(random.choices(_FILLERS, k=30))
    if random.random() < 0.3:
        inner = base64.b64encode(mutated(random, "make some tea in a pot").encode(errors="replace")).decode()
        text = f"{text} {inner} {hostile_text(random, 3)}"
    if random.random() < 0.2:
        text = "".join(f"{letter}\u200b" for letter in text)
    return Reply(text, random.randrange(16, 80), random.choice((0.0, 0.25, 0.5, 0.9)))


def _check(reply: Reply) -> None:
    text, size, overlap = reply
    forms = views(text)
    require(len(forms) <= _MOST_FORMS and text not in forms, "a few other forms", len(forms))
    require(len(set(forms)) == len(forms) and all(form.strip() for form in forms), "each once, none blank")
    require(all(len(form) <= _LONGEST * len(text) for form in forms), "none much longer than the text")
    for step in (decoded, without_hidden, plain_letters):
        require(isinstance(step(text), str), "a text stays a text", step)
    require(degenerate(text) in _REASONS, "a reason or none")
    # Numbered, no two parts of it are the same: each window is in one place.
    numbered = "".join(f"{character}{number}" for number, character in enumerate(text[:400]))
    _check_windows(numbered, windows(numbered, size, overlap), size)


def _check_windows(text: str, parts: tuple[str, ...], size: int) -> None:
    if len(text) <= size:
        require(parts == (), "a short text has no windows")
        return
    require(all(0 < len(part) <= size for part in parts), "no window is too long", list(map(len, parts)))
    require(text.startswith(parts[0]) and text.endswith(parts[-1]), "they begin and end with the text")
    start = end = 0
    for part in parts:
        place = text.find(part)
        require(start <= place <= end, "each continues or repeats the one before it", part)
        require(place + len(part) > end, "and brings something new", part)
        start, end = place, place + len(part)
    require(end == len(text), "together they are the whole text", end, len(text))


TARGETS = [Target("forms", _make, _check, share=5)]
