"""What is measured of one text, and intervals: always a number in its range, never an exception."""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

from guard_reward.errors import one_line, shortened
from guard_reward.skeleton import Skeleton
from guard_reward.statistics import mean, rate
from guard_reward.text.clipping import MEASURED, characters, clipped
from guard_reward.text.language_switch import language_switch, main_script, scripts
from guard_reward.text.repetition import repetition
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text


class Texts(NamedTuple):
    """A prompt and an answer."""

    prompt: str
    answer: str


def _make_texts(random: Random) -> Texts:
    answer = hostile_text(random, 30)
    if random.random() < 0.1:
        answer *= random.randrange(200)
    return Texts(hostile_text(random), answer)


def _check_texts(texts: Texts) -> None:
    prompt, answer = texts
    require(0.0 <= repetition(answer) <= 1.0, "a share is from 0 to 1")
    require(language_switch(prompt, answer) in (None, 0.0, 1.0), "switched, or not, or unknown")
    require(language_switch(answer, answer) in (None, 0.0), "no text switches from itself")
    counts = scripts(answer)
    require(all(count > 0 for count in counts.values()), "counts are positive", counts)
    require(main_script(answer) in (None, *counts), "the main script is one of them")
    measured = clipped(answer)
    require(len(measured) == min(len(answer), MEASURED) == len(characters(answer[:MEASURED])), "at most so many")
    require(answer.startswith(measured[:50]) and answer.endswith(measured[-50:]), "beginning and end are kept")
    require(one_line(answer).isprintable() and len(shortened(answer)) <= 80, "an error is one printable line")


def _check_skeleton(text: str) -> None:
    skeleton = Skeleton(text)
    size = len(skeleton.folded)
    require(size >= len(text), "nothing folds to less than one character")
    for place in range(0, size, max(size // 8, 1)):
        begin, end = skeleton.span(place, place + 1)
        require(0 <= begin < end <= len(text), "every folded character has its place", place)
        require(skeleton.folded[place] in Skeleton(text[begin:end]).folded, "and folds to this there", place)


def _make_counts(random: Random) -> tuple[float, list[float]]:
    count = random.choice((1, 2, 3, random.randrange(1, 10**6), random.uniform(1, 100)))
    successes = random.choice((0, count, random.uniform(0, count)))
    values = [random.choice((random.uniform(-1, 1), 1e150, -1e150, 0.0, 1e-300)) for _ in range(random.randrange(1, 9))]
    return successes, [count, *values]


def _check_counts(counts: tuple[float, list[float]]) -> None:
    successes, (count, *values) = counts
    share = rate(successes, count)
    require(0.0 <= share.low <= share.value + 1e-6 and share.value - 1e-6 <= share.high <= 1.0, "a rate", share)
    average = mean(values)
    require(average.low <= average.high and math.isfinite(average.value), "a mean is in its interval", average)


TARGETS = [
    Target("texts", _make_texts, _check_texts, share=15),
    Target("skeleton", lambda random: hostile_text(random, 15), _check_skeleton, share=50),
    Target("intervals", _make_counts, _check_counts, share=100),
]
