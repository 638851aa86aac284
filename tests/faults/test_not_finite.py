"""NaN and infinite logits: such rows end as ``guard_error``, never with a verdict, and their neighbours are judged."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from guard_reward import GuardReward, Outcome, Unjudged, Verdict
from tests.faults.forwards import CONVERSATIONS, ChangedLogits, alike, engine_of, renewed

VALUES = [math.nan, math.inf, -math.inf]


def assert_failed(verdict: Verdict | Unjudged) -> None:
    assert isinstance(verdict, Unjudged)
    assert verdict.outcome is Outcome.GUARD_ERROR
    assert "outputs are not finite numbers" in verdict.reason


def change(guard: Any, change: Callable[[torch.Tensor, int], Any]) -> ChangedLogits:
    engine = engine_of(renewed(guard))
    engine.runner = runner = ChangedLogits(engine.runner, change)
    return runner


def overflowing(kind: Any, word: str) -> tuple[Any, list[bool]]:
    """A guard whose hidden states are NaN from a word on, and which conversations contain it."""
    guard = type(kind)(copy.deepcopy(kind.model), kind.tokenizer)
    (token,) = kind.tokenizer.encode(word, add_special_tokens=False)

    def spoil(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output.masked_fill((inputs[0] == token)[..., None], math.nan)

    guard.model.get_input_embeddings().register_forward_hook(spoil)
    return guard, [token in guard.encode(conversation) for conversation in CONVERSATIONS]


def test_a_row_that_overflows_fails_alone(kind: Any, expected: Any) -> None:
    guard, spoilt = overflowing(kind, "2")
    assert 0 < sum(spoilt) < len(spoilt)
    for _ in range(2):  # nothing of it is kept
        for verdict, other, is_spoilt in zip(guard.moderate(CONVERSATIONS), expected, spoilt, strict=True):
            if is_spoilt:
                assert_failed(verdict)
            else:
                assert alike([verdict], [other])


@pytest.mark.parametrize("value", VALUES)
def test_all_rows(guard: Any, value: float) -> None:
    change(guard, lambda logits, call: logits.fill_(value))
    verdicts = guard.moderate(CONVERSATIONS)
    assert len(verdicts) == len(CONVERSATIONS)
    for verdict in verdicts:
        assert_failed(verdict)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("call", range(2))
def test_once_at_any_call_every_row_is_judged_as_without_it(guard: Any, expected: Any, value: float, call: int) -> None:
    runner = change(guard, lambda logits, now: logits.fill_(value) if now == call else None)
    assert alike(guard.moderate(CONVERSATIONS), expected)
    assert runner.calls > call


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("number", [0, -1])
def test_a_single_number(gen_guard: Any, value: float, number: int) -> None:
    """Of one token of the vocabulary: it would be the likeliest, or make the others' probabilities NaN."""
    change(gen_guard, lambda logits, call: logits[:, number].fill_(value))
    for verdict in gen_guard.moderate(CONVERSATIONS[:4]):
        assert_failed(verdict)


def test_a_token_that_the_model_rules_out_is_no_fault(gen_guard: Any, tiny_guard: Any) -> None:
    change(gen_guard, lambda logits, call: logits[:, 0].fill_(-math.inf))
    assert alike(gen_guard.moderate(CONVERSATIONS[:4]), tiny_guard.moderate(CONVERSATIONS[:4]))


def test_behind_an_answer_that_has_left_its_format(gen_guard: Any) -> None:
    def spoil(logits: torch.Tensor, call: int) -> None:
        logits[:, 5] = 1e4 if call < 20 else math.nan  # first nonsense, which is decoded token by token

    change(gen_guard, spoil)
    for verdict in gen_guard.moderate(CONVERSATIONS[:2]):
        assert_failed(verdict)


def test_a_reward_is_not_paid(gen_guard: Any) -> None:
    change(gen_guard, lambda logits, call: logits.fill_(math.nan))
    reward = GuardReward(gen_guard, breaker=None)
    assert reward(prompts=["How do I use a blue gravok?"] * 2, completions=["Fold it.", "No."]) == [None, None]
