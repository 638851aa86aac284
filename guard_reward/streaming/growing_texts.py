"""The texts of token ids that grow: each step decodes what is new, not all of it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["INCOMPLETE", "GrowingTexts"]

INCOMPLETE = "\ufffd"
"""What bytes that are no character yet are shown as."""

_MOST_BYTES = 4  # of a character, each of them a token at worst
_MOST_SILENT = 64  # tokens that show nothing, in front of which the last one that shows something is decoded again


class GrowingTexts:
    """Decodes rows of token ids, without special tokens, while they grow.

    What some tokens add to a text is the difference between the text of the step before's tokens and that of these and
    the new ones: a tokenizer may write the first token of a text otherwise than one in the middle.

    Args:
        tokenizer: of the ids.
        rows: how many texts there are.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rows: int):
        self._tokenizer = tokenizer
        self._texts = [""] * rows
        self._begins = [0] * rows  # the tokens of the step before
        self._ends = [0] * rows

    def __call__(self, ids: Sequence[list[int]]) -> list[str]:
        """The text of each row so far.

        Args:
            ids: all tokens of each row so far.
        """
        spans = list(zip(ids, self._begins, self._ends, strict=True))
        before = self._decoded([row[begin:end] for row, begin, end in spans])
        after = self._decoded([row[begin:] for row, begin, _ in spans])
        return [self._grown(row, *pair) for row, pair in enumerate(zip(ids, before, after, strict=True))]

    def _grown(self, row: int, ids: list[int], before: str, after: str) -> str:
        if not after.startswith(before):
            (text,) = self._decoded([ids])
        else:
            text = self._texts[row] + after[len(before) :]
            if after.endswith(INCOMPLETE) and len(ids) - self._ends[row] < _MOST_BYTES:
                return text  # the next token may complete the character
        if after != before or len(ids) - self._begins[row] > _MOST_SILENT:
            self._begins[row] = self._ends[row]
        self._texts[row], self._ends[row] = text, len(ids)
        return text

    def _decoded(self, ids: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        return texts
