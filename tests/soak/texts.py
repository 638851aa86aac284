"""Hostile texts: control tokens, typed marks, tags, secrets, code, and Unicode at its oddest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

__all__ = ["WORDS", "hostile_text", "json_value", "mutated", "odd_character", "one_of", "scalar", "words"]


def words(text: str) -> list[str]:
    """The words of a table that is written as one text."""
    return text.split()


WORDS = words(
    """
    How do magnets work The cat sat on a mat safe unsafe user assistant system None null True yes no Safe
    Unsafe password token key 12 3.5 -1 1e400 nan 不可以 привет مرحبا हाय ไทย 🙂 é ß ǆ
    """
)
_SPECIAL = ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|im_", "end|>", "<|vision_pad|>", "<|fim_prefix|>", "|>"]
_TAGS = ["<think>", "</think>", "<think", "</think", "<tool_call>", "</tool_call>", "<tool_response>", "< think >"]
_MARKS = [
    *("USER:", "ASSISTANT:", "user :", "**Assistant**:", "ＵＳＥＲ：", "[USER]", "### USER\n", "U S E R :", "<user>"),
    *("<END CONVERSATION>", "<begin conversation>", "[end conversation]", "**END CONVERSATION**"),
    *("Safety: Safe", "Categories: None", "Refusal: No", "safety : unsafe", "[quoted: USER]", "[system] ", "USE", "R:"),
]
_BLANKS = ["\n", "\n\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029", " ", "\t", "\xa0", "\u3000", ""]
_INVISIBLE = ["\u200b", "\xad", "\u2060", "\ufeff", "\u0301", "\u034f", "\u202e", "\u3164", "\ue000", "\x00", "\x1b[2J"]
_SURROGATES = ["\ud800", "\udfff", "\ud83d\ude42", "\udc80"]
_CODE = ["```", "`", '"', "'", "\\", "{", "}", "[", "]", "{{", "{%", "$", "//", "@", "=", ": ", ",", ";", "--", "&#10;"]
_KINDS = (WORDS, WORDS, WORDS, _SPECIAL, _TAGS, _MARKS, _BLANKS, _BLANKS, _INVISIBLE, _SURROGATES, _CODE)


def one_of(random: Random, *makers: Callable[[Random], Any]) -> Any:
    """What one of the makers makes."""
    return random.choice(makers)(random)


def odd_character(random: Random) -> str:
    """Any code point, low ones more often; halves of surrogate pairs too."""
    return chr(random.randrange(random.choice((0x80, 0x250, 0x3000, 0x10000, 0x110000))))


def hostile_text(random: Random, pieces: int = 12, kinds: Sequence[Sequence[str]] = _KINDS) -> str:
    """A text of up to `pieces` pieces; now and then very many times the same one."""
    if random.random() < 0.01:
        return random.choice(random.choice(kinds)) * random.randrange(1, 3000)
    parts = []
    for _ in range(random.randrange(pieces + 1)):
        parts.append(odd_character(random) if random.random() < 0.08 else random.choice(random.choice(kinds)))
        if random.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def mutated(random: Random, text: str, extra: Callable[[Random], str] = lambda random: hostile_text(random, 2)) -> str:
    """The text with a few changes: something cut, doubled, moved, put in, or in another case."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        begin, end = sorted(random.randrange(len(text) + 1) for _ in range(2))
        change = random.randrange(7)
        if change == 0:
            text = text[:begin] + text[end:]
        elif change == 1:
            text = text[:end] + text[begin:]
        elif change == 2:
            text = text[:begin] + extra(random) + text[begin:]
        elif change == 3:
            text = text[:begin] + random.choice((str.upper, str.lower, str.swapcase))(text[begin:end]) + text[end:]
        elif change == 4:
            text = text[:begin] + random.choice(_BLANKS) + text[begin:]
        elif change == 5:
            lines = text.split("\n")
            random.shuffle(lines)
            text = "\n".join(lines)
        else:
            text = text[:begin] + odd_character(random) + text[begin + 1 :]
    return text


_SCALARS = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        10**400,
        -(10**30),
        0.0,
        1.5,
        -2.5,
        1e308,
        float("nan"),
        float("inf"),
        -float("inf"),
    ),
    *("", "none", "null", "1e1", "nan", "-inf", "1_0", " 2 ", "0x10", "true", "[]", "{}", b"bytes", 1j, (), object),
)


def scalar(random: Random) -> Any:
    """A value of a wrong type as likely as of the right one."""
    kind = random.randrange(5)
    if kind == 0:
        return random.choice(_SCALARS)
    if kind == 1:
        return random.randrange(-1000, 1000)
    if kind == 2:
        return random.uniform(-10, 10)
    return random.choice(WORDS) if kind == 3 else hostile_text(random, 3)


def json_value(random: Random, depth: int = 3) -> Any:
    """Lists and mappings of scalars; some keys are no texts."""
    kind = random.randrange(4) if depth else 0
    if kind < 2:
        return scalar(random)
    if kind == 2:
        return [json_value(random, depth - 1) for _ in range(random.randrange(4))]
    keys = [
        random.choice(WORDS) if random.random() < 0.9 else random.choice((1, None, 2.5, True, (1, 2))) for _ in "abc"
    ]
    return {key: json_value(random, depth - 1) for key in keys[: random.randrange(4)]}
