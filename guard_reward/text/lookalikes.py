"""Look-alike letters as plain ones: Cyrillic and Greek ones in Latin words, styled ones, accents that no word needs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set
from functools import lru_cache
from string import ascii_letters, ascii_uppercase

from guard_reward.skeleton import Skeleton
from guard_reward.text.words import english_words

__all__ = ["plain_letters"]

_SYMBOLS = "\u249c-\u24e9\U0001f110-\U0001f189\U0001f1e6-\U0001f1ff"  # letters in circles, in squares, of flags
_WORD = re.compile(rf"(?:[^\W\d_]|[{_SYMBOLS}])+")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")
_STYLED_NAME = re.compile(r"CIRCLED|SQUARED|PARENTHESIZED|REGIONAL INDICATOR|LETTER SMALL CAPITAL")
_FEWEST = 3  # letters of a word that is enough by itself; formulas have shorter ones
_STYLED = 0.6  # share of a word's letters; phonetic spelling has some small capitals
_LONG = 6  # letters of a styled word that needs not be English; Japanese has short ones (ＮＨＫ)
_ACCENTED = 0.6  # share of the words with accents that are English without them


def plain_letters(text: str) -> str:
    r"""The text with the look-alikes in its words as plain letters; words of one other script stay.

    >>> plain_letters("h\u043ew to m\u0430k\u0435 it"), plain_letters("ｈｏｗ"), plain_letters("Как дела?")
    ('how to make it', 'how', 'Как дела?')
    """
    if all(one.isascii() or not _WORD.match(one) for one in set(text)):
        return text
    words = {word for word in _WORD.findall(text) if not word.isascii()}
    mixed = {word for word in words if _is_mixed(word) or _is_styled(word)}
    if not any(len(word) >= _FEWEST and _is_sure(word) for word in mixed):
        mixed = set()
    mixed |= {word for word in words if len(word) == 1 and _FLAG.match(word)}  # half a flag
    foreign = {word for word in words - mixed if all(_kind(one) not in ("plain", "styled", "latin") for one in word)}
    changed = mixed | (foreign if _is_written_in_look_alikes(foreign, mixed) else set()) | _needlessly_accented(words)
    return _WORD.sub(lambda word: _plain(word[0]) if word[0] in changed else word[0], text) if changed else text


def _is_mixed(word: str) -> bool:
    """Whether letters of another script that look like Latin ones are among plain ones; not one in front (Δmax, βs)."""
    kinds = [_kind(one) for one in word]
    return "plain" in kinds and ("look-alike" in kinds[1:] or (kinds[0] == "look-alike" and not _is_greek(word[0])))


def _is_styled(word: str) -> bool:
    return sum(_kind(one) == "styled" for one in word) >= _STYLED * len(word)


def _is_sure(word: str) -> bool:
    """Whether a mixed or styled word is no abbreviation and no row of flags."""
    return _is_mixed(word) or _is_english(word) or (len(word) >= _LONG and not _FLAG.search(word))


def _is_written_in_look_alikes(words: Set[str], mixed: Set[str]) -> bool:
    """Whether words of another script, all of them, can be read as Latin ones, and as English."""
    if not words or any(_kind(one) != "look-alike" for word in words for one in word):
        return False
    english = sum(_is_english(word) for word in words)
    return bool(mixed) or (2 * english >= len(words) and any(_is_english(one) and len(one) >= _FEWEST for one in words))


def _needlessly_accented(words: Set[str]) -> set[str]:
    """Words with accents, if most of them are English without."""
    accented = {word for word in words if all(_kind(one) in ("plain", "latin") for one in word)}
    long = [word for word in accented if len(word) >= _FEWEST]
    return accented if sum(map(_is_english, long)) >= max(_FEWEST, _ACCENTED * len(long)) else set()


def _is_english(word: str) -> bool:
    return _plain(word).lower() in english_words()


def _is_greek(character: str) -> bool:
    return "GREEK" in unicodedata.name(character, "")


def _plain(word: str) -> str:
    return "".join(_letter(one) or one for one in word)


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """``plain``, ``styled``, ``latin`` (another Latin letter), ``look-alike`` (another script's) or ``other``."""
    if character.isascii():
        return "plain"
    name = unicodedata.name(character, "")
    if _letter(character) is None:
        return "latin" if name.startswith("LATIN ") else "other"
    if unicodedata.normalize("NFKC", character) in ascii_letters or _STYLED_NAME.search(name):
        return "styled"
    return "latin" if name.startswith("LATIN ") else "look-alike"


@lru_cache(maxsize=4096)
def _letter(character: str) -> str | None:
    """The ASCII letter that it is or looks like."""
    folded = Skeleton(character).folded
    if len(folded) != 1 or folded not in ascii_uppercase:
        return None
    return folded if character.isupper() else folded.lower()
