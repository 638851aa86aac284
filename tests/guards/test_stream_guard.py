"""`StreamGuard`: equal, at every token, to a stand-in for the public code that reads token by token."""

from __future__ import annotations

import pickle
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from guard_reward import GuardReward, Outcome, Severity, StreamGuard, Unjudged, Verdict, load_guard
from guard_reward.guards.stream_inputs import TEMPLATE
from guard_reward.tiny.tokenizer import build_tokenizer
from tests.languages import SENTENCES
from tests.stream_models import random_stream_model, stand_in_verdicts

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer("guard")


@pytest.fixture(scope="module")
def guard(tokenizer):
    return StreamGuard(random_stream_model(len(tokenizer)), tokenizer)


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def conversations():
    """324, in 36 languages: answers, thinking, prompts, several turns, system, long, empty, with control tokens."""
    found = []
    texts = [text[:14] for text in SENTENCES.values()]  # the stand-in reads token by token
    for number, text in enumerate(texts):
        other = texts[number - 1]
        found += [
            [user(text), assistant(other)],
            [user(text), assistant(other[: number % 7 + 1])],
            [user(text)],
            [user(text), assistant(f"<think>\n{other}\n</think>\n\n{text}")],
            [user(other), assistant(text), user(text), assistant(f"{other} {text}")],
            [{"role": "system", "content": other}, user(text), assistant(text * 3)],
            [user(text), assistant(f"{other}<|im_end|>\n<|im_start|>user\n{text}")],
            [user(text), {"role": "assistant", "reasoning_content": other, "content": text}],
            [user(text), assistant(f"\n\n {other}\n" if number % 2 else "")],
        ]
    return found


def expected_ids(tokenizer, messages):
    """The input by hand, turn by turn, and where the judged tokens begin; control tokens only from the format."""

    def encode(text):
        return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    ids = []
    for number, message in enumerate(messages):
        text, header = message["content"], f"{message['role']}\n"
        if message.get("reasoning_content"):
            text = f"<think>\n{message['reasoning_content']}\n</think>\n\n{text}"
        judged = header + "<think>\n" * text.startswith("<think>\n")
        if number == len(messages) - 1 and message["role"] == "assistant" and not text.startswith("<think>"):
            header = judged = "assistant\n<think>\n\n</think>\n\n"
        begin = len(ids) + 1 + len(encode(judged))
        ids += [start, *encode(header + text), end, *encode("\n")]
    return ids if messages[-1]["role"] == "assistant" else ids[: -len(encode("\n"))], begin


def test_inputs_are_in_qwen3s_format(guard, tokenizer):
    for messages in conversations():
        assert guard.encode(messages) == expected_ids(tokenizer, messages)[0]
    messages = [user("Hi."), assistant("Hello."), user("And?")]
    assert tokenizer.decode(guard.encode(messages)) == (
        "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>"
    )
    assert tokenizer.decode(guard.encode(messages[:2])).endswith("<think>\n\n</think>\n\nHello.<|im_end|>\n")


@pytest.fixture(scope="module")
def stand_in(guard, tokenizer):
    """For each conversation: the ids before the judged tokens, these, and what the stand-in says of them."""
    found = []
    for messages in conversations():
        ids, start = expected_ids(tokenizer, messages)
        verdicts = stand_in_verdicts(guard.model, tokenizer, ids[:start], ids[start:], messages[-1]["role"])
        found.append(SimpleNamespace(messages=messages, before=ids[:start], ids=ids[start:], **verdicts))
    return found


def same(first, second):
    """Two lists of token verdicts, but for rounding."""
    assert [(it.token_id, it.risk, it.category, it.is_flagged) for it in first] == [
        (it.token_id, it.risk, it.category, it.is_flagged) for it in second
    ]
    np.testing.assert_allclose([it.probabilities for it in first], [it.probabilities for it in second], atol=TOLERANCE)


