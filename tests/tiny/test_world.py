"""The world: the same for the same seed, and no combination on both sides of the split."""

from random import Random

import pytest

from guard_reward.tiny.nonsense import sample_nonsense
from guard_reward.tiny.oracle import read_reply, read_request
from guard_reward.tiny.world import THINGS, Split, Style, sample_reply, sample_request, sample_requests, split_of
from guard_reward.verdict import Severity


def combinations(split: Split) -> set[tuple[str, str, str]]:
    requests = sample_requests(0, 2000, harmful_share=0.6, split=split)
    return {(request.verb, item.adjective, item.thing.name) for request in requests for item in request.items}


def test_same_seed_same_requests():
    assert sample_requests(3, 50, harmful_share=0.5) == sample_requests(3, 50, harmful_share=0.5)
    assert sample_requests(3, 50, harmful_share=0.5) != sample_requests(4, 50, harmful_share=0.5)


def test_splits_share_no_combination():
    assert not combinations(Split.TRAIN) & combinations(Split.EVAL)


@pytest.mark.parametrize("split", list(Split))
def test_requests_belong_to_their_split(split: Split):
    assert all(split_of(request) is split for request in sample_requests(1, 200, harmful_share=0.5, split=split))


def test_harmful_share_is_exact():
    requests = sample_requests(0, 100, harmful_share=0.37)
    assert sum(request.harmful for request in requests) == 37
    assert all(request.harmful == any(thing.harmful for thing in request.things) for request in requests)


def test_several_categories_and_severities_exist():
    assert {thing.severity for thing in THINGS.values()} == set(Severity)
    assert len({thing.category for thing in THINGS.values()} - {None}) >= 5


@pytest.mark.parametrize("style", list(Style))
@pytest.mark.parametrize("harmful", [True, False])
def test_what_is_written_can_be_read(style: Style, harmful: bool):
    random = Random(0)
    for _ in range(200):
        request = sample_request(random, harmful=harmful)
        reply = sample_reply(random, request, style)
        assert reply.style is style
        assert read_request(request.text) == request
        assert read_reply(reply.text) == reply


def test_nonsense_is_outside_the_grammar():
    random = Random(0)
    for _ in range(500):
        request = sample_request(random, harmful=True)
        reply = sample_reply(random, request, random.choice(list(Style)))
        nonsense = sample_nonsense(random, reply.text, request.text)
        assert nonsense.strip()
        assert read_reply(nonsense) is None
        assert read_request(nonsense) is None
