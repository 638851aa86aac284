"""A quick look at the letters of a text: whether the search for typed marks could find any.

The search (`guard_reward.guards.typed_marks`) looks at every place of a text in many ways; nearly all texts have no
mark. Here only letters and digits are looked at, everything between them is left out, and those that are read as each
other are one. If no mark's letters stand there in a row, the text has no mark. If they do, it may have one: the search
decides.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

from guard_reward.guards.turn_labels import LOOK_ALIKES
from guard_reward.skeleton import Skeleton

__all__ = ["MarkLetters"]

# As `guard_reward.guards.turn_labels` reads them. There "|" is a letter too; a text that has one is always searched.
_READ_ALIKE = {other: group[0] for group in LOOK_ALIKES.values() for other in group[1:] if other != "|"}
_ALPHABET = (string.ascii_uppercase + string.digits).encode()
_ONE_OF_ALIKE = bytes.maketrans("".join(_READ_ALIKE).encode(), "".join(_READ_ALIKE.values()).encode())
_UPPER = bytes.maketrans(string.ascii_lowercase.encode(), string.ascii_uppercase.encode())
_FOLD = bytes(_ONE_OF_ALIKE[_UPPER[code]] for code in range(256))
_NO_LETTERS = bytes(code for code in range(256) if _UPPER[code] not in _ALPHABET)


class MarkLetters:
    """The letters of some marks.

    Args:
        marks: the words of each mark; a mark without a letter would be in every text and is left out.

    >>> letters = MarkLetters(["USER: ", "<END CONVERSATION>"])
    >>> letters.may_be_in("**U s e r**: hi"), letters.may_be_in("How do I use a lamp?")
    (True, False)
    """

    def __init__(self, marks: Iterable[str]):
        words = {mark: [_letters(word) for word in re.findall(r"[^\W_]+", _as_ascii(mark))] for mark in marks}
        self._marks = {b"".join(parts): parts for parts in words.values() if parts}
        self._words = _words_in_all(self._marks.values())

    def may_be_in(self, text: str) -> bool:
        """False if no mark is in the text, in any of the disguises that `guard_reward.skeleton` knows."""
        text = _as_ascii(text)
        if "|" in text:  # a letter, or something between letters
            return bool(self._marks)
        letters = _letters(text)
        for word in self._words:
            if word in letters:
                return any(mark in letters for mark in self._marks)
        return False


def _words_in_all(marks: Iterable[Sequence[bytes]]) -> list[bytes]:
    """A few words of which each mark has one: of marks with a common word only that word is looked for."""
    left, chosen = list(marks), []
    while left:
        counts = Counter(word for mark in left for word in dict.fromkeys(mark))
        chosen.append(max(counts, key=lambda word: (counts[word], len(word))))
        left = [mark for mark in left if chosen[-1] not in mark]
    return chosen


def _as_ascii(text: str) -> str:
    """`text` if it is ASCII, else folded, which is ASCII."""
    return text if text.isascii() else Skeleton(text).folded


def _letters(text: str) -> bytes:
    """The letters and digits of ASCII text in capitals, of those that are read alike always the same one."""
    return text.encode().translate(_FOLD, _NO_LETTERS)
