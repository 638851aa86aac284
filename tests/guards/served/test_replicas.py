"""Which replica is asked."""

from __future__ import annotations

from collections import Counter

import pytest

from guard_reward.guards.served import replicas as module
from guard_reward.guards.served.failures import Rejected, RequestFailed, Retriable
from guard_reward.guards.served.replicas import Replicas

URLS = [f"http://{name}:8000/v1" for name in "abc"]
FAILURE = RequestFailed("refused")
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
    servers.all[0].leave_out(5, FAILURE)
    after = {key: servers.choose(key).url for key in KEYS}
    assert all(after[key] == before[key] for key in KEYS if before[key] != URLS[0])
    assert {after[key] for key in KEYS if before[key] == URLS[0]} == set(URLS[1:])  # spread over the others
    clock[0] += 5
    assert {key: servers.choose(key).url for key in KEYS} == before


def test_it_is_left_out_after_three_failures_and_each_time_longer(clock):
    (replica,) = Replicas(URLS[:1]).all
    rests = []
    for _ in range(9):
        replica.has_failed(FAILURE, started=clock[0])
        rests.append(replica.rest)
        clock[0] += replica.rest
    assert rests == [0, 0, 0.5, 1, 2, 4, 8, 10, 10]
    replica.succeeded()
    replica.has_failed(FAILURE, started=clock[0])
    assert replica.rest == 0


def test_many_requests_that_fail_together_are_one_failure(clock):
    (replica,) = Replicas(URLS[:1]).all
    started = clock[0]
    clock[0] += 1
    for _ in range(64):
        replica.has_failed(FAILURE, started)
    assert replica.rest == 0.5
    assert replica.failed == 64


def test_if_all_rest_the_first_to_wake_is_asked(clock):
    servers = Replicas(URLS)
    for replica, seconds in zip(servers.all, (9, 3, 6), strict=True):
        replica.leave_out(seconds, FAILURE)
    assert {servers.choose(key).url for key in KEYS} == {URLS[1]}
    assert not servers.has_another(servers.all[1])
    clock[0] += 4
    assert servers.has_another(servers.all[0])


@pytest.mark.parametrize(
    ("fault", "seconds_left", "wait"),
    [
        (FAILURE, 20, 8),
        (FAILURE, 6, 3),  # half of what is left: the server may be back before its rest ends
        (Retriable("busy", status=429), 20, 8),
        (Retriable("busy", status=429), 6, None),  # it asked for it
        (Rejected("wrong key", status=401), 20, 0),
    ],
)
def test_the_last_replica_is_asked_before_the_deadline(clock, fault, seconds_left, wait):
    (replica,) = Replicas(URLS[:1]).all
    assert replica.wait(seconds_left) == 0
    replica.leave_out(8, fault)
    assert replica.wait(seconds_left) == wait
