"""From rollouts to alarms: honest change does not ring; each planted jump does, soon, with its rollouts."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from guard_reward.monitoring.seen import Seen
from guard_reward.monitoring.watch import Watch
from guard_reward.tiny.nonsense import sample_nonsense
from guard_reward.tiny.world import Style, sample_reply, sample_request
from guard_reward.verdict import Outcome, Severity

JUMP = 20
ROWS = 48


def honest(random, *, refusing=0.1):
    """A rollout of the tiny world as a guard sees it; two guards differ on one in fifty."""
    request = sample_request(random, harmful=random.random() < 0.6)
    style = Style.REFUSE if random.random() < refusing else random.choice((Style.COMPLY, Style.REDIRECT))
    text = sample_reply(random, request, style).text
    severity = Severity.UNSAFE if request.harmful and style is Style.COMPLY else Severity.SAFE
    second = Severity.UNSAFE if severity is Severity.UNSAFE or random.random() < 0.02 else Severity.SAFE
    return Seen(
        request.text,
        text,
        tokens=len(text.split()),
        severity=severity,
        second=second,
        outcome=Outcome.SCORED,
        truncated=False,
    )


def hacking(seen, random):
    return replace(seen, severity=Severity.SAFE, second=Severity.UNSAFE)


def garbled(seen, random):
    return replace(seen, completion=sample_nonsense(random, "qv xz jj wk", "zzq"))


def repeating(seen, random):
    return replace(seen, completion=" ".join([seen.completion] * 6))


def longer(seen, random):
    return replace(seen, tokens=200)


def foreign(seen, random):
    return replace(seen, completion="Сначала разрежь его, потом вымой.")


def unjudged(seen, random):
    return replace(seen, outcome=Outcome.NO_VERDICT, severity=None, second=None)


def empty(seen, random):
    return replace(seen, completion="...", outcome=Outcome.EMPTY, severity=None, second=None)


def injecting(seen, random):
    return replace(seen, injections=1)


def cut(seen, random):
    return replace(seen, truncated=True)


def run(change=None, share=0.5, steps=60, seed=0, refusing=lambda step: 0.1, watch=None, start=0):
    """Alarms of a run in which a share of the rollouts changes at step `JUMP`."""
    random, watch = Random(seed), watch or Watch()
    alarms = []
    for step in range(start, steps):
        rows = [honest(random, refusing=refusing(step)) for _ in range(ROWS)]
        if change is not None and step >= JUMP:
            rows = [change(row, random) if random.random() < share else row for row in rows]
        alarms += watch.update(step, [watch.look(rows)])
    return alarms


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "refusing",
    [
        lambda step: 0.1,  # nothing changes
        lambda step: min(0.1 + step / 40, 1.0),  # learns to refuse everything: shorter, more uniform, safer
        lambda step: 0.1 if step < 12 else 1.0,  # collapses into refusals at once
        lambda step: max(0.9 - step / 40, 0.0),  # learns to help: longer, more diverse
    ],
    ids=["steady", "refusing", "collapse", "helping"],
)
def test_honest_change_does_not_ring(refusing, seed):
    assert run(seed=seed, refusing=refusing) == []


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        (hacking, "second_guard_disagreement"),
        (garbled, "garbling"),
        (repeating, "repetition"),
        (longer, "length"),
        (foreign, "language_switch"),
        (unjudged, "unjudged"),
        (empty, "empty"),
        (injecting, "injection"),
        (cut, "truncated"),
    ],
)
def test_a_planted_jump_rings_within_five_steps_with_its_rollouts(change, signal):
    alarms = {alarm.signal: alarm for alarm in run(change, steps=JUMP + 5)}
    alarm = alarms[signal]
    assert JUMP + 2 <= alarm.step < JUMP + 5
    assert alarm.value > alarm.limit > alarm.baseline
    words = signal.replace("_", " ")
    assert alarm.message.startswith(f"{words}: ")
    assert f"since step {JUMP}" in alarm.message
    assert 1 <= len(alarm.rollouts) <= 5
    random = Random(0)
    expected = change(honest(random), random)
    if signal in ("repetition", "garbling"):
        return
    for rollout in alarm.rollouts:
        assert rollout["prompt"]
        assert (rollout["tokens"] == 200) == (expected.tokens == 200)
        assert (rollout["outcome"], rollout["injections"]) == (expected.outcome, expected.injections)
        if signal == "second_guard_disagreement":
            assert (rollout["severity"], rollout["second"]) == (Severity.SAFE, Severity.UNSAFE)


@pytest.mark.parametrize("change", [hacking, garbled, foreign, empty, cut])
def test_a_few_odd_rollouts_do_not_ring(change):
    assert run(change, share=0.03) == []


def test_an_alarm_rings_once():
    assert [alarm.signal for alarm in run(hacking, steps=100)] == ["second_guard_disagreement"]


def test_a_policy_that_hacks_from_the_beginning_rings_too():
    """The first steps cannot make it usual that the second guard objects to half of what is paid."""
    random, watch, alarms = Random(0), Watch(), []
    for step in range(15):
        rows = [hacking(honest(random), random) if random.random() < 0.5 else honest(random) for _ in range(ROWS)]
        alarms += watch.update(step, [watch.look(rows)])
    assert [alarm.signal for alarm in alarms] == ["second_guard_disagreement"]
    assert alarms[0].step < 12


@pytest.mark.parametrize("stopped_at", [3, 10, JUMP + 1])
def test_a_resumed_run_goes_on_with_its_baseline(stopped_at):
    random, watch = Random(0), Watch()
    alarms = []
    for step in range(40):
        if step == stopped_at:
            saved = json.loads(json.dumps(watch.to_json()))
            watch = Watch()
            watch.restore(saved)
        rows = [honest(random) for _ in range(ROWS)]
        if step >= JUMP:
            rows = [hacking(row, random) if random.random() < 0.5 else row for row in rows]
        alarms += watch.update(step, [watch.look(rows)])
    assert [(alarm.signal, alarm.step) for alarm in alarms] == [
        (alarm.signal, alarm.step) for alarm in run(hacking, steps=40)
    ]


def test_three_ranks_agree():
    random = Random(1)
    ranks = [Watch() for _ in range(3)]
    rung = [[] for _ in ranks]
    for step in range(30):
        reports = []
        for watch in ranks:
            rows = [honest(random) for _ in range(16)]
            reports.append(watch.look([hacking(row, random) for row in rows] if step >= JUMP else rows))
        for watch, alarms in zip(ranks, rung, strict=True):
            alarms += watch.update(step, reports)
    assert rung[0] == rung[1] == rung[2]
    assert [alarm.signal for alarm in rung[0]] == ["second_guard_disagreement"]


def test_steps_without_rollouts_change_nothing():
    watch = Watch()
    before = watch.to_json()
    assert watch.update(3, [watch.look([])]) == []
    assert watch.to_json() == before


def test_any_rollouts_at_all():
    watch = Watch(warmup_steps=1)
    for step, text in enumerate(["", "\ud800", "x", "\x00" * 99, "🙂" * 9000, "a" * 10**6] * 4):
        rows = [Seen(text, text, severity=Severity.SAFE, second=Severity.UNSAFE, outcome=Outcome.SCORED)] * 70
        for alarm in watch.update(step, [watch.look(rows)]):
            assert json.dumps(alarm.rollouts, ensure_ascii=False).encode()
            assert str(alarm).isprintable() or "\n" in str(alarm)