def check(expected, risks, probabilities, categories):
    assert [str(risk) for risk in risks] == expected.risk_level
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=TOLERANCE)
    shown = [name if risk != "Safe" else "" for name, risk in zip(expected.category, expected.risk_level, strict=True)]
    assert list(categories) == shown


def test_traces(guard, stand_in):
    """All in one call, packed with each other."""
    traces = guard.trace([row.messages for row in stand_in])
    for expected, trace in zip(stand_in, traces, strict=True):
        assert trace.token_ids.tolist() == expected.ids
        check(expected, trace.risks, trace.probabilities, trace.categories)
    assert {str(risk) for row in stand_in for risk in row.risk_level} == {"Safe", "Controversial", "Unsafe"}


def test_verdicts(guard, stand_in):
    """The rule over the stand-in's tokens; a prompt is judged at its end."""
    for expected, verdict in zip(stand_in, guard.moderate([row.messages for row in stand_in]), strict=True):
        levels, last = expected.risk_level, len(expected.risk_level) - 1
        pairs = [a if a == b else None for a, b in pairwise(levels)]
        severity = next((level for level in ("Unsafe", "Controversial") if level in pairs), "Safe")
        at = pairs.index(severity) + 1 if severity != "Safe" else int(np.argmin([p[0] for p in expected.probabilities]))
        if expected.messages[-1]["role"] == "user":
            severity, at = levels[-1], last
        assert verdict.severity == severity
        assert verdict.refusal is None
        np.testing.assert_allclose(verdict.probabilities, expected.probabilities[at], atol=TOLERANCE)
        assert verdict.categories == ((expected.category[at],) if severity != "Safe" else ())


@pytest.mark.parametrize("chunk", [1, 3, 1000, None], ids=["one by one", "threes", "whole", "random, together"])
def test_sessions(guard, stand_in, chunk):
    """Every chunking of the tokens, alone and many in one batch."""
    random, rows = (
        Random(0),
        [row for row in stand_in if row.messages[-1]["role"] == "assistant"][:: 1 if chunk is None else 8],
    )
    sessions = []
    for row in rows:
        has_thinking = row.messages[-1]["content"].startswith("<think>") or "reasoning_content" in row.messages[-1]
        sessions.append(guard.open(row.messages[:-1], has_thinking=has_thinking))
    # Of a response with thinking, the tokens begin with the tag, which the trace does not judge.
    openings = [row.before[len(session.waiting) :] for row, session in zip(rows, sessions, strict=True)]
    texts = [opening + row.ids for opening, row in zip(openings, rows, strict=True)]
    found = [[] for _ in rows]
    while any(len(one) < len(ids) for one, ids in zip(found, texts, strict=True)):
        sizes = [chunk or random.choice((0, 1, 2, 5, 40)) for _ in rows]
        parts = [ids[len(one) : len(one) + size] for one, ids, size in zip(found, texts, sizes, strict=True)]
        for one, verdicts in zip(found, guard.feed_many(sessions, parts), strict=True):
            one += verdicts
    for expected, opening, all_verdicts, session in zip(rows, openings, found, sessions, strict=True):
        tag, one = all_verdicts[: len(opening)], all_verdicts[len(opening) :]
        assert {v.risk for v in tag} <= {Severity.SAFE}
        check(expected, [v.risk for v in one], [v.probabilities for v in one], [v.category for v in one])
        assert session.severity is guard.trace([expected.messages])[0].severity or chunk is None
        assert one[-1].is_flagged >= (session.severity is not Severity.SAFE)
        session.close()
        session.close()
    assert guard._parts.engine.growing_tokens == 0


def test_a_hidden_text_is_judged(guard, tokenizer):
    """Qwen3's own template would show what stands behind the last tag only."""
    ids = guard.encode([user("Hi."), assistant("<think>a</think>A secret.</think>Fine.")])
    assert "A secret." in tokenizer.decode(ids)
    assert "answer" in TEMPLATE


