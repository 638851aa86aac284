"""Characters that a reader does not see, removed; those that encode a text, decoded."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["without_hidden"]

_CONTROLS = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
_RUN = re.compile(f"[{_CONTROLS}]+")
_SIGNS = "=<>~∈∋∣∥≡≤≥⊂⊃⊆⊇∃←→"  # an overlay says "not"
_OVERLAYS = re.compile(f"(?<![{_SIGNS}])[\u0334-\u0338\u20d0-\u20dc\u20e5-\u20f0]+")
_BYTES = {chr(code): byte for byte, code in enumerate([*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])}
_STACK = re.compile("(?<=[ -~])[\u0300-\u036f]{3,}")


def without_hidden(text: str) -> str:
    r"""The text without what is hidden between its letters; emoji and right-to-left texts keep what they need.

    >>> without_hidden("b\u200bo\u00admb"), without_hidden("k\u0336i\u0336l\u0336l\u0336")
    ('bomb', 'kill')
    """
    if text.isascii():
        return text
    text = _RUN.sub(_shown, text)
    return _STACK.sub("", _OVERLAYS.sub("", text))


def _shown(run: re.Match[str]) -> str:
    text, hidden = run.string, run[0]
    before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
    is_flag = before == "\U0001f3f4"  # of a region; its name is in tags
    if encoded := "" if is_flag else _tags(hidden) or _selectors(hidden):
        return encoded
    is_keycap = after == "\u20e3" or (hidden in ("\ufe0e", "\ufe0f") and not before.isascii())
    return hidden if is_keycap or not (_shows_itself(before) or _shows_itself(after)) else ""


def _tags(hidden: str) -> str:
    """ASCII, each character moved to the block of tags."""
    return "".join(chr(ord(one) - 0xE0000) for one in hidden if "\U000e0020" <= one <= "\U000e007e")


def _selectors(hidden: str) -> str:
    """UTF-8, each byte as one of the 256 variation selectors."""
    bytes_ = [_BYTES[one] for one in hidden if one in _BYTES]
    return bytes(bytes_).decode(errors="ignore") if len(bytes_) > 2 else ""


def _shows_itself(character: str) -> bool:
    """Whether it is of a script that needs no invisible characters: a letter with case, a digit, a letter of a flag."""
    is_flag = "\U0001f1e6" <= character <= "\U0001f1ff"
    return is_flag or (character != "" and unicodedata.category(character) in ("Lu", "Ll", "Nd"))
