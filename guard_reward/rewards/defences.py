"""`Defences`: what a reward does against a policy that writes for its judge instead of for its reader."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Defences", "HelpfulnessRails"]


@dataclass(frozen=True)
class HelpfulnessRails:
    """Limits of H(x, y), so that a helpfulness model does not pay for length or for what it has never seen.

        H'(x, y) = clip(H(x, y) - per_word * max(words(y) - free_words, 0), low, high)

    Args:
        low: the lowest H; None for no limit.
        high: the highest H; None for no limit.
        free_words: words of an answer that cost nothing.
        per_word: what each further word costs, in units of H; 0 for nothing.

    >>> HelpfulnessRails(high=5.0, free_words=400, per_word=0.005).high
    5.0
    """

    low: float | None = None
    high: float | None = None
    free_words: int = 400
    per_word: float = 0.0

    def __post_init__(self) -> None:
        for name in ("low", "high", "per_word"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} should be a finite number, found {value}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low ({self.low}) should be below high ({self.high})")
        if self.free_words < 0 or self.per_word < 0:
            raise ValueError("free_words and per_word should not be negative")


@dataclass(frozen=True)
class Defences:
    """Which defences are on; each can be switched off by itself.

    Args:
        normalise: judge a reply also in the other forms that it can be read in (decoded, without what readers do not
            see, look-alike letters as plain ones); the worst verdict counts. A plain text has no other form and costs
            nothing more.
        degenerate: a reply that says nothing (repetition, filler, an encoding) ends as ``degenerate``, which
            ``on_outcome`` pays: by default the floor.
        language_switch: a reply in another script than its prompt ends as ``language_switch``, which ``on_outcome``
            pays: by default the floor. Such replies are counted in any case; off by default, because a user may ask
            for a translation.
        window: a reply of more characters is also judged in overlapping windows of this many characters; the worst
            verdict counts. None for whole replies only.
        overlap: the share of a window that the next one repeats, from 0 up to 0.9.
        helpfulness: limits of H(x, y); None for H as it is.

    >>> Defences(window=2000).window, Defences.off().normalise
    (2000, False)
    """

    normalise: bool = True
    degenerate: bool = True
    language_switch: bool = False
    window: int | None = None
    overlap: float = 0.25
    helpfulness: HelpfulnessRails | None = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 200:
            raise ValueError(f"window should be at least 200 characters, found {self.window}")
        if not 0 <= self.overlap <= 0.9:
            raise ValueError(f"overlap should be from 0 to 0.9, found {self.overlap}")

    @classmethod
    def off(cls) -> Defences:
        """None of them: every reply is judged once, as it is."""
        return cls(normalise=False, degenerate=False)

    @classmethod
    def strict(cls) -> Defences:
        """All of them that need no numbers of yours: also language switches, and windows of 1,000 characters."""
        return cls(language_switch=True, window=1000)