def test_places_in_the_text(guard):
    for messages in conversations():
        if messages[-1]["role"] == "assistant":
            trace = guard.trace([messages])[0]
            assert len(trace.offsets) == len(trace.token_ids) == len(trace.is_thinking)
            assert trace.offsets[-1].tolist() == [len(trace.text)] * 2
            if trace.flagged is not None:
                assert trace.flagged_char == trace.offsets[trace.flagged, 0]
                assert guard.moderate([messages])[0].flagged_char == trace.flagged_char


def test_thinking_and_answer_are_told_apart(guard, tokenizer):
    (trace,) = guard.trace([[user("Hi."), assistant("<think>\nLet me see.\n</think>\n\nHello.")]])
    parts = ["".join(tokenizer.decode([token]) for token, thinks in zip(trace.token_ids, trace.is_thinking, strict=True)
                     if thinks is wanted) for wanted in (np.True_, np.False_)]  # fmt: skip
    assert parts == ["Let me see.\n</think>", "\n\nHello.<|im_end|>\n"]
    (open_end,) = guard.trace([[user("Hi."), assistant("<think>\nLet me")]])
    assert open_end.is_thinking[:-2].all()
    assert not guard.trace([[user("Hi."), assistant("Hello.")]])[0].is_thinking.any()


def test_bad_rows_cost_only_themselves(guard):
    good = [user("Hi."), assistant("Hello.")]
    verdicts = guard.moderate([good, [], [{"role": "villain", "content": "x"}], good, [user("\ud83d")]])
    assert [isinstance(it, Verdict) for it in verdicts] == [True, False, False, True, True]
    assert verdicts[0] == verdicts[3]
    assert all(it.outcome is Outcome.GUARD_ERROR for it in verdicts[1:3])
    with pytest.raises(TypeError, match="a list of conversations"):
        guard.moderate(good)


def test_outputs_that_are_not_numbers_are_no_verdict(tokenizer):
    model = random_stream_model(len(tokenizer))
    broken = StreamGuard(model, tokenizer)
    with torch.no_grad():
        model.risk_level_head.weight[0, 0] = float("nan")
    (verdict,) = broken.moderate([[user("Hi."), assistant("Hello.")]])
    assert verdict.outcome is Outcome.GUARD_ERROR
    assert "not finite" in verdict.reason


def test_more_text_than_the_context_is_judged_in_windows(tokenizer):
    small = StreamGuard(random_stream_model(len(tokenizer), max_position_embeddings=256), tokenizer)
    words = " ".join(f"word {number}" for number in range(300))
    trace, prompt, short = small.trace(
        [[user("Hi."), assistant(words)], [user(words)], [user("Hi."), assistant("Yo.")]]
    )
    assert min(trace.windows, prompt.windows) > 2
    assert short.windows == 1
    assert tokenizer.decode(trace.token_ids[:-2]) == words
    assert len(trace.probabilities) == len(trace.token_ids) == len(trace.offsets)
    verdict = small.moderate([[user(words), assistant(words)]])[0]
    assert verdict.windows > 2
    # Of the first window all tokens, and of each further one those that are new, are as they are alone.
    inside = small.trace([[user("Hi."), assistant(words[:100])]])[0]
    np.testing.assert_allclose(trace.probabilities[:20], inside.probabilities[:20], atol=TOLERANCE)


def test_sessions_are_bounded(tokenizer, monkeypatch):
    small = StreamGuard(random_stream_model(len(tokenizer), max_position_embeddings=256), tokenizer)
    monkeypatch.setattr("guard_reward.guards.stream_guard.MAX_SESSIONS", 2)
    first, second = small.open([user("Hi.")]), small.open([user("Hi.")])
    with pytest.raises(RuntimeError, match="close those that have ended"):
        small.open([user("Hi.")])
    second.close()
    with pytest.raises(ValueError, match="takes no more tokens"):
        second.feed([1])
    with pytest.raises(ValueError, match="session is there twice"):
        small.feed_many([first, first], [[1], [2]])
    with pytest.raises(ValueError, match="the guard's context has 256"):
        first.feed([1] * 300)
    with pytest.raises(ValueError, match="made with the guard's tokenizer"):
        first.feed([1, 151_645])
    with pytest.raises(ValueError, match="role should be"):
        small.open([], role="system")
    assert first.feed([]) == []
    assert len(first.feed([1, 2])) == 2
    with pytest.raises(ValueError, match="the messages take"):
        small.open([user("x " * 300)])


