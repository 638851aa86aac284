"""A guard or a helpfulness function of a user's own that breaks its contract: each row is named, or one line."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from guard_reward import AsyncGuardReward, GuardReward, Probabilities, Severity, Verdict
from guard_reward.rewards import slow_calls
from tests.scripted_guard import ScriptedGuard

PROMPTS, COMPLETIONS = ["Q?"] * 3, ["fine", "bomb", "sorry"]
SAFE = Verdict(Severity.SAFE, refusal=False)
NAN = Probabilities(math.nan, math.nan, math.nan)


class OwnGuard:
    """Returns what it is told to."""

    def __init__(self, moderate: Callable[[Sequence[Any]], Any]):
        self.moderate = moderate


class AwaitedGuard(OwnGuard):
    """The same, awaited."""

    async def amoderate(self, conversations: Sequence[Any]) -> Any:
        return self.moderate(conversations)


class Ask:
    """Calls a reward: rewards, and the reasons of the rows that have none."""

    def __init__(self, kind: type):
        self.kind = kind

    def __call__(self, guard: Any, *arguments: Any, **options: Any) -> tuple[list[float | None], list[str | None]]:
        columns: dict[str, list[Any]] = {}
        rewards = self.kind(guard, *arguments, **options)(
            prompts=PROMPTS, completions=COMPLETIONS, log_extra=columns.__setitem__
        )
        rewards = asyncio.run(rewards) if asyncio.iscoroutine(rewards) else rewards
        assert len(rewards) == len(COMPLETIONS)
        outcomes = columns["guard_outcome"]
        assert all((reward is None) == (end == "guard_error") for reward, end in zip(rewards, outcomes, strict=True))
        return rewards, columns["guard_reason"]


@pytest.fixture(params=[GuardReward, AsyncGuardReward], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return Ask(request.param)


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: Any, **__: Any) -> Any:
        raise error

    return function


async def awaited(conversations: Sequence[Any]) -> list[Verdict]:
    return [SAFE] * len(conversations)


@pytest.mark.parametrize("guard_class", [OwnGuard, AwaitedGuard])
@pytest.mark.parametrize(
    ("moderate", "reason"),
    [
        (raising(KeyError("x")), "KeyError: 'x'"),
        (raising(TimeoutError("no answer")), "TimeoutError: no answer"),
        (lambda asked: ["Safe"] * len(asked), "'Safe', which is neither a Verdict nor an Unjudged"),
        (lambda asked: [None] * len(asked), "None, which is neither a Verdict nor an Unjudged"),
        (lambda asked: [0.5] * len(asked), "0.5, which is neither a Verdict nor an Unjudged"),
        (lambda asked: [Verdict("Unsafe")] * len(asked), "the severity 'Unsafe', which is no guard_reward.Severity"),
        (lambda asked: [Verdict(Severity.SAFE, probabilities=NAN)] * len(asked), "probabilities that are not finite"),
        (lambda asked: [Verdict(Severity.SAFE, label_mass=math.inf)] * len(asked), "probabilities that are not finite"),
    ],
)
def test_a_guard_whose_answer_is_no_verdict(ask: Ask, guard_class: Any, moderate: Any, reason: str) -> None:
    rewards, reasons = ask(guard_class(moderate))
    assert rewards == [None] * 3
    assert all(reason in str(one) for one in reasons)


def test_one_bad_verdict_among_good_ones(ask: Ask) -> None:
    rewards, _ = ask(OwnGuard(lambda asked: [SAFE, "Safe", SAFE]))
    assert rewards == [1.0, None, 1.0]


@pytest.mark.parametrize(
    ("moderate", "message"),
    [
        (lambda asked: [SAFE], "the guard returned 1 verdicts for 3 conversations"),
        (lambda asked: [SAFE] * 4, "the guard returned 4 verdicts for 3 conversations"),
        (lambda asked: None, "should return a list of verdicts, found NoneType"),
        (lambda asked: (SAFE for _ in asked), "should return a list of verdicts, found generator"),
        (lambda asked: dict.fromkeys(range(3), SAFE), "should return a list of verdicts, found dict"),
        (lambda asked: "abc", "should return a list of verdicts, found str"),
        (awaited, "moderate is asynchronous: call it amoderate"),
    ],
)
def test_a_guard_whose_verdicts_belong_to_no_rows(ask: Ask, moderate: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ask(OwnGuard(moderate))


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        ([math.nan, 1.0, math.inf], [True, False, True]),
        ([None, 1.0, -math.inf], [True, False, True]),
        (["1.0", 1.0, "good"], [True, False, True]),
        ([{}, [1.0], 1j], [True, True, True]),
        ([10**400, True, 2], [True, False, False]),
    ],
)
def test_helpfulness_that_is_no_number(ask: Ask, values: list[Any], lost: list[bool]) -> None:
    rewards, reasons = ask(ScriptedGuard(), "hybrid", helpfulness=lambda **_: values)
    assert [reward is None for reward in rewards] == lost
    assert [reason == "the helpfulness function gave no number" for reason in reasons] == lost


def test_helpfulness_that_raises(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    rewards, _ = ask(ScriptedGuard(), "hybrid", helpfulness=raising(ZeroDivisionError("division by zero")))
    assert rewards == [None] * 3
    assert "the helpfulness function failed on 3 completions" in caplog.text
    assert "division by zero" in caplog.text
    rewards, _ = ask(ScriptedGuard(), helpfulness=raising(ZeroDivisionError()))  # of a scheme that only logs it
    assert None not in rewards


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0], "returned 1 values for 3 completions"),
        (None, "should return a number per completion, found NoneType"),
        (1.0, "should return a number per completion, found float"),
        ("abc", "should return a number per completion, found str"),
    ],
)
def test_helpfulness_that_belongs_to_no_rows(ask: Ask, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(ScriptedGuard(), "hybrid", helpfulness=lambda **_: value)


def test_what_hangs_is_named_in_the_log(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slow_calls, "SECONDS", 0.02)

    def slow(**_: Any) -> list[float]:
        time.sleep(0.1)
        return [1.0] * 3

    def moderate(asked: Sequence[Any]) -> list[Verdict]:
        slow()
        return [SAFE] * len(asked)

    with caplog.at_level(logging.WARNING):
        rewards, _ = ask(OwnGuard(moderate), "hybrid", helpfulness=slow)
    assert None not in rewards
    for what in ("the guard", "the helpfulness function"):
        assert sum(f"waiting for {what} for" in line for line in caplog.messages) >= 2
    assert "give it a time limit of its own" in caplog.text
