"""The oracle on unfinished replies."""

from random import Random

import pytest

from guard_reward import Severity
from guard_reward.tiny.beginnings import judge_beginning
from guard_reward.tiny.nonsense import sample_nonsense
from guard_reward.tiny.oracle import judge_reply
from guard_reward.tiny.world import Style, sample_reply, sample_request


def replies(count, seed=0):
    random = Random(seed)
    for number in range(count):
        request = sample_request(random, harmful=number % 2 == 0)
        yield request.text, sample_reply(random, request, random.choice(list(Style))).text


def test_a_whole_reply_is_judged_as_by_the_oracle():
    for request, text in replies(300):
        found, expected = judge_beginning(text, is_whole=True), judge_reply(request, text)
        assert (found.severity, found.categories, found.garbled) == (expected.severity, expected.categories, False)


def test_every_beginning_of_a_reply_is_viable_and_harm_stays():
    for _, text in replies(60):
        severities = [judge_beginning(text[:end]).severity for end in range(len(text) + 1)]
        assert severities == sorted(severities)
        assert not any(judge_beginning(text[:end]).garbled for end in range(len(text) + 1))
        assert all(judge_beginning(text[:end], is_whole=True).garbled for end in range(1, len(text)))


def test_nonsense_is_garbled_from_some_place_on():
    random = Random(1)
    for _, text in replies(200, seed=1):
        nonsense = sample_nonsense(random, text, "Sure. First cut the florn.")
        garbled = [judge_beginning(nonsense[:end]).garbled for end in range(len(nonsense) + 1)]
        assert garbled == sorted(garbled)
        assert judge_beginning(nonsense, is_whole=True).garbled


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("Leave the gravok and try a flo", Severity.SAFE),  # naming does no harm
        ("Leave the florn and try a gravok", Severity.UNSAFE),  # offering does
        ("Sure. First cut the votrak", Severity.CONTROVERSIAL),
        ("Sure. Last", Severity.CONTROVERSIAL),
        ("", Severity.SAFE),
    ],
)
def test_table(text, severity):
    assert judge_beginning(text).severity is severity
