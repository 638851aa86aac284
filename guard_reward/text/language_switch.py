"""Language switches, by script: an answer in letters that the prompt does not have.

Two languages of one script (English, German) are not told apart: `garbling` notices a new one of them. Code, digits and
symbols have no part in it, nor have short texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from guard_reward.text.clipping import clipped

__all__ = ["language_switch", "main_script", "scripts"]

_SCRIPTS: Mapping[str, str] = {
    "Latin": r"\p{Script=Latin}",
    "Cyrillic": r"\p{Script=Cyrillic}",
    "Greek": r"\p{Script=Greek}",
    "Arabic": r"\p{Script=Arabic}",
    "Hebrew": r"\p{Script=Hebrew}",
    "Han": r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}",  # Japanese mixes them
    "Hangul": r"\p{Script=Hangul}",
    "Thai": r"\p{Script=Thai}",
    "Devanagari": r"\p{Script=Devanagari}",
    "Bengali": r"\p{Script=Bengali}",
    "Tamil": r"\p{Script=Tamil}",
    "Telugu": r"\p{Script=Telugu}",
    "Georgian": r"\p{Script=Georgian}",
    "Armenian": r"\p{Script=Armenian}",
    "Ethiopic": r"\p{Script=Ethiopic}",
}
_CODE = "```"
_FEWEST = 8  # letters from which a text has a main script
_FOREIGN = 0.05  # share of the prompt's letters up to which a script is not one of its own


def language_switch(prompt: str, completion: str) -> float | None:
    """1 if most of the completion's letters are of a script that the prompt does not use, else 0; None if unknown.

    >>> language_switch("How do magnets work?", "Магниты притягивают железо."), language_switch("Как? 🙂🙂🙂 12", "Да.")
    (1.0, None)
    """
    own = scripts(prompt)
    main = main_script(completion)
    if main is None or sum(own.values()) < _FEWEST:
        return None
    return float(own.get(main, 0) <= _FOREIGN * sum(own.values()))


def main_script(text: str) -> str | None:
    """The script of most of its letters; None with few letters.

    >>> main_script("def f(x): return 磁石は鉄を引きつけます")
    'Latin'
    """
    counts = scripts(text)
    if sum(counts.values()) < _FEWEST:
        return None
    return max(counts, key=lambda script: counts[script])


def scripts(text: str) -> dict[str, int]:
    """The number of letters of each script, without those in fenced code; ``other`` for rare scripts.

    >>> scripts("Ask 你好")
    {'Latin': 3, 'Han': 2}
    """
    text = "".join(clipped(text).split(_CODE)[::2])
    if text.isascii():
        letters = sum(map(str.isalpha, text))
        return {"Latin": letters} if letters else {}
    counts = {name: sum(map(len, pattern.findall(text))) for name, pattern in _patterns().items()}
    counts["other"] = max(sum(map(str.isalpha, text)) - sum(counts.values()), 0)
    return {name: count for name, count in counts.items() if count}


@cache
def _patterns() -> dict[str, Any]:
    import regex

    # Letters only: a script's own digits and marks do not count. V1: sets can be intersected.
    return {name: regex.compile(rf"(?V1)[[{members}]&&\p{{L}}]+") for name, members in _SCRIPTS.items()}