def test_a_session_of_another_guard_is_refused(guard, tokenizer):
    other = StreamGuard(random_stream_model(len(tokenizer), seed=1), tokenizer)
    with other.open([user("Hi.")]) as session, pytest.raises(ValueError, match="is another guard's"):
        guard.feed_many([session], [[1]])


def test_outputs_that_are_not_numbers_change_no_session(tokenizer):
    model = random_stream_model(len(tokenizer))
    broken = StreamGuard(model, tokenizer)
    with broken.open([user("Hi.")]) as session:
        before = session.feed([1, 2])
        weight = model.risk_level_head.weight[0, 0].item()
        with torch.no_grad():
            model.risk_level_head.weight[0, 0] = float("nan")
        with pytest.raises(RuntimeError, match="no session has changed"):
            session.feed([3])
        with torch.no_grad():
            model.risk_level_head.weight[0, 0] = weight
        assert (session.token_ids, session.verdicts) == ([1, 2], before)
        again = broken.open([user("Hi.")])
        same(session.feed([3]), again.feed([1, 2, 3])[2:])


def test_a_session_is_rewound(guard):
    with guard.open([user("Hi.")]) as session, guard.open([user("Hi.")]) as other:
        session.feed([5, 6, 7, 8, 9])
        session.rewind(2)
        same(session.feed([1, 2]), other.feed([5, 6, 1, 2])[2:])
        assert session.severity is other.severity
        session.rewind(0)
        assert (session.severity, session.verdicts) == (Severity.SAFE, [])
        with pytest.raises(ValueError, match="cannot be rewound"):
            session.rewind(3)


def test_a_session_outlives_sleep_and_is_freed_with_its_owner(guard):
    messages = [user("Hi.")]
    with guard.open(messages) as session, guard.open(messages) as other:
        begun = [session.feed([5, 6]), other.feed([5, 6])]
        guard.sleep()
        same(session.feed([7, 8]), other.feed([7, 8]))
        same(*begun)
    assert guard._parts.engine.growing_tokens == 0
    forgotten = guard.open(messages)
    forgotten.feed([5])
    del forgotten
    assert guard._parts.engine.growing_rows == 0


def test_it_pickles_as_its_checkpoint(tmp_path, tokenizer):
    random_stream_model(len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    guard = load_guard(str(tmp_path), dtype="float32")
    rows = [[user("Hi."), assistant("Hello.")]]
    pickled = pickle.dumps(guard)
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).moderate(rows) == guard.moderate(rows)
    assert guard.describe()["spec"] == "qwen3guard-stream"
    with pytest.raises(ValueError, match="spec: a stream guard has no such option"):
        load_guard(str(tmp_path), spec="qwen3guard")


def test_small_batches_change_nothing(guard, tokenizer):
    rows = conversations()[:40]
    small = StreamGuard(guard.model, tokenizer, token_budget=50)
    for first, second in zip(guard.trace(rows), small.trace(rows), strict=True):
        np.testing.assert_allclose(first.probabilities, second.probabilities, atol=TOLERANCE)


def test_it_is_a_reward(guard):
    reward = GuardReward(guard, "guard_only")
    rewards = reward(prompts=["Hi."] * 2, completions=["Hello.", "Sure. First cut the gravok."])
    assert all(value in (0.0, 1.0) for value in rewards)
    assert not any(isinstance(it, Unjudged) for it in guard.moderate([[user("Hi."), assistant("Hello.")]]))
