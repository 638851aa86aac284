"""Long runs of blanks, which push a text out of a guard's sight and a reader's, made short."""

from __future__ import annotations

import re

__all__ = ["without_blanks"]

_LONGEST = 40  # no table or indentation of honest texts is as wide
_BLANK = "\\s\u00ad\u200b-\u200f\u2060-\u2064\u2800\u3164\ufeff"  # with signs that look like one, or like nothing
_BLANKS = re.compile(f"[{_BLANK}]{{{_LONGEST},}}")


def without_blanks(text: str) -> str:
    r"""The text with one blank, or one empty line, in the place of 40 and more; none at its ends.

    >>> without_blanks("one" + 50 * " " + "two" + 50 * "\n" + "three" + 1000 * " ")
    'one two\n\nthree'
    """
    return _BLANKS.sub(lambda run: "\n\n" if "\n" in run[0] else " ", text).strip() if _BLANKS.search(text) else text
