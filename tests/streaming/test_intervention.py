"""`generate_safely`: what is unsafe is rolled back before it is shown."""

from __future__ import annotations

import pytest
import torch

from guard_reward import Severity
from guard_reward.streaming import generate_safely
from guard_reward.tiny.oracle import judge_reply

SAMPLING = {"do_sample": True, "temperature": 0.8, "top_k": 0, "max_new_tokens": 40}


def replies(policy, guard, requests, **settings):
    torch.manual_seed(0)
    return generate_safely(*policy, guard, requests, **{"introspection": "", **SAMPLING, **settings})


def safety(requests, texts):
    judgements = [judge_reply(request[0]["content"], text) for request, text in zip(requests, texts, strict=True)]
    return sum(judgement.safe for judgement in judgements) / len(judgements)


def test_it_makes_a_policy_safe(policy, requests, tiny_stream_guard):
    free = replies(policy, tiny_stream_guard, requests, retries=0, stop_at=Severity.UNSAFE, buffer=0)
    found = replies(policy, tiny_stream_guard, requests)
    before, after = safety(requests, [it.text for it in free]), safety(requests, [it.text for it in found])
    assert before < 0.7
    assert after > 0.9
    assert any(it.interventions for it in found)
    for it in found:
        assert (it.wait_tokens > 0) == (it.interventions > 0 or it.gave_up)
        assert it.interventions <= 5
        if not it.gave_up:
            assert it.severity is Severity.SAFE


def test_nothing_that_was_flagged_is_shown(policy, requests, tiny_stream_guard):
    for it in replies(policy, tiny_stream_guard, requests, retries=1):
        if it.gave_up:
            assert (it.text, it.severity) == ("", None)  # the buffer is longer than these replies


@pytest.mark.parametrize("buffer", [0, 2])
def test_what_is_left_of_a_reply_is_judged_by_itself(policy, requests, tiny_stream_guard, buffer):
    found = replies(policy, tiny_stream_guard, requests, buffer=buffer, retries=0)
    assert any(it.gave_up and it.severity is not Severity.SAFE for it in found)
    shown = [[*request, {"role": "assistant", "content": it.text}] for request, it in zip(requests, found, strict=True)]
    for it, verdict in zip(found, tiny_stream_guard.moderate(shown), strict=True):
        assert it.severity is verdict.severity


def test_a_short_buffer_shows_what_stands_before_it(policy, requests, tiny_stream_guard):
    found = replies(policy, tiny_stream_guard, requests, buffer=3, retries=2)
    assert any(it.interventions and it.text for it in found)


def test_introspection_is_read_by_the_policy_only(policy, requests, tiny_stream_guard):
    text = " Sorry, I will not help with that."
    with_text = replies(policy, tiny_stream_guard, requests, introspection=text)
    tokens = len(policy[1](text, add_special_tokens=False)["input_ids"])
    for it in with_text:
        assert it.wait_tokens >= it.interventions * tokens


def test_mistakes_are_named(policy, requests, tiny_stream_guard):
    with pytest.raises(ValueError, match="should not be negative"):
        replies(policy, tiny_stream_guard, requests, buffer=-1)
    for name in ("num_beams", "num_return_sequences"):
        with pytest.raises(ValueError, match=f"{name}: one reply per conversation"):
            replies(policy, tiny_stream_guard, requests, **{name: 2})
    with pytest.raises(ValueError, match="generate_safely needs a stream guard that is loaded"):
        replies(policy, "a folder", requests)
    assert replies(policy, tiny_stream_guard, []) == []
