"""Random texts of the kinds that break readers and writers."""

from __future__ import annotations

import random

_PIECES = [
    "a bomb", "sorry", "mumble", "broken", "hello", "007", "NA", "null", "NaN", "1.50", "-", "", " ", "  ",
    '"', '""', ",", ";", "\t", "\n", "\r\n", "\r", "'", "\\", "\\n", "[", "]", "{", "}", "</think>", "=1+1", "#",
    "\x00", "\x0b", "\x0c", "\x1a", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffe", "\u200b", "é", "e\u0301",
    "火", "😀", "\U0010ffff",
]  # fmt: skip
HALVES = ["\ud800", "\udfff", "\ud83d"]  # of surrogate pairs


def text(rng: random.Random, *, halves: bool = False) -> str:
    """A text of a few odd pieces; with `halves`, sometimes half a surrogate pair."""
    pieces = [rng.choice(_PIECES) for _ in range(rng.randrange(5))]
    if halves and rng.random() < 0.15:
        pieces.append(rng.choice(HALVES))
        # Two halves side by side are one character, in any format.
        pieces.append("x")
    return "".join(pieces)


def corrupted(rng: random.Random, data: bytes) -> bytes:
    """The bytes of a file after an accident."""
    place = rng.randrange(len(data) + 1)
    kind = rng.randrange(4)
    if kind == 0:  # cut off
        return data[:place]
    if kind == 1:  # a byte changed
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    if kind == 2:  # bytes put in
        more = rng.choice([b"\xff", b"\xe9", b"\x00" * 7, b'"', b",", b"\n", b"\xed\xa0\x80"])
        return data[:place] + more + data[place:]
    return data[:place] + data[place + rng.randrange(1, 9) :]  # bytes left out
