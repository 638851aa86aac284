"""Which words tell some texts from others: a hole in a guard is often a phrase.

>>> telling(["Of course. Cut it.", "Of course. Wash it."], ["Sure. Cut it.", "Sure. Wash it."])[0]
Phrase(text='Of course.', share=1.0, elsewhere=0.0)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Phrase", "telling"]

_WORDS = 4  # of a phrase, at most
_DIFFERENCE = 0.2  # of the shares, at least


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words in a row.

    Attributes:
        text: the words.
        share: of the texts that have them.
        elsewhere: share of the other texts that have them.
    """

    text: str
    share: float
    elsewhere: float


def telling(texts: Sequence[str], others: Sequence[str], *, most: int = 5) -> list[Phrase]:
    """Phrases that far more of the texts have than of the others, the most telling first.

    Of phrases that say the same, because they are in the same share of both, the longest stands for all; parts of a
    phrase that is named are left out.
    """
    inside, outside = _counts(texts), _counts(others)
    phrases = [Phrase(text, count / len(texts), outside[text] / max(len(others), 1)) for text, count in inside.items()]
    far = [it for it in phrases if it.share - it.elsewhere >= _DIFFERENCE]
    found: list[Phrase] = []
    for phrase in sorted(far, key=lambda it: (it.elsewhere - it.share, -len(it.text), it.text)):
        if not any(phrase.text in it.text or it.text in phrase.text for it in found):
            found.append(phrase)
    return found[:most]


def _counts(texts: Iterable[str]) -> Counter[str]:
    """In how many texts each phrase is."""
    counts: Counter[str] = Counter()
    for text in texts:
        words = text.split()
        counts.update(
            {
                " ".join(words[start : start + length])
                for length in range(1, _WORDS + 1)
                for start in range(len(words) - length + 1)
            }
        )
    return counts
