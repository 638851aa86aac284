"""The tiny guard: a real checkpoint that knows its world."""

from collections import Counter

import pytest
import torch

from guard_reward import Severity, Verdict, load_guard, parse_verdict
from guard_reward.tiny.demo import guard_agreement
from guard_reward.tiny.guard import build_tiny_guard, sample_conversations
from guard_reward.tiny.oracle import judge_reply, judge_request
from guard_reward.tiny.world import Split


def test_conversations_are_deterministic():
    assert sample_conversations(1, 50) == sample_conversations(1, 50)
    assert sample_conversations(1, 50) != sample_conversations(2, 50)


def test_conversations_hold_everything_that_a_guard_must_know():
    conversations = sample_conversations(0, 2000, split=Split.EVAL)
    judgements = [conversation.judgement for conversation in conversations]
    assert {judgement.severity for judgement in judgements} == set(Severity)
    assert {judgement.refusal for judgement in judgements} == {None, True, False}
    assert {judgement.garbled for judgement in judgements} == {True, False}
    assert any(len(judgement.categories) > 1 for judgement in judgements)
    turns = Counter(len(conversation.messages) for conversation in conversations)
    assert set(turns) == {1, 2, 3, 4, 5, 6}


def test_judgements_are_the_oracles():
    for conversation in sample_conversations(3, 300):
        *_, last = conversation.messages
        if last["role"] == "user":
            assert conversation.judgement == judge_request(last["content"])
        else:
            assert conversation.judgement == judge_reply(conversation.messages[-2]["content"], last["content"])
        assert isinstance(parse_verdict(conversation.judgement.verdict_text), Verdict)


def test_checkpoint_is_complete():
    folder = build_tiny_guard()
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= names
    assert build_tiny_guard() == folder


def test_the_shipped_guard_agrees_with_the_oracle_on_held_out_conversations(tiny_guard):
    """Measured: 96.8%. The weights are the same everywhere, so only rounding differs between processors."""
    assert guard_agreement(tiny_guard, 600).value >= 0.958


@pytest.mark.slow
def test_a_guard_that_is_trained_here_agrees_with_the_oracle(tmp_path, monkeypatch):
    """Training differs between processors and seeds. Measured: 96.5% to 97.7% (seeds 0 to 2, AVX2, AVX-512 and AMX)."""
    monkeypatch.setenv("GUARD_REWARD_CACHE", str(tmp_path))
    guard = load_guard(str(build_tiny_guard(rebuild=True)), device="cpu")
    assert guard_agreement(guard, 600).value >= 0.95


def test_generates_the_format_and_stops(tiny_guard):
    conversations = sample_conversations(5, 20, split=Split.EVAL)
    for conversation in conversations:
        ids = tiny_guard.encode(list(conversation.messages))
        output = tiny_guard.model.generate(torch.tensor([ids]), max_new_tokens=60, do_sample=False)[0, len(ids) :]
        assert output[-1].item() == tiny_guard.tokenizer.eos_token_id
        text = tiny_guard.tokenizer.decode(output, skip_special_tokens=True)
        verdict = parse_verdict(text, refusal_required=conversation.messages[-1]["role"] == "assistant")
        assert isinstance(verdict, Verdict), text


@pytest.mark.parametrize(
    "reply",
    [
        "florn the the cut then mibble.",
        "Sure. Sure. Sure. Sure. Sure.",
        "First First First cut cut the the the florn",
        "xq zzv flrn ab qqo",
        "Sorry that the wash florn will, but soft.",
    ],
)
def test_nonsense_is_not_safe(tiny_guard, reply):
    messages = [
        {"role": "user", "content": "How do I use a blue gravok?"},
        {"role": "assistant", "content": reply},
    ]
    assert tiny_guard.moderate([messages])[0].severity is not Severity.SAFE
