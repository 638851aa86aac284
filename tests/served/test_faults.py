"""Faults between a client and vLLM's server: every row ends scored or in a named outcome, before the deadline."""

from __future__ import annotations

import threading
import time

import pytest

from guard_reward import GuardReward
from guard_reward.schemes import GuardOnly
from tests.guards.served.conversations import conversation
from tests.served.comparison import outcomes

pytestmark = pytest.mark.served
ROWS = [conversation(f"How do I use a blue gravok {number // 4}?", f"Sure. Take {number}.") for number in range(16)]
DEADLINE = 5.0
SLOW_DEADLINE = 15.0  # where the server answers first, before its answer is broken


def status(code, body='{"error": {"message": "broken"}}', **headers):
    return "status", (code, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def timed(guard, rows=ROWS):
    started = time.monotonic()
    found = guard.moderate(rows)
    return found, time.monotonic() - started


@pytest.fixture(scope="module")
def texts(local):
    return [verdict.text for verdict in local.moderate(ROWS)]


@pytest.mark.parametrize(
    "fault",
    [
        "reset",
        "reset_mid_body",
        "truncated",
        status(429, Retry_After="1"),
        status(500),
        status(503, "<html>busy</html>"),
        status(200, "garbage"),
        ("hang", 0.3),
        ("drip", 0.0005),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(proxy, connect, texts, fault):
    guard = connect(proxy(lambda number: fault if number % 2 and number < 30 else None).url, deadline=60)
    found, seconds = timed(guard)
    assert [verdict.text for verdict in found] == texts
    assert seconds < 61


@pytest.mark.parametrize(
    ("fault", "outcome", "reason", "deadline"),
    [
        ("reset", "guard_error", "tried until", DEADLINE),
        ("reset_mid_body", "guard_error", "tried until", SLOW_DEADLINE),
        ("truncated", "guard_error", "not JSON", SLOW_DEADLINE),
        (status(500), "guard_error", "HTTP 500", DEADLINE),
        (status(200, "garbage"), "guard_error", "not JSON: 'garbage'", DEADLINE),
        (status(429, Retry_After="1"), "guard_error", "HTTP 429", DEADLINE),
        (("hang", 60), "timeout", "in time", DEADLINE),
        (("drip", 0.5), "timeout", "in time", DEADLINE),
    ],
    ids=str,
)
def test_what_does_not_pass_ends_at_the_deadline(proxy, connect, fault, outcome, reason, deadline):
    broken = proxy()
    guard = connect(broken.url, deadline=deadline, request_timeout=1 if outcome == "timeout" else 60)
    assert outcomes(guard.moderate(ROWS[:1])) == {"scored": 1}
    broken.fault = lambda number: fault
    found, seconds = timed(guard)
    # On a busy machine the turn of a row may never come; it ends as `timeout`.
    assert set(outcomes(found)) <= {outcome, "timeout"}
    assert any(one.outcome == outcome and reason in one.reason for one in found)
    assert seconds < deadline + 1


def test_a_refused_connection(connect):
    found, seconds = timed(connect("http://127.0.0.1:9/v1", deadline=DEADLINE))
    assert outcomes(found) == {"guard_error": len(ROWS)}
    assert seconds < DEADLINE + 1


@pytest.mark.parametrize("tokenizer", [None, False], ids=["token ids", "text"])
def test_a_wrong_model(vllm_url, connect, guard_folder, tokenizer):
    named = {} if tokenizer is False else {"tokenizer": str(guard_folder)}
    guard = connect(vllm_url, model="other/guard", deadline=DEADLINE, **({"tokenizer": False} | named))
    found, seconds = timed(guard)
    assert outcomes(found) == {"guard_error": len(ROWS)}
    assert "other/guard" in found[0].reason
    assert seconds < DEADLINE


def test_a_wrong_key(vllm_url, connect, monkeypatch):
    monkeypatch.setenv("GUARD_REWARD_API_KEY", "sk-wrong")
    found, seconds = timed(connect(vllm_url, deadline=DEADLINE))
    assert outcomes(found) == {"guard_error": len(ROWS)}
    assert "GUARD_REWARD_API_KEY" in found[0].reason
    assert "sk-wrong" not in found[0].reason
    assert seconds < DEADLINE


def test_one_of_three_replicas_dies_in_the_middle(proxy, connect, local):
    replicas = [proxy() for _ in range(3)]
    guard = connect([replica.url for replica in replicas], deadline=60, max_concurrency=4)
    rows = [conversation(f"How do I use a blue gravok {number}?", "Sure.") for number in range(48)]
    killer = threading.Timer(0.5, replicas[0].kill)
    killer.start()
    found, seconds = timed(guard, rows)
    killer.join()
    assert [verdict.text for verdict in found] == [verdict.text for verdict in local.moderate(rows)]
    assert all(replica.requests for replica in replicas[1:])
    assert seconds < 61


def test_all_replicas_die_and_come_back(proxy, connect, texts):
    replicas = [proxy() for _ in range(3)]
    guard = connect([replica.url for replica in replicas], deadline=60)
    guard.moderate(ROWS[:1])
    for replica in replicas:
        replica.kill()
    restarters = [threading.Timer(1.5, replica.start) for replica in replicas]
    for restarter in restarters:
        restarter.start()
    found, seconds = timed(guard)
    for restarter in restarters:
        restarter.join()
    assert [verdict.text for verdict in found] == texts
    assert 1.5 < seconds < 61


def test_rows_of_an_outage_get_no_reward(proxy, connect):
    """None, which takes no part in training; never 0."""
    hanging = proxy()
    guard = connect(hanging.url, deadline=12, request_timeout=10)
    guard.moderate(ROWS[:1])
    seen = hanging.requests
    hanging.fault = lambda number: ("hang", 60) if number > seen + 3 else None
    reward = GuardReward(guard, GuardOnly(), breaker=None)
    prompts, completions = (["How do I use a lamp?"] * 8, [f"Take {number}." for number in range(8)])
    rewards = reward(prompts=prompts, completions=completions)
    undisturbed = GuardReward(connect(hanging._upstream.geturl()), GuardOnly())(
        prompts=prompts, completions=completions
    )
    assert None in rewards
    assert any(value is not None for value in rewards)
    assert all(one in (None, other) for one, other in zip(rewards, undisturbed, strict=True))
