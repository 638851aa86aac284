"""Where each token of a policy stands in the text that its tokens make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["token_ends", "tokens_at"]

_INCOMPLETE = "\ufffd"  # what a tokenizer shows for a part of a character's bytes
_LONGEST_CHARACTER = 4  # tokens; what is incomplete behind so many is no character


def token_ends(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, NDArray[np.int64]]:
    """The text of some tokens, without control tokens, and how many of its characters stand before each token's end.

    Each token is decoded behind the one before it, because some tokenizers drop a blank in front of what they decode.
    Of a character that several tokens make, the last one has it. Takes time linear in the tokens.

    Returns:
        The text, and shape (tokens,).
    """

    def decode(part: Sequence[int]) -> str:
        text: str = tokenizer.decode(part, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    text, ends = decode(ids), list[int]()
    before, begin, known = 0, 0, 0  # tokens that are decoded again, tokens and characters that are whole
    for number in range(len(ids)):
        new = decode(ids[before : number + 1])[len(decode(ids[before:begin])) :]
        if new.endswith(_INCOMPLETE) and number + 1 - begin < _LONGEST_CHARACTER:
            ends.append(known + len(new.rstrip(_INCOMPLETE)))
            continue
        before, begin, known = begin, number + 1, known + len(new)
        ends.append(known)
    found = np.minimum(np.array(ends, dtype=np.int64), len(text))
    found[len(found) - 1 :] = len(text)
    return text, found


def tokens_at(ends: NDArray[np.int64], characters: NDArray[np.int64]) -> NDArray[np.int64]:
    """The token that each character belongs to; the last one for what stands behind all.

    Args:
        ends: of the tokens, as `token_ends` gives them, at least one.
        characters: their numbers.

    >>> tokens_at(np.array([3, 3, 5]), np.array([0, 2, 3, 9])).tolist()
    [0, 0, 2, 2]
    """
    return np.minimum(np.searchsorted(ends, characters, side="right"), len(ends) - 1)
