"""The tiny policy: it starts with the habits that it is said to have."""

import pytest

from guard_reward.tiny.evaluate import evaluate, judge_policy, style_shares
from guard_reward.tiny.policy import STARTS, build_tiny_policy


def test_unknown_start():
    with pytest.raises(ValueError, match="refusing, balanced"):
        build_tiny_policy(start="harmless")


@pytest.mark.parametrize("start", list(STARTS))
def test_starts_with_its_habits(start):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = build_tiny_policy(start=start)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    replies = judge_policy(model, AutoTokenizer.from_pretrained(folder), count=600, temperature=1.0)
    shares = style_shares(replies)
    for style, share in STARTS[start].items():
        assert shares[str(style)] == pytest.approx(share, abs=0.07), style
    table = evaluate(replies)
    assert table["garbled_rate"].value < 0.05
    assert table["refusal_rate_benign"].value < 0.12
