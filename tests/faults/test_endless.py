"""A guard that never stops writing: its answers end at the limit, and what is no whole verdict is ``no_verdict``."""

from __future__ import annotations

import math
from typing import Any

import torch

from guard_reward import Outcome, Unjudged
from tests.faults.forwards import CONVERSATIONS, ChangedLogits, engine_of


def test_without_an_end_token(gen_guard: Any, tiny_guard: Any) -> None:
    engine = engine_of(gen_guard)
    ends = torch.tensor(list(engine.end_token_ids))
    engine.runner = runner = ChangedLogits(engine.runner, lambda logits, _: logits.index_fill_(1, ends, -math.inf))
    asked = CONVERSATIONS[:2] + CONVERSATIONS[-1:]
    found, expected = gen_guard.moderate(asked), tiny_guard.moderate(asked)
    for verdict, other in zip(found, expected, strict=True):
        if isinstance(verdict, Unjudged):
            assert verdict.outcome is Outcome.NO_VERDICT
            assert verdict.text
        else:  # its lines were whole before it went on
            assert verdict.severity is other.severity
    assert 20 < runner.calls <= 2 * engine.max_new_tokens


def test_that_repeats_one_token(gen_guard: Any) -> None:
    engine = engine_of(gen_guard)

    def repeat(logits: torch.Tensor, _: int) -> None:
        logits[:, 100] = 1e4

    engine.runner = runner = ChangedLogits(engine.runner, repeat)
    for verdict in gen_guard.moderate(CONVERSATIONS[:3]):
        assert isinstance(verdict, Unjudged)
        assert verdict.outcome is Outcome.NO_VERDICT
        assert "the next line should start with 'Safety:'" in verdict.reason
    assert runner.calls <= 2 * engine.max_new_tokens
