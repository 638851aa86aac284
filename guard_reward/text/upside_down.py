"""Text turned upside down, with letters that look like turned ones, as text."""

from __future__ import annotations

from guard_reward.text.words import readable

__all__ = ["turned"]

_TURNED = "ɐɔǝɟƃɓᵷɥᴉıɾʞʃןɯɹʇʌʍʎ∀Ɔ⅄Ɐ" + "bdnpquʎ" + "'\"¿¡˙‾"
_UPRIGHT = "acefgggh" + "iijk" + "llmrtvwy" + "ACYA" + "qpudbny" + ",„?!._"
_TABLE = str.maketrans(_TURNED, _UPRIGHT)
_SIGNS = frozenset("ɐǝɟƃɓᵷɥᴉɾʞɯɹʇʌʍʎ")
_FEWEST = 4  # turned letters of a line
_READABLE = 0.6  # share of letters in words; phonetic spelling has less


def turned(text: str) -> str:
    """The text with its lines that are upside down the right way round.

    >>> turned("ɐǝʇ ǝʞɐɯ oʇ ʍoɥ")
    'how to make tea'
    """
    if _SIGNS.isdisjoint(text):
        return text
    return "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    if sum(one in _SIGNS for one in line) < _FEWEST:
        return line
    upright = line.translate(_TABLE)[::-1]
    return upright if readable(upright) >= _READABLE else line
