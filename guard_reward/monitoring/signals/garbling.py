"""Garbling without a language model: how surprising a text is to a character model of the first steps' answers.

A policy that drifts into nonsense writes character sequences that it did not write in the beginning. The model is
interpolated counts of up to five characters (each order is smoothed by the one below it, MacKay and Peto 1995), in
hashed tables. It knows no language, so it works in all of them, and on invented words; a new language is
as surprising to it as noise.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from guard_reward.text.clipping import characters, clipped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CharacterModel"]

_BITS = 18  # of a bucket's number. 2**16 buckets fill up with natural language, and another language looks usual
_BUCKETS = 1 << _BITS  # per order
_FACTOR = 0x9E3779B97F4A7C15
_UNSEEN = 1 / 4096  # probability of a character that was never seen: 12 bits, the most
_FITTED = 1024  # characters of a text that the model learns
_OWN = 12  # characters for which a text counts as usual, so that one odd letter in a short text is no alarm


class CharacterModel:
    """Counts of character sequences, and the bits per character of a text under them.

    >>> model = CharacterModel()
    >>> model.fit(["First cut the florn, then wash the florn."] * 8)
    >>> usual, noise = model.bits("Then cut the florn."), model.bits("xq zvv kjw pwx qq zt")
    >>> usual < 2 < 4 < noise
    True
    """

    def __init__(self, order: int = 4, weight: float = 1.0):
        """A model without counts.

        Args:
            order: characters of context, at most.
            weight: of the order below, in observations.
        """
        import numpy as np

        self.order = order
        self.weight = weight
        self._contexts = np.zeros((order + 1, _BUCKETS), np.uint32)
        self._sequences = np.zeros((order + 1, _BUCKETS), np.uint32)
        self._usual = 0.0

    def fit(self, texts: Iterable[str]) -> None:
        """Add the counts of some texts."""
        import numpy as np

        texts = list(texts)
        hashes = [self._hashes(clipped(text, _FITTED)) for text in texts]
        for order, found in enumerate(zip(*hashes, strict=True)):  # of all texts
            for counts, buckets in zip((self._contexts, self._sequences), zip(*found, strict=True), strict=True):
                counts[order] += np.bincount(np.concatenate(buckets), minlength=_BUCKETS).astype(np.uint32)
        bits = [self.bits(text) for text in texts]
        self._usual = float(np.mean(bits)) if bits else 0.0

    def bits(self, text: str) -> float:
        """Bits per character of a text, from 0 to 12; a short text is moved towards the mean of those that were fitted.

        Args:
            text: any; of a very long one beginning and end.
        """
        import numpy as np

        text = clipped(text)
        if not text:
            return self._usual
        probability: Any = _UNSEEN
        for order, (context, sequence) in enumerate(self._hashes(text)):
            # A hashed sequence may be counted more often than its hashed context: never above 1.
            seen = np.minimum(self._sequences[order][sequence], self._contexts[order][context])
            probability = (seen + self.weight * probability) / (self._contexts[order][context] + self.weight)
        total = float(-np.log2(np.maximum(probability, _UNSEEN)).sum())
        return (total + _OWN * self._usual) / (len(text) + _OWN)

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values, up to a few hundred kilobytes; hashes and counts, no text."""
        import numpy as np

        counts = np.concatenate([self._contexts, self._sequences]).clip(max=0xFFFF).astype("<u2")
        packed = base64.b64encode(zlib.compress(counts.tobytes(), 9)).decode()
        return {"order": self.order, "weight": self.weight, "usual": self._usual, "counts": packed}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> CharacterModel:
        """The model that `to_json` saved."""
        import numpy as np

        model = cls(int(saved["order"]), float(saved["weight"]))
        counts = np.frombuffer(zlib.decompress(base64.b64decode(saved["counts"])), "<u2").astype(np.uint32)
        model._contexts, model._sequences = counts.reshape(2, model.order + 1, _BUCKETS)
        model._usual = float(saved["usual"])
        return model

    def _hashes(self, text: str) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Per order from 0: the buckets of each character's context, and of context and character."""
        import numpy as np

        codes = characters(text) + np.uint64(1)
        padded = np.concatenate([np.zeros(self.order, np.uint64), codes])
        context: Any = np.zeros(len(codes), np.uint64)
        for order in range(self.order + 1):
            if order:
                before = padded[self.order - order : len(padded) - order]
                context = context * np.uint64(_FACTOR) + before * np.uint64(31) + np.uint64(order)
            yield _bucket(context), _bucket(context * np.uint64(_FACTOR) + codes * np.uint64(0xBF58476D1CE4E5B9))


def _bucket(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    import numpy as np

    mixed = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(_FACTOR)
    return (mixed >> np.uint64(64 - _BITS)).astype(np.int64)
