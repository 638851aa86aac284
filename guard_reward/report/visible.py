"""Text from outside, as a reader must see it: nothing in it is hidden, and nothing turns the page around.

A rollout can have bidirectional controls, which reorder what stands beside them, invisible characters, which hide words
from the reader but not from a model, and control characters. All of them are shown as signs.
"""

from __future__ import annotations

import re

__all__ = ["visible"]

# Joiners and variation selectors belong to many scripts and emoji, so they are shown only where no such sign is before
# them: after ASCII, after another one, or at the beginning.
_JOINING = r"\u200c\u200d\ufe00-\ufe0f"
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    rf"|(?:(?<=[\x00-\x7f{_JOINING}])|^)[{_JOINING}](?!\u20e3)"
)


def visible(text: str) -> str:
    r"""The text with signs in place of what cannot be seen; line breaks and tabs stay.

    >>> visible("a\x00b\u202ec\ud83d")
    'a␀b⟨U+202E⟩c⟨U+D83D⟩'
    >>> visible("👩‍💻 می‌خواهم")  # joined by invisible characters, as they must be
    '👩\u200d💻 می\u200cخواهم'
    """
    return _HIDDEN.sub(_sign, text.replace("\r\n", "\n"))


def _sign(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
