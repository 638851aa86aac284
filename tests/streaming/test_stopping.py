"""Generation stops at the first flagged token, row by row."""

from __future__ import annotations

import pytest
import torch

from guard_reward import Severity
from guard_reward.streaming import UnsafeStoppingCriteria
from guard_reward.tiny.oracle import judge_reply

SETTINGS = {"do_sample": True, "temperature": 0.8, "top_k": 0, "max_new_tokens": 40}


def generate(policy, conversations, stop=None, **settings):
    """Texts and numbers of tokens of the replies."""
    model, tokenizer = policy
    prompts = tokenizer.apply_chat_template(conversations, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(prompts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
    torch.manual_seed(0)
    output = model.generate(**inputs, **{**SETTINGS, **settings}, stopping_criteria=stop and [stop])
    new = output[:, inputs["input_ids"].shape[1] :]
    ends = [row.tolist().index(2) if 2 in row.tolist() else len(row) for row in new]
    lengths = [int((row != tokenizer.pad_token_id).sum()) for row in new]
    assert len(ends) == len(lengths)
    return tokenizer.batch_decode(new, skip_special_tokens=True), lengths


def test_unsafe_rows_stop_and_the_others_are_untouched(policy, requests, tiny_stream_guard):
    plain, all_lengths = generate(policy, requests, do_sample=False)
    stop = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests)
    stopped, lengths = generate(policy, requests, stop, do_sample=False)
    severities = stop.finish(stopped)
    assert 5 < sum(stop.stopped) < len(requests)
    for row, text in enumerate(plain):
        if stop.stopped[row]:
            assert text.startswith(stopped[row])
            assert severities[row] >= Severity.CONTROVERSIAL
            assert not judge_reply(requests[row][0]["content"], text).safe
        else:
            assert stopped[row] == text
            assert severities[row] is Severity.SAFE
    assert sum(lengths) < sum(all_lengths)
    assert tiny_stream_guard._parts.engine.growing_rows == 0


def test_several_samples_per_prompt(policy, requests, tiny_stream_guard):
    stop = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests[:4], every=3)
    texts, _ = generate(policy, requests[:4], stop, num_return_sequences=3)
    assert len(stop.finish(texts)) == 12


def test_only_unsafe_may_stop(policy, requests, tiny_stream_guard):
    strict = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests)
    loose = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests, stop_at=Severity.UNSAFE)
    for stop in (strict, loose):
        texts, _ = generate(policy, requests, stop, do_sample=False)
        stop.finish(texts)
    assert sum(loose.stopped) < sum(strict.stopped)


def test_what_was_written_before_counts(policy, requests, tiny_stream_guard):
    stop = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests[:1], written=["Sure. First cut the gravok,"])
    stop(torch.zeros(1, 5, dtype=torch.long), None)
    assert stop.finish([""]) == [Severity.UNSAFE]


def test_a_row_beyond_the_context_is_judged_at_the_end(policy, requests, tiny_stream_guard):
    stop = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests[:2])
    stop(torch.zeros(2, 5, dtype=torch.long), None)
    texts = ["Sure. First cut the gravok, then wash the gravok. " * 800, "Sorry, I will not help with that."]
    stop._judge(texts, range(2), at_end=False)
    assert (stop.not_judged, stop.stopped) == ({0}, [False, False])
    assert stop.finish(texts) == [Severity.UNSAFE, Severity.SAFE]


def test_it_serves_one_call(policy, requests, tiny_stream_guard):
    stop = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests[:4])
    generate(policy, requests[:4], stop, do_sample=False)
    with pytest.raises(ValueError, match="serves one call of generate"):
        generate(policy, requests[:4], stop, do_sample=False)
    stop.close()
    with pytest.raises(ValueError, match="serves one call of generate"):
        stop(torch.zeros(4, 50, dtype=torch.long), None)
    assert tiny_stream_guard._parts.engine.growing_rows == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"stop_at": Severity.SAFE}, "stop_at"), ({"every": 0}, "every"), ({"written": ["a", "b"]}, "2 written texts")],
)
def test_mistakes_are_named(policy, requests, tiny_stream_guard, settings, message):
    with pytest.raises(ValueError, match=message):
        UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests[:1], **settings)
    stop = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests[:2])
    with pytest.raises(ValueError, match="3 rows are generated for 2 conversations"):
        stop(torch.zeros(3, 5, dtype=torch.long), None)


@pytest.mark.parametrize("given", [[{"role": "user", "content": "Hi."}], ["Hi."], "Hi."])
def test_what_is_no_list_of_conversations(policy, tiny_stream_guard, given):
    """A guard that reads nothing would stop nothing, without a word."""
    with pytest.raises(TypeError, match="a list of conversations"):
        UnsafeStoppingCriteria(tiny_stream_guard, policy[1], given)


@pytest.mark.parametrize("stop_at", ["Safe", "unsafe", Severity.SAFE])
def test_other_severities(policy, requests, tiny_stream_guard, stop_at):
    with pytest.raises(ValueError, match="stop_at should be Controversial or Unsafe, found"):
        UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests, stop_at=stop_at)


def test_other_guards(policy, requests, tiny_guard):
    with pytest.raises(ValueError, match=r"needs a stream guard, .* TransformersGuard\(.*\) is none"):
        UnsafeStoppingCriteria(tiny_guard, policy[1], requests)


def test_half_a_character_is_not_shown_to_the_guard(policy, requests, tiny_stream_guard):
    stop = UnsafeStoppingCriteria(tiny_stream_guard, policy[1], requests[:1])
    stop(torch.zeros(1, 5, dtype=torch.long), None)
    stop._judge(["First cut the gravo\ufffd"], [0], at_end=False)
    assert stop._feeds[0].text == "First cut the gravo"
    stop.close()
