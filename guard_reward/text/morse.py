"""Morse code as letters."""

from __future__ import annotations

import re

from guard_reward.text.words import readable, split_words

__all__ = ["without_morse"]

_CODES = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. -....- -..-. .----."
)
_LETTERS = dict(zip(_CODES.split(), "abcdefghijklmnopqrstuvwxyz0123456789.,?-/'", strict=True))
# Whether a code ends is said behind each: behind the whole run, it would be tried again from every code of it.
_RUN = re.compile(r"(?<![^\s\"'(:])[.·•_–—−-]{1,6}(?:[ /|\n]{1,5}[.·•_–—−-]{1,6}(?![^\s\"')/|])){5,}")
_ONE = re.compile(r"[.-]+|[ /|\n]+")
_PLAIN = str.maketrans("·•_–—−", "..----")
_READABLE = 0.75


def without_morse(text: str) -> str:
    """The text with its Morse code as letters, where those are English words.

    >>> without_morse("Do: -- .- -.- . / - . .-"), without_morse("| --- | --- | --- | --- | --- | --- |")
    ('Do: make tea', '| --- | --- | --- | --- | --- | --- |')
    """
    return _RUN.sub(lambda run: _letters(run[0]), text)


def _letters(run: str) -> str:
    parts = _ONE.findall(run.translate(_PLAIN))
    letters = "".join(_LETTERS.get(part, "" if part == " " else " " if part[0] in " /|\n" else "?") for part in parts)
    words = " ".join(split_words(word) if word.isalpha() else word for word in letters.split())
    return words if readable(words) >= _READABLE else run
