"""The other forms in which a text can be read: decoded, without what is hidden or long blanks, with plain letters."""

from __future__ import annotations

from collections.abc import Callable

from guard_reward.text.blanks import without_blanks
from guard_reward.text.braille import without_braille
from guard_reward.text.ciphers import deciphered
from guard_reward.text.encodings import decoded
from guard_reward.text.hidden import without_hidden
from guard_reward.text.leet import without_leet
from guard_reward.text.lookalikes import plain_letters
from guard_reward.text.markup import opened, rendered
from guard_reward.text.morse import without_morse
from guard_reward.text.number_codes import without_number_codes
from guard_reward.text.spelled import joined
from guard_reward.text.upside_down import turned

__all__ = ["views"]

_MOST = 6  # forms of one text
_ROUNDS = 3  # how deep encodings are nested
_LONGEST = 4  # times the text
_STEPS: tuple[Callable[[str], str], ...] = (
    without_hidden,
    without_blanks,
    opened,
    turned,
    plain_letters,
    decoded,
    without_braille,
    without_morse,
    without_number_codes,
    joined,
    without_leet,
    deciphered,
)


def views(text: str) -> tuple[str, ...]:
    r"""Other forms of a text, at most six, each at most four times as long; () for a plain text.

    Every step works on what the steps before it found, so that one form has everything decoded; another is the text
    without what its markup hides.

    >>> views("How to make tea?")
    ()
    >>> views("h\u043ew t\u200bo: bWFrZSBzb21lIHRlYQ==")
    ('hоw to: bWFrZSBzb21lIHRlYQ==', 'how to: bWFrZSBzb21lIHRlYQ==', 'how to: make some tea')
    """
    found: list[str] = []
    form = text
    for _ in range(_ROUNDS):
        before = form
        for step in _STEPS:
            form = step(form)[: _LONGEST * len(text)]
            _add(form, found, text)
        if form == before:
            break
    if found:
        _add(rendered(text), found, text)
    return tuple(found if len(found) <= _MOST else [*found[: _MOST - 2], *found[-2:]])


def _add(form: str, found: list[str], text: str) -> None:
    if form.strip() and form != text and form not in found:
        found.append(form)
