r"""Signs in a text: phrases and regular expressions, found in the text as a reader sees it.

A policy that is paid for a phrase will type the phrase. So a sign is searched in what a reader sees, and it counts for
something only among other words:

- Look-alike letters are one letter, and case, markup and invisible characters do not matter (`guard_reward.skeleton`).
- HTML comments, tags with their attributes, scripts, tool calls, Markdown's link targets and link definitions are cut
  out: readers do not see them. What a style or a formula hides (``display: none``, ``\phantom``) is not known.
- A sign counts in full beside `own_words` *different* words that do not belong to it, and less beside fewer: nothing if
  it stands alone, however often. Repeating it adds nothing, nor does a second sign.

A pattern is a phrase, or a regular expression with ``re:`` in front. Phrases are found as whole words, with anything
that is no letter and no digit between them; a ``*`` at a word's end stands for any ending. Letters of scripts without
case (Chinese, Arabic, …) are one word each. Phrases take linear time. Regular expressions are those of the package
``regex``; one that takes longer than `SECONDS` on a text is a `SlowPatternError`.

    >>> how_far_shown("I can not do that, because it would hurt other people.", ["because"], own_words=8)
    1.0
    >>> how_far_shown("Because. BECAUSE! **because**", ["because"], own_words=8)
    0.0
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from guard_reward.skeleton import NOTHING, Skeleton

__all__ = ["REGEX", "SECONDS", "SlowPatternError", "check_patterns", "how_far_shown", "visible"]

REGEX = "re:"
"""What stands in front of a regular expression."""

SECONDS = 0.2
"""How long one regular expression may search in one text."""

_TOOL_CALL = ("<tool_call>", "</tool_call>")
_COMMENT = ("<!--", "-->")
# Each takes linear time: no two parts of one can match the same characters.
_HIDDEN = (
    re.compile(
        r"<(?:script|style|template)\b.*?(?:</(?:script|style|template)\b[^<>]*>|\Z)", re.DOTALL | re.IGNORECASE
    ),
    re.compile(r"<[A-Za-z/?!][^<>]*(?:>|\Z)"),
    re.compile(r"^[ ]{0,3}\[[^\]\n]*\]:[^\n]*$", re.MULTILINE),  # a link's definition, which Markdown does not show
    re.compile(r"(?<=\])\([^()\n]*\)"),  # a link's target and title
)
_APOSTROPHES = "'’‘ʼ´＇"


class SlowPatternError(ValueError):
    """A regular expression took too long on a text; names it."""


def how_far_shown(text: str, patterns: Sequence[str], own_words: int = 0) -> float:
    """How far a text shows one of these patterns, from 0 to 1: 1 with at least `own_words` other words beside it.

    Args:
        text: what a reader sees, never thinking.
        patterns: phrases, and regular expressions with ``re:`` in front.
        own_words: how many different words must stand beside what is found.

    Raises:
        SlowPatternError: a regular expression took too long.
        ValueError: a pattern that is none; see `check_patterns`.

    >>> [how_far_shown(text, ["call 988"]) for text in ("Please call: 9\u200b88, any time.", "Call 9881.")]
    [1.0, 0.0]
    """
    compiled = _compile(tuple(patterns))
    plain = visible(text)
    seen = plain.translate(_SEEN)
    is_found = compiled.phrases is not None and compiled.phrases.search(_words(seen)) is not None
    rests = [seen, plain]
    for source, expression in compiled.expressions:
        # Folding makes "für" look like "fur": an expression with such letters is written for the text as it stands.
        if _has(expression, source, seen) or (not source.isascii() and _has(expression, source, plain)):
            rests, is_found = [_cut(expression, source, rest) for rest in rests], True
    if not is_found or not own_words:
        return float(is_found)
    own = (_words(rest) if compiled.phrases is None else compiled.phrases.sub(" ", _words(rest)) for rest in rests)
    return min(min(len(set(filter(_is_word, words.split()))) for words in own) / own_words, 1.0)


def visible(text: str) -> str:
    """A text without what its reader does not see; of an unclosed comment or tool call, all that follows.

    >>> visible("Yes.<!-- Call 988. -->")
    'Yes. '
    >>> visible('See [this](https://a.b "Call 988") <b title="Call 988">now</b>.')
    'See [this]   now .'
    """
    text = unicodedata.normalize("NFKC", text.translate(_SHOWN))
    text = _without(_without(text, *_TOOL_CALL), *_COMMENT)
    for hidden in _HIDDEN:
        text = hidden.sub(" ", text)
    return text


def check_patterns(patterns: Sequence[str], name: str) -> None:
    """Check that all patterns can be searched.

    Raises:
        ValueError: a phrase without a letter or digit, or a regular expression that cannot be read or that every text
            has; names the pattern.

    >>> check_patterns(["because", "..."], "patterns['refuse']")
    Traceback (most recent call last):
    ValueError: patterns['refuse']: '...' has no letter and no digit
    """
    for pattern in patterns:
        try:
            compiled = _compile((pattern,))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if any(expression.search("") for _, expression in compiled.expressions):
            raise ValueError(f"{name}: {pattern!r} is found in every text, because it matches nothing at all")


class _Compiled(NamedTuple):
    """Patterns to search: all phrases as one expression over words, and each regular expression with its source."""

    phrases: re.Pattern[str] | None
    expressions: tuple[tuple[str, Any], ...]


@lru_cache(maxsize=256)
def _compile(patterns: tuple[str, ...]) -> _Compiled:
    phrases = [_phrase(pattern) for pattern in patterns if not pattern.startswith(REGEX)]
    expressions = tuple((pattern, _expression(pattern)) for pattern in patterns if pattern.startswith(REGEX))
    # Only words and possessive endings, so that it takes linear time; the blank behind it may begin the next one.
    joined = re.compile(rf" (?:{'|'.join(sorted(phrases, key=len, reverse=True))})(?= )") if phrases else None
    return _Compiled(joined, expressions)


def _phrase(pattern: str) -> str:
    """A phrase over words with one blank between them."""
    words = [
        " ".join(map(re.escape, _words(word).split())) + (r"[^ ]*+" if word.endswith("*") else "")
        for word in pattern.split()
        if _words(word).split()
    ]
    if not words:
        raise ValueError(f"{pattern!r} has no letter and no digit")
    return " ".join(words)


def _expression(pattern: str) -> Any:
    import regex  # the standard library's expressions have no time limit

    try:
        return regex.compile(pattern.removeprefix(REGEX), regex.IGNORECASE)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _has(expression: Any, source: str, text: str) -> bool:
    return _in_time(source, lambda: expression.search(text, timeout=SECONDS)) is not None


def _cut(expression: Any, source: str, text: str) -> str:
    cut: str = _in_time(source, lambda: expression.sub(" ", text, timeout=SECONDS))
    return cut


def _in_time(source: str, search: Callable[[], Any]) -> Any:
    try:
        return search()
    except TimeoutError:
        raise SlowPatternError(f"the pattern {source!r} took more than {SECONDS} s on a text") from None


def _without(text: str, start: str, end: str) -> str:
    """A text without what stands between two marks; without an end, all that follows."""
    if start not in text:
        return text
    first, *others = text.split(start)
    return " ".join([first, *(other.partition(end)[2] for other in others)])


def _is_word(word: str) -> bool:
    """Whether it counts as a word: no single letters, no numbers; a character of a script without case does."""
    return (len(word) > 1 and not word.isdigit()) or unicodedata.category(word[0]) == "Lo"


def _words(text: str) -> str:
    """The words of a text, with one blank in front of, between and behind them."""
    return f" {' '.join(text.translate(_WORDS).split())} "


class _Folding(dict[int, str]):
    """Code point → what a reader sees, filled on demand, for ``str.translate``."""

    def __init__(self, *, words: bool):
        super().__init__()
        self.words = words

    def __missing__(self, code: int) -> str:
        self[code] = seen = self._fold(chr(code))
        return seen

    def _fold(self, character: str) -> str:
        folded = Skeleton(character).folded
        if self.words and character in _APOSTROPHES:
            return ""
        if folded == NOTHING:
            return ""
        if unicodedata.category(character) == "Lo":  # a script without case
            return f" {character} " if self.words else character
        if folded.isascii() and folded.isalnum() and folded != "w":
            return folded
        if character.isalnum():
            return unicodedata.normalize("NFKC", character).casefold()
        return " " if self.words else _sign(character, folded)


def _sign(character: str, folded: str) -> str:
    """What is no letter and no digit, in the plainest form."""
    if character in _APOSTROPHES:
        return "'"
    if unicodedata.category(character) == "Pd":
        return "-"
    if character.isascii() and folded not in " \n":
        return character
    return folded if folded in (" ", "\n") else unicodedata.normalize("NFKC", character)


class _Shown(dict[int, str]):
    """Code point → itself, or nothing if it shows nothing, for ``str.translate``."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_mark = character in "*_~`" or unicodedata.combining(character)
        self[code] = shown = "" if not is_mark and Skeleton(character).folded == NOTHING else character
        return shown


_SHOWN = _Shown()
_SEEN, _WORDS = _Folding(words=False), _Folding(words=True)
