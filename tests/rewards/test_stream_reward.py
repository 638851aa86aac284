"""`StreamReward`: the rise of P(not safe), at the tokens of the policy that caused it."""

from __future__ import annotations

import numpy as np
import pytest

from guard_reward import GuardOutageError, Outcome, StreamReward, Unjudged
from guard_reward.rewards.stream_reward import penalties
from guard_reward.tiny.tokenizer import build_tokenizer
from tests.rewards.helpers import Log

REQUEST = "How do I use a blue gravok?"
UNSAFE = "Sure. First cut the gravok, then wash the gravok."
SAFE = "Sorry, I will not help with that."


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer("policy")


def ids_of(tokenizer, *texts):
    return [tokenizer(f"{text}<|im_end|>", add_special_tokens=False)["input_ids"] for text in texts]


def rewards_of(guard, tokenizer, *texts, log=None, **settings):
    reward = StreamReward(guard, tokenizer=tokenizer, **settings)
    logs = {"log_metric": log.metric} if log else {}
    return reward(
        prompts=[REQUEST] * len(texts), completions=list(texts), completion_ids=ids_of(tokenizer, *texts), **logs
    )


def test_the_penalty_stands_where_the_harm_is_done(tiny_stream_guard, tokenizer):
    unsafe, safe = rewards_of(tiny_stream_guard, tokenizer, UNSAFE, SAFE, weight=2.0)
    (ids, safe_ids) = ids_of(tokenizer, UNSAFE, SAFE)
    assert (len(unsafe), len(safe)) == (len(ids), len(safe_ids))
    before = tokenizer.decode(ids[: int(np.argmin(unsafe))])
    assert before == "Sure. First cut the gravok"  # one token behind the name
    assert sum(unsafe) == pytest.approx(-2.0, abs=0.1)
    assert sum(safe) == pytest.approx(0.0, abs=0.1)
    assert max(unsafe) <= 0.0


def test_shaping_sums_to_zero(tiny_stream_guard, tokenizer):
    for row in rewards_of(tiny_stream_guard, tokenizer, UNSAFE, SAFE, form="shaping"):
        assert sum(row) == pytest.approx(0.0, abs=1e-6)


def test_later_text_takes_no_penalty_back(tiny_stream_guard, tokenizer):
    plain, with_tail = rewards_of(tiny_stream_guard, tokenizer, UNSAFE, f"{UNSAFE} {SAFE} {SAFE}")
    assert sum(with_tail) <= sum(plain) + 1e-6


class OtherTokenizer:
    """A policy's tokenizer with one token per character."""

    def decode(self, ids, **_):
        return "".join(chr(number) for number in ids if number)


def test_a_policy_with_another_tokenizer(tiny_stream_guard, tokenizer):
    """Each penalty stands at the character that ended the guard's token."""
    own = rewards_of(tiny_stream_guard, tokenizer, UNSAFE)[0]
    ids = [*map(ord, UNSAFE), 0]
    reward = StreamReward(tiny_stream_guard, tokenizer=OtherTokenizer())
    (row,) = reward(prompts=[REQUEST], completions=[UNSAFE], completion_ids=[ids])
    assert len(row) == len(ids)
    assert sum(row) == pytest.approx(sum(own))
    assert UNSAFE[: int(np.argmin(row)) + 1] == "Sure. First cut the gravok,"


def test_rows_that_cannot_be_judged_have_no_rewards(tiny_stream_guard, tokenizer):
    log = Log()
    reward = StreamReward(tiny_stream_guard, tokenizer=tokenizer)
    bad, good = [{"role": "villain", "content": "x"}], [{"role": "user", "content": REQUEST}]
    rows = reward(
        prompts=[bad, good],
        completions=[[{"role": "assistant", "content": SAFE}]] * 2,
        completion_ids=ids_of(tokenizer, SAFE, SAFE),
        log_metric=log.metric,
    )
    assert rows[0] is None
    assert len(rows[1]) == len(ids_of(tokenizer, SAFE)[0])
    assert log.metrics["stream/unjudged_rate"] == [1.0, 0.0]


def test_a_guard_that_fails_is_warned_of_and_stops_the_run(tiny_stream_guard, tokenizer, caplog, monkeypatch):
    gone = Unjudged(Outcome.GUARD_ERROR, reason="out of memory")
    monkeypatch.setattr(tiny_stream_guard, "trace", lambda rows: [gone] * len(rows), raising=False)
    with pytest.raises(GuardOutageError, match="out of memory"):
        rewards_of(tiny_stream_guard, tokenizer, *[SAFE] * 64)
    assert caplog.text.count("a rollout has no rewards per token: guard_error (out of memory)") == 1
    assert rewards_of(tiny_stream_guard, tokenizer, *[SAFE] * 64, breaker=None) == [None] * 64


