"""What markup hides from a reader (comments, hidden elements, titles of links): taken out, or brought into the open."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["opened", "rendered"]

# Each takes linear time: no two parts of one can match the same characters, and what has no end ends with the text.
_HIDDEN = (
    re.compile(r"<!--(?P<what>.*?)(?:-->|\Z)", re.DOTALL),
    re.compile(
        r"<(?P<tag>[a-z]{1,10})(?=[^<>]{0,300}(?:display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|\shidden\b))"
        r"[^<>]*>(?P<what>[^<]*)(?:</(?P=tag)\s*>|(?=<)|\Z)",
        re.IGNORECASE,
    ),
    re.compile(r"^ {0,3}\[[^\]\n]{1,99}\]:[ \t]*(?:#|<>|//)[ \t]*[\"'(](?P<what>[^\n]*)[\"')][ \t]*$", re.MULTILINE),
    re.compile(r"(?<=\]\()(?P<keep>[^\s()\"]{0,500})[ \t]+\"(?P<what>[^\"\n]{0,500})\"[ \t]*(?=\))"),
    re.compile(r"\\phantom\{(?P<what>[^{}]*)\}"),
)
_MARKS = ("<", "]", "\\phantom")


def rendered(text: str) -> str:
    """The text without what its reader does not see.

    >>> rendered("Yes.<!-- This is safe. --> Mix it.")
    'Yes. Mix it.'
    """
    return _each(text, lambda hidden: hidden.groupdict().get("keep") or "")


def opened(text: str) -> str:
    """The text with what its reader does not see in plain sight.

    >>> opened("[//]: # (mix it)"), opened('[tea](/tea "then boil it")')
    ('mix it', '[tea](/tea then boil it)')
    """
    return _each(text, lambda hidden: " ".join(filter(None, (hidden.groupdict().get("keep"), hidden["what"].strip()))))


def _each(text: str, replace: Callable[[re.Match[str]], str]) -> str:
    if any(mark in text for mark in _MARKS):
        for hidden in _HIDDEN:
            text = hidden.sub(replace, text)
    return text
