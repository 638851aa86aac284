"""Which replica is asked."""

from __future__ import annotations

from collections import Counter

import pytest

from guard_reward.guards.served import replicas as module
from guard_reward.guards.served.replicas import Replicas

URLS = [f"http://{name}:8000/v1" for name in "abc"]
KEYS = [str(number).encode() for number in range(300)]


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_key_has_its_replica_and_all_have_keys():
    found = [Replicas(URLS).choose(key).url for key in KEYS]
    assert found == [Replicas(URLS[::-1]).choose(key).url for key in KEYS]
    assert all(70 < count < 130 for count in Counter(found).values())


def test_only_the_keys_of_a_missing_replica_move(clock):
    servers = Replicas(URLS)
    before = {key: servers.choose(key).url for key in KEYS}
    servers.all[0].leave_out(5, "")
    after = {key: servers.choose(key).url for key in KEYS}
    assert all(after[key] == before[key] for key in KEYS if before[key] != URLS[0])
    assert {after[key] for key in KEYS if before[key] == URLS[0]} == set(URLS[1:])  # spread over the others
    clock[0] += 5
    assert {key: servers.choose(key).url for key in KEYS} == before


def test_it_is_left_out_after_three_failures_and_each_time_longer(clock):
    (replica,) = Replicas(URLS[:1]).all
    rests = []
    for _ in range(9):
        replica.has_failed("refused", started=clock[0])
        rests.append(replica.rest)
        clock[0] += replica.rest
    assert rests == [0, 0, 0.5, 1, 2, 4, 8, 10, 10]
    replica.succeeded()
    replica.has_failed("refused", started=clock[0])
    assert replica.rest == 0


def test_many_requests_that_fail_together_are_one_failure(clock):
    (replica,) = Replicas(URLS[:1]).all
    started = clock[0]
    clock[0] += 1
    for _ in range(64):
        replica.has_failed("reset", started)
    assert replica.rest == 0.5
    assert replica.failed == 64


def test_if_all_rest_the_first_to_wake_is_asked(clock):
    servers = Replicas(URLS)
    for replica, seconds in zip(servers.all, (9, 3, 6), strict=True):
        replica.leave_out(seconds, "")
    assert {servers.choose(key).url for key in KEYS} == {URLS[1]}
    assert not servers.has_another(servers.all[1])
    clock[0] += 4
    assert servers.has_another(servers.all[0])
