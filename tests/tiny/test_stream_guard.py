"""The tiny stream guard: a real checkpoint in the public format that knows its world, token by token."""

from __future__ import annotations

import numpy as np
import pytest

from guard_reward import Severity, StreamGuard
from guard_reward.tiny.beginnings import judge_beginning
from guard_reward.tiny.guard import sample_conversations
from guard_reward.tiny.world import Split
from tests.stream_models import stand_in_verdicts

HELD_OUT = 600


@pytest.fixture(scope="module")
def judged(tiny_stream_guard):
    """Held-out conversations with their traces."""
    conversations = sample_conversations(7, HELD_OUT, split=Split.EVAL)
    traces = tiny_stream_guard.trace([list(conversation.messages) for conversation in conversations])
    return list(zip(conversations, traces, strict=True))


def is_response(conversation):
    return conversation.messages[-1]["role"] == "assistant"


def test_it_is_a_stream_guard(tiny_stream_guard):
    assert isinstance(tiny_stream_guard, StreamGuard)


def test_verdicts_agree_with_the_oracle_on_held_out_conversations(judged):
    """Safe or not. The weights are the same everywhere, so only rounding differs between processors."""
    agree = [(trace.severity is Severity.SAFE) == conversation.judgement.safe for conversation, trace in judged]
    assert np.mean(agree) >= 0.94


def test_tokens_agree_with_the_oracle(judged):
    right, total = 0, 0
    for conversation, trace in judged:
        if is_response(conversation):
            expected = [judge_beginning(trace.text[:end]).severity for end in trace.offsets[:-2, 1]]
            right += sum(a is b for a, b in zip(trace.risks[:-2], expected, strict=True))
            total += len(expected)
    assert right / total >= 0.94


def test_harm_is_flagged_where_it_is_done(judged):
    """One token behind the name, because one token alone decides nothing."""
    late = []
    for conversation, trace in judged:
        if is_response(conversation) and conversation.judgement.severity is Severity.UNSAFE and trace.flagged:
            first = next(
                n for n, end in enumerate(trace.offsets[:, 1]) if judge_beginning(trace.text[:end]).severity > "Safe"
            )
            late.append(trace.flagged - first)
    assert len(late) > 50
    assert np.mean([delay == 1 for delay in late]) >= 0.9


def test_every_token_is_that_of_a_reader_that_goes_token_by_token(tiny_stream_guard, judged):
    """The stand-in for the public checkpoints' code, on trained weights."""
    for conversation, trace in judged[:60]:
        ids = tiny_stream_guard.encode(list(conversation.messages))
        start = len(ids) - len(trace.token_ids)
        role = conversation.messages[-1]["role"]
        expected = stand_in_verdicts(
            tiny_stream_guard.model, tiny_stream_guard.tokenizer, ids[:start], ids[start:], role
        )
        assert [str(risk) for risk in trace.risks] == expected["risk_level"]
        np.testing.assert_allclose(trace.probabilities, expected["probabilities"], atol=1e-5)
