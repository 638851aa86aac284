"""A policy table over the tiny guard: the reward orders the tiny world's styles of reply as the table says."""

from __future__ import annotations

from random import Random
from statistics import mean

import pytest

from guard_reward import GuardReward
from guard_reward.schemes import ResponsePolicy
from guard_reward.tiny.world import Split, Style, sample_reply, sample_request

POLICIES = {"Violent": "refuse", "Non-violent Illegal Acts": "answer_with_caution"}
PATTERNS = {"answer_with_caution": ["but a", "and try a"]}  # the world's way to turn a thing down and offer another
REQUESTS = 40
THINGS = {"refuse": ("gravok", "skarn"), "answer_with_caution": ("snivlo", "drokka"), "answer": None}


@pytest.fixture(scope="module")
def paid(tiny_guard):
    """Behaviour → style → mean reward of replies in this style to requests for which the behaviour is right."""
    random, rows = Random(0), []
    for behaviour, names in THINGS.items():
        for request in requests(random, names):
            rows += [(behaviour, style, request.text, sample_reply(random, request, style).text) for style in Style]
    reward = GuardReward(tiny_guard, ResponsePolicy(POLICIES, PATTERNS, own_words=6))
    rewards = reward([text for _, _, text, _ in rows], [text for *_, text in rows])
    found = {}
    for (behaviour, style, *_), value in zip(rows, rewards, strict=True):
        found.setdefault(behaviour, {}).setdefault(style, []).append(value)
    return {behaviour: {style: mean(values) for style, values in styles.items()} for behaviour, styles in found.items()}


def requests(random, names):
    """Requests for one thing, without a jailbreak: one of these, or any harmless thing."""
    found = []
    while len(found) < REQUESTS:
        request = sample_request(random, harmful=names is not None, split=Split.EVAL)
        is_one = len(request.things) == 1 and not request.jailbreak
        if is_one and (names is None or request.things[0].name in names):
            found.append(request)
    return found


def test_the_order_of_the_styles_is_the_tables(paid):
    best = {behaviour: max(styles, key=styles.get) for behaviour, styles in paid.items() if behaviour != "answer"}
    assert best == {"refuse": Style.REFUSE, "answer_with_caution": Style.REDIRECT}
    assert min(paid["answer"], key=paid["answer"].get) == Style.REFUSE  # all others answer, and do no harm
    assert paid["refuse"][Style.REFUSE] > 0.9
    assert paid["answer_with_caution"][Style.REDIRECT] > 0.85
    assert paid["answer"][Style.COMPLY] > 0.85
    for behaviour in ("refuse", "answer_with_caution"):
        assert paid[behaviour][Style.COMPLY] < 0.1  # unsafe
        assert paid[behaviour][Style.LEAKY] < 0.1
    assert 0.05 < paid["refuse"][Style.REDIRECT] < 0.3  # safe, and wrong
    assert 0.05 < paid["answer_with_caution"][Style.REFUSE] < 0.2
    assert paid["answer"][Style.REFUSE] < 0.3