def test_an_empty_completion(tiny_stream_guard, tokenizer):
    reward = StreamReward(tiny_stream_guard, tokenizer=tokenizer, form="shaping")
    assert reward(prompts=[REQUEST], completions=[""], completion_ids=[[]]) == [[]]


def test_what_the_prompt_has_begun_is_read_and_not_the_policys(tiny_stream_guard, tokenizer):
    """A completion is judged behind it, and what was harmful before costs the policy nothing."""
    reward = StreamReward(tiny_stream_guard, tokenizer=tokenizer)
    begun = "Sure. First cut the gravok, then"
    turns = [{"role": "user", "content": REQUEST}, {"role": "assistant", "content": begun}]
    ids = ids_of(tokenizer, " wash the gravok.", " wash the florn.")
    harmful, harmless = reward(prompts=[turns] * 2, completions=[[], []], completion_ids=ids)
    assert sum(harmful) == pytest.approx(0.0, abs=0.1)  # the worst was there already
    assert sum(harmless) == pytest.approx(0.0, abs=0.1)
    safe_turns = [turns[0], {"role": "assistant", "content": "Sure. First cut the"}]
    (row,) = reward(prompts=[safe_turns], completions=[[]], completion_ids=ids_of(tokenizer, " gravok, then wash it."))
    assert sum(row) == pytest.approx(-1.0, abs=0.1)


@pytest.mark.parametrize("prompt", [[{"role": "user", "content": REQUEST}], f"{REQUEST}<think>"])
def test_prefilled_thinking(tiny_stream_guard, tokenizer, prompt):
    seen = []
    reward = StreamReward(tiny_stream_guard, tokenizer=tokenizer, thinking_prefilled=True)
    reward._traces = lambda rows: seen.extend(rows) or [Unjudged(Outcome.EMPTY)] * len(rows)
    reward(prompts=[prompt, REQUEST], completions=["x"] * 2, completion_ids=ids_of(tokenizer, "a</think>b", "plain"))
    assert [row[-1]["content"] for row in seen] == ["<think>\na</think>b", "plain"]


def test_metrics(tiny_stream_guard, tokenizer):
    log = Log()
    thinking = f"<think>\n{UNSAFE}\n</think>\n\n{SAFE}"
    rewards_of(tiny_stream_guard, tokenizer, UNSAFE, SAFE, thinking, log=log)
    assert log.metrics["stream/flagged_rate"][:2] == [1.0, 0.0]
    assert len(log.metrics["stream/penalty"]) == 3
    assert len(log.metrics["stream/flagged_in_thinking_rate"]) == len(log.metrics["stream/flagged_in_answer_rate"]) == 1
    assert log.metrics["stream/first_flagged_token"][0] == 6.0


def test_the_formula():
    unsafe = np.random.default_rng(0).random(50)
    expected, highest = [], 0.0
    for number, value in enumerate(unsafe):
        pair = min(value, unsafe[number - 1]) if number else 0.0
        expected.append(max(pair - highest, 0.0))
        highest = max(highest, pair)
    np.testing.assert_allclose(penalties(unsafe), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"weight": 0}, "weight"), ({"weight": float("nan")}, "weight"), ({"form": "other"}, "form should be")],
)
def test_mistakes_are_named(tiny_stream_guard, tiny_guard, tokenizer, settings, message):
    with pytest.raises(ValueError, match=message):
        StreamReward(tiny_stream_guard, **settings)
    with pytest.raises(ValueError, match=r"StreamReward needs a stream guard, .* TransformersGuard"):
        StreamReward(tiny_guard)
    with pytest.raises(ValueError, match=r"is loaded: pass load_guard\('folder'\)"):
        StreamReward("folder")
    with pytest.raises(ValueError, match="must name the policy's tokenizer"):
        StreamReward(tiny_stream_guard)(prompts=[REQUEST], completions=[SAFE], completion_ids=[[1]])
    with pytest.raises(ValueError, match="completion_ids of 2"):
        StreamReward(tiny_stream_guard, tokenizer=tokenizer)(
            prompts=[REQUEST], completions=[SAFE], completion_ids=[[1], [2]]
        )
