"""How many words a text has, also in Chinese and Japanese, which write none of them apart."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

__all__ = ["word_count"]


def word_count(text: str) -> int:
    """Runs of letters or digits; each Chinese or Japanese character counts as a word.

    Thai, Lao, Khmer and Burmese write no words apart either: what stands between two blanks counts as one.

    >>> word_count("It's 2 words, isn't it?"), word_count("磁石は鉄を引く"), word_count("…!?")
    (5, 7, 0)
    """
    if text.isascii():
        return len(_ASCII.findall(text))
    return len(_pattern().findall(text))


_ASCII = re.compile(r"[A-Za-z0-9]+(?:'[A-Za-z0-9]+)?")


@cache
def _pattern() -> Any:
    import regex

    cjk = r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}"
    run = rf"[[\p{{L}}\p{{N}}\p{{M}}]--[{cjk}]]+"
    return regex.compile(rf"(?V1)[{cjk}]|{run}(?:['’]{run})?")
