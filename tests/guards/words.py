"""A tokenizer of words, for formats without a model: a word with the blank in front of it is one token."""

from __future__ import annotations

import re

_VOCABULARY: list[str] = []


def encode(text: str) -> list[int]:
    pieces = re.findall(r" ?\w+| ?[^\w\s]|\s", text)
    _VOCABULARY.extend(piece for piece in dict.fromkeys(pieces) if piece not in _VOCABULARY)
    return [_VOCABULARY.index(piece) for piece in pieces]


def decode(tokens: list[int]) -> str:
    return "".join(_VOCABULARY[token] for token in tokens)
