"""Servers that fail: every row ends scored or in a named outcome, before the deadline."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from guard_reward import CircuitBreaker, GuardOutageError, GuardReward
from guard_reward.guards import ServedGuard
from guard_reward.verdict import Outcome, Unjudged
from tests.guards.served.conversations import conversation

ROWS = [conversation(f"How do I use a blue gravok {number // 4}?", f"Sure. Take {number}.") for number in range(16)]
DEADLINE = 6.0
ERROR = '{"error": {"message": "broken"}}'


def status(code, body=ERROR, **headers):
    return "status", (code, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def outcomes(verdicts):
    return Counter(str(verdict.outcome) if isinstance(verdict, Unjudged) else "scored" for verdict in verdicts)


def timed(guard, rows=ROWS):
    started = time.monotonic()
    found = guard.moderate(rows)
    return found, time.monotonic() - started


@pytest.mark.parametrize(
    "fault",
    [
        "reset",
        "reset_mid_body",
        "truncated",
        status(500),
        status(503, "<html>busy</html>"),
        status(429, Retry_After="1"),
        status(200, "garbage"),
        status(200, "[" * 100_000),
        status(200, '{"choices": []}'),
        status(200, '{"choices": [{"text": 3}]}'),
        status(200, '{"choices": [{"text": "Safety: Safe", "logprobs": {"top_logprobs": [{"a": NaN}]}}]}'),
        status(200, "\x00\xff"),
        ("hang", 0.3),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(proxy, connect, local, fault):
    """Half of the first requests break; the verdicts are those of an undisturbed call."""
    guard = connect(proxy(lambda number: fault if number % 2 and number < 30 else None).url, deadline=20)
    found, seconds = timed(guard)
    assert [verdict.text for verdict in found] == [verdict.text for verdict in local.moderate(ROWS)]
    assert seconds < 20


@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [
        ("reset", "guard_error", "tried until"),
        ("truncated", "guard_error", "not JSON"),
        (status(500), "guard_error", "HTTP 500"),
        (status(200, "garbage"), "guard_error", "not JSON: 'garbage'"),
        (status(200, '{"choices": []}'), "guard_error", "another form"),
        (status(429, Retry_After="1"), "guard_error", "HTTP 429"),
        (("hang", 60), "timeout", "in time"),
        (("drip", 0.5), "timeout", "in time"),
    ],
    ids=str,
)
def test_what_does_not_pass_ends_at_the_deadline(proxy, connect, fault, outcome, reason):
    broken = proxy()
    guard = connect(broken.url, deadline=5, request_timeout=1)
    assert outcomes(guard.moderate(ROWS[:1])) == {"scored": 1}
    broken.fault = lambda number: fault
    found, seconds = timed(guard)
    assert outcomes(found) == {outcome: len(ROWS)}
    assert reason in found[0].reason
    assert seconds < 10  # slow machines are given time


def test_a_server_that_hangs_from_the_start(proxy, connect):
    found, seconds = timed(connect(proxy(lambda number: ("hang", 60)).url, deadline=2, request_timeout=1))
    assert outcomes(found) == {"timeout": len(ROWS)}
    assert seconds < 10


def test_nothing_listens(connect):
    """Every call tries until its deadline, also those that find the server left out."""
    guard = connect("http://127.0.0.1:9/v1", deadline=2)
    for _ in range(3):
        found, seconds = timed(guard)
        assert outcomes(found) == {"guard_error": len(ROWS)}
        assert "127.0.0.1:9" in found[0].reason
        assert 1.5 < seconds < 10


def test_a_server_that_is_back_shortly_before_the_deadline_is_found(proxy, connect):
    gone = proxy()
    guard = connect(gone.url, deadline=9)
    guard.moderate(ROWS[:1])
    gone.fault = lambda number: "reset"
    for _ in range(5):  # left out for its longest rest
        guard._settings = replace(guard._settings, deadline=1.0)
        guard.moderate(ROWS[:1])
    guard._settings = replace(guard._settings, deadline=9.0)
    threading.Timer(3, lambda: setattr(gone, "fault", lambda number: None)).start()
    assert outcomes(guard.moderate(ROWS)) == {"scored": len(ROWS)}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(401), "GUARD_REWARD_API_KEY"),
        (status(403), "GUARD_REWARD_API_KEY"),
        (status(404), "no such model"),
        (status(400), "HTTP 400"),
        (status(307, Location="http://elsewhere/"), "HTTP 307"),
    ],
    ids=str,
)
def test_what_cannot_be_retried_is_asked_once(proxy, connect, fault, reason):
    broken = proxy()
    guard = connect(broken.url)
    guard.moderate(ROWS[:1])
    broken.fault, broken.requests = lambda number: fault, 0
    found, seconds = timed(guard)
    assert outcomes(found) == {"guard_error": len(ROWS)}
    assert reason in found[0].reason
    assert broken.requests == len(ROWS)
    assert seconds < 10


def test_a_wrong_model_is_named(server, connect):
    (verdict,) = connect(server.url, model="other/guard").moderate(ROWS[:1])
    assert verdict.outcome is Outcome.GUARD_ERROR
    assert "other/guard" in verdict.reason


def test_a_wrong_model_is_named_before_a_hub_is_asked_for_it(server):
    with pytest.raises(OSError, match=r"serves tiny/guard, not 'other/guard'.*--guard-model"):
        ServedGuard(server.url, model="other/guard")


def test_a_hanging_server_is_asked_for_its_models_until_the_deadline():
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(OSError, match="no server says which model it serves"):
            ServedGuard(url, deadline=1)
    assert time.monotonic() - started < 8


def test_a_wrong_key_is_not_taken_for_a_server_that_is_not_there(serve):
    with pytest.raises(OSError, match="GUARD_REWARD_API_KEY") as caught:
        ServedGuard(serve(api_key="secret").url)
    assert "start it" not in str(caught.value)


def test_a_wrong_template_gives_no_verdict(serve, connect, tiny_guard, monkeypatch):
    """Only where the server renders: token ids do not depend on its template."""
    server = serve()
    template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}<|im_start|>assistant\n"
    server.guard.tokenizer.chat_template = template
    by_text = connect(server.url, tokenizer=False).moderate(ROWS)
    assert "scored" not in outcomes(by_text)
    assert outcomes(connect(server.url).moderate(ROWS)) == {"scored": len(ROWS)}


def test_retry_after_is_waited_for(proxy, connect):
    busy = proxy()
    guard = connect(busy.url)
    guard.moderate(ROWS[:1])
    busy.requests = 0
    busy.fault = lambda number: status(429, Retry_After="2") if number == 0 else None
    found, seconds = timed(guard, ROWS[:1])
    assert outcomes(found) == {"scored": 1}
    assert 2 <= seconds < 12


def test_retry_after_behind_the_deadline_is_not_waited_for(proxy, connect):
    busy = proxy()
    guard = connect(busy.url, deadline=20)
    guard.moderate(ROWS[:1])
    busy.fault = lambda number: status(503, Retry_After="3600")
    found, seconds = timed(guard)
    assert outcomes(found) == {"guard_error": len(ROWS)}
    assert seconds < 10


def test_patience_is_asked_of_one_request_only(proxy, connect):
    """A healthy server that was busy once is asked again soon, whatever it said."""
    busy = proxy()
    guard = connect(busy.url)
    guard.moderate(ROWS[:1])
    busy.requests, busy.fault = 0, lambda number: status(429, Retry_After="300") if number == 0 else None
    (first,) = guard.moderate(ROWS[:1])
    assert (first.outcome, "HTTP 429" in first.reason) == (Outcome.GUARD_ERROR, True)
    found, seconds = timed(guard, ROWS[1:])
    assert outcomes(found) == {"scored": len(ROWS) - 1}
    assert seconds > 5


def test_a_replica_that_always_asks_to_come_back_at_once_is_left_out(proxy, connect):
    broken, well = proxy(), proxy()
    guard = connect([broken.url, well.url])
    guard.moderate(ROWS[:1])
    broken.fault = lambda number: status(503, Retry_After="0")
    rows = [conversation(f"How do I use a blue gravok {number}?", "Sure.") for number in range(20)]
    assert outcomes(guard.moderate(rows)) == {"scored": len(rows)}


def test_long_answers_are_not_read(proxy, connect):
    """Neither parsed, which takes time, nor decoded."""
    liar = proxy()
    guard = connect(liar.url, deadline=2)
    guard.moderate(ROWS[:1])
    text = "Safety: a" + " " * 60_000 + "b"
    liar.fault = lambda number: status(200, json.dumps({"choices": [{"text": text}]}))
    found, seconds = timed(guard, ROWS[:2])
    assert outcomes(found) == {"guard_error": 2}
    assert "longer than the 128 tokens" in found[0].reason
    assert seconds < 8


def test_a_compressed_answer_is_not_unpacked(proxy, connect):
    packer = proxy()
    guard = connect(packer.url, deadline=2)
    guard.moderate(ROWS[:1])
    packer.fault = lambda number: status(200, "{}", Content_Encoding="gzip, gzip")
    assert "compressed" in guard.moderate(ROWS[:1])[0].reason


def test_no_reason_is_long_or_shows_the_key(proxy, connect, monkeypatch):
    monkeypatch.setenv("GUARD_REWARD_API_KEY", "sk-very-secret")
    teller = proxy()
    guard = connect(teller.url, deadline=2)
    guard.moderate(ROWS[:1])
    place = json.dumps(
        {"choices": [{"text": "", "logprobs": {"top_logprobs": [{"sk-very-secret\x1b[31m" * 9999: None}]}}]}
    )
    for body in ("you sent Bearer sk-very-secret", place):
        teller.fault = lambda number, body=body: status(200, body)
        (verdict,) = guard.moderate(ROWS[:1])
        assert "secret" not in verdict.reason
        assert verdict.reason.isprintable()
        assert len(verdict.reason) < 1000


def test_one_of_three_replicas_dies_in_the_middle(proxy, connect, local):
    replicas = [proxy() for _ in range(3)]
    guard = connect([replica.url for replica in replicas], deadline=20, max_concurrency=4)
    rows = [conversation(f"How do I use a blue gravok {number}?", "Sure.") for number in range(48)]
    killer = threading.Timer(0.2, replicas[0].kill)
    killer.start()
    found, _seconds = timed(guard, rows)
    killer.join()
    assert outcomes(found) == {"scored": len(rows)}
    assert [verdict.text for verdict in found] == [verdict.text for verdict in local.moderate(rows)]
    assert all(replica.requests for replica in replicas[1:])


def test_all_die_and_come_back(proxy, connect):
    replicas = [proxy() for _ in range(3)]
    guard = connect([replica.url for replica in replicas], deadline=20)
    guard.moderate(ROWS[:1])
    for replica in replicas:
        replica.kill()

    def restart():
        for replica in replicas:
            replica.start()

    restarter = threading.Timer(1.5, restart)
    restarter.start()
    found, seconds = timed(guard)
    restarter.join()
    assert outcomes(found) == {"scored": len(ROWS)}
    assert seconds > 1.5


def test_a_replica_with_another_key_is_left_out(serve, server, connect, monkeypatch):
    locked = serve(api_key="sk-other")
    guard = connect([locked.url, server.url])
    assert outcomes(guard.moderate(ROWS)) == {"scored": len(ROWS)}


def test_the_requests_of_one_prompt_stay_on_one_replica(proxy, connect, server):
    replicas = [proxy() for _ in range(3)]
    guard = connect([replica.url for replica in replicas])
    same = [conversation("How do I use a lamp?", f"Take {number}.") for number in range(12)]
    guard.moderate(same[:1])
    before = [replica.requests for replica in replicas]
    guard.moderate(same)
    added = [replica.requests - seen for replica, seen in zip(replicas, before, strict=True)]
    assert sorted(added) == [0, 0, 12]
    other = [conversation(f"How do I use a lamp {number}?", "No.") for number in range(40)]
    guard.moderate(other)
    assert all(replica.requests - seen > 3 for replica, seen in zip(replicas, before, strict=True))


def test_the_circuit_breaker_stops_a_run_whose_server_is_gone(proxy, connect):
    dying = proxy()
    reward = GuardReward(connect(dying.url, deadline=2), breaker=CircuitBreaker(max_share=0.5, window=8))
    batch = {"prompts": ["How do I use a lamp?"] * 8, "completions": [f"Take {number}." for number in range(8)]}
    assert None not in reward(**batch)
    dying.kill()
    with pytest.raises(GuardOutageError, match="8 guard_error"):
        reward(**{**batch, "completions": [f"Leave {number}." for number in range(8)]})


def test_rows_of_an_outage_take_no_part_in_training(proxy, connect):
    hanging = proxy()
    guard = connect(hanging.url, deadline=2, request_timeout=1)
    reward = GuardReward(guard, lambda assessment: 1.0, on_outcome={"empty": None}, breaker=None)
    hanging.fault = lambda number: ("hang", 60) if number > 3 else None
    metrics: dict[str, list[float]] = {}
    rewards = reward(
        prompts=["How do I use a lamp?"] * 8,
        completions=[f"Take {number}." for number in range(8)],
        log_metric=lambda name, value: metrics.setdefault(name, []).append(value),
    )
    assert set(rewards) == {1.0, None}
    assert sum(metrics["guard/outcome/timeout"]) == rewards.count(None)


def test_memory_and_connections_stay_flat(server, connect):
    """Small here; the real servers' test judges 10,000 rows."""
    guard = connect(server.url, max_concurrency=8)
    before = threading.active_count()
    for number in range(20):
        guard.moderate([conversation(f"How do I use a lamp {number}?", "No.")])
    assert threading.active_count() <= before + 10
