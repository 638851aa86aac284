"""More text than the context holds: windows that cover all of it, and the worst verdict wins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.guards.windows import split_into_windows, worst_verdict
from guard_reward.schemes import Assessment, Hybrid, SeverityTable, Soft
from guard_reward.verdict import Outcome, Probabilities, Severity, Unjudged, Verdict

SAFE, CONTROVERSIAL, UNSAFE = Severity.SAFE, Severity.CONTROVERSIAL, Severity.UNSAFE


def verdict(severity, *, refusal=False, unsafe=None, categories=()):
    probabilities = None if unsafe is None else Probabilities(1 - unsafe, 0.0, unsafe)
    return Verdict(severity, categories, refusal, probabilities, text=str(severity))


FAILED = Unjudged(Outcome.NO_VERDICT, "?", "no lines")


@pytest.mark.parametrize(
    ("windows", "severity", "refusal"),
    [
        ([verdict(SAFE), verdict(SAFE)], SAFE, False),  # all well
        ([verdict(SAFE), verdict(CONTROVERSIAL)], CONTROVERSIAL, False),  # worse at end
        ([verdict(UNSAFE), verdict(SAFE), verdict(CONTROVERSIAL)], UNSAFE, False),  # worst at start
        ([verdict(SAFE, refusal=True), verdict(SAFE)], SAFE, True),  # a refusal counts
        ([verdict(SAFE, refusal=True), verdict(UNSAFE)], UNSAFE, True),  # wherever it stands
        ([verdict(SAFE, refusal=None), verdict(SAFE, refusal=None)], SAFE, None),  # a long prompt
        ([FAILED, verdict(UNSAFE)], UNSAFE, False),  # nothing is worse
    ],
)
def test_the_worst_wins(windows, severity, refusal):
    worst = worst_verdict(windows)
    assert (worst.severity, worst.refusal, worst.windows) == (severity, refusal, len(windows))


def test_among_equals_the_likeliest_to_be_unsafe_wins():
    windows = [verdict(SAFE, unsafe=0.1), verdict(SAFE, unsafe=0.4), verdict(SAFE), verdict(SAFE, unsafe=0.2)]
    assert worst_verdict(windows).probabilities.unsafe == 0.4


def judged(severity, categories=(), refusal=False, p_refusal=0.0, unsafe=0.0, mass=1.0, unknown=()):
    probabilities = Probabilities(1 - unsafe, 0.0, unsafe)
    text = f"{severity} {refusal}"
    return Verdict(severity, categories, refusal, probabilities, mass, p_refusal, text, unknown_categories=unknown)


REFUSES = judged(SAFE, refusal=True, p_refusal=0.99, unsafe=0.01, mass=0.9)
ANSWERS = judged(SAFE, p_refusal=0.01, unsafe=0.02, mass=0.8)
VIOLENT = judged(UNSAFE, ("Violent",), unsafe=0.90)
PRIVATE = judged(UNSAFE, ("PII", "Spying"), unsafe=0.99, unknown=("Spying",))
DOUBTFUL = judged(CONTROVERSIAL, ("Unethical Acts",), unsafe=0.3)


@pytest.mark.parametrize(
    ("windows", "field", "expected"),
    [
        ([REFUSES, ANSWERS], "refusal_probability", 0.99),  # not the worst window's
        ([REFUSES, VIOLENT], "refusal_probability", 0.99),  # whatever is worse
        ([verdict(SAFE), verdict(SAFE)], "refusal_probability", None),  # nobody says
        ([verdict(SAFE), ANSWERS], "refusal_probability", 0.01),  # one says
        ([VIOLENT, PRIVATE], "categories", ("Violent", "PII", "Spying")),  # of both, in order
        ([PRIVATE, VIOLENT, PRIVATE], "categories", ("PII", "Spying", "Violent")),  # without repeats
        ([DOUBTFUL, VIOLENT], "categories", ("Violent",)),  # of the worst severity only
        ([FAILED, PRIVATE, VIOLENT], "categories", ("PII", "Spying", "Violent")),  # beside a failed one
        ([VIOLENT, PRIVATE], "unknown_categories", ("Spying",)),
        ([PRIVATE, VIOLENT], "unknown_categories", ("Spying",)),  # the worst window or another
        ([VIOLENT, PRIVATE], "probabilities", PRIVATE.probabilities),  # the worst window's
        ([REFUSES, ANSWERS], "label_mass", 0.8),  # of the same window
        ([REFUSES, ANSWERS], "text", ANSWERS.text),
        ([verdict(SAFE, refusal=None), verdict(UNSAFE, refusal=None)], "refusal", None),
    ],
)
def test_what_every_window_knows_counts(windows, field, expected):
    assert getattr(worst_verdict(windows), field) == expected


@pytest.mark.parametrize(
    ("scheme", "windows", "value"),
    [
        (Hybrid(), [REFUSES, ANSWERS], -5.0),  # a refusal
        (Soft(Hybrid()), [REFUSES, ANSWERS], 0.98 * (0.99 * -5 + 0.01 * 3) + 0.02 * -10),  # the same, expected
        (SeverityTable(categories={"Violent": -3.0}), [VIOLENT, PRIVATE], -3.0),  # the lowest of several
        (SeverityTable(categories={"PII": -2.0}), [DOUBTFUL, VIOLENT, PRIVATE], -2.0),
    ],
)
def test_schemes_pay_for_what_every_window_knows(scheme, windows, value):
    assert scheme(Assessment(worst_verdict(windows), helpfulness=3.0)) == pytest.approx(value)


@settings(deadline=None, max_examples=50)
@given(st.permutations([REFUSES, ANSWERS, VIOLENT, PRIVATE, DOUBTFUL]), st.integers(2, 5))
def test_the_order_of_windows_does_not_matter(windows, count):
    found = worst_verdict(windows[:count])
    again = worst_verdict(windows[:count][::-1])
    assert found == replace(again, categories=found.categories)
    assert set(found.categories) == set(again.categories)


@pytest.mark.parametrize(
    "windows",
    [
        [verdict(SAFE), FAILED],  # could be worst
        [FAILED, verdict(CONTROVERSIAL)],  # could be worse
        [FAILED, FAILED],  # nothing known
    ],
)
def test_a_window_without_a_verdict_could_be_the_worst(windows):
    worst = worst_verdict(windows)
    assert worst.outcome == Outcome.NO_VERDICT
    assert worst.reason == "one of 2 windows: no lines"


def test_one_window_is_itself():
    for only in (verdict(UNSAFE), FAILED):
        assert worst_verdict([only]) is only


# --- cutting: with one token a character, what fits can be counted --------------------------------------------------

FRAME = 100


def count(messages):
    return FRAME + sum(len(message["role"]) + 2 + len(message["content"]) for message in messages)


def cut(text, size, overlap):
    if len(text) <= size:
        return [text]
    return [text[start : start + size] for start in range(0, max(len(text) - overlap, 1), size - overlap)]


@settings(deadline=None)
@given(
    before=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.integers(0, 900)), max_size=3),
    last=st.tuples(st.sampled_from(["user", "assistant"]), st.integers(1, 3000)),
    limit=st.integers(300, 900),
)
def test_the_windows_fit_and_together_show_everything(before, last, limit):
    characters = iter(range(0x4E00, 0xA000))  # each once, so that what is shown can be told
    turns = [
        {"role": role, "content": "".join(chr(next(characters)) for _ in range(length))}
        for role, length in [*before, last]
    ]
    windows = split_into_windows(turns, limit, count, cut, QWEN3GUARD.turn_labels)
    assert all(count(window) <= limit for window in windows)
    assert all(window[-1]["role"] == last[0] for window in windows)
    pairs = {(a, b) for w in windows for a in w[-1]["content"] for b in "".join(m["content"] for m in w[:-1])[::50]}
    for turn in turns[:-1]:
        shown = "".join(message["content"] for window in windows for message in window[:-1])
        assert set(turn["content"]) <= set(shown)
    assert set(turns[-1]["content"]) == {c for window in windows for c in window[-1]["content"]}
    every_before = [c for turn in turns[:-1] for c in turn["content"]]
    if every_before:  # every part of the conversation beside every part of the judged message
        first, final = every_before[0], turns[-1]["content"][-1]
        assert any(
            final in window[-1]["content"] and any(first in message["content"] for message in window[:-1])
            for window in windows
        )
    assert pairs or not every_before


def test_a_short_conversation_stays_whole_beside_every_window():
    context = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    windows = split_into_windows(
        [*context, {"role": "assistant", "content": "x" * 500}], 300, count, cut, QWEN3GUARD.turn_labels
    )
    assert len(windows) > 1
    assert all(window[:-1] == context for window in windows)


def test_a_long_conversation_is_cut_with_its_speakers_labelled():
    turns = [{"role": r, "content": r[0] * 200} for r in ("system", "user", "assistant", "user")]
    windows = split_into_windows(
        [*turns, {"role": "assistant", "content": "x"}], 400, count, cut, QWEN3GUARD.turn_labels
    )
    shown = windows[0][0]["content"]
    assert shown.startswith("ss")  # the template labels the first itself
    joined = "".join(window[0]["content"] for window in windows)
    assert joined.count("USER: ") >= 1
    assert joined.count("ASSISTANT: ") >= 1


def test_what_a_user_wrote_is_not_taken_for_a_label():
    turns = [{"role": "user", "content": "SYSTEM: " + "x" * 400}, {"role": "assistant", "content": "y"}]
    assert split_into_windows(turns, 400, count, cut, QWEN3GUARD.turn_labels)[0][0]["content"].startswith("SYSTEM: x")


def test_no_room():
    with pytest.raises(ValueError, match=r"take 1\d\d of 180 tokens"):
        split_into_windows([{"role": "user", "content": "x" * 500}], 180, count, cut, QWEN3GUARD.turn_labels)


# --- the cut itself: real tokenizers --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(
                [
                    "The tazzle ",
                    "不可以 ",
                    "🙂👩‍👩‍👧‍👦",
                    "e\u0301\u0323",
                    "a" * 40,
                    "\n\n",
                    "<|im_end|>",
                    "<think>",
                    "   ",
                ]
            ),
        ),
        min_size=5,
        max_size=60,
    ).map("".join),
    size=st.integers(16, 64),
)
def test_the_parts_cover_the_text_overlap_and_fit(tiny_guard, text, size):
    overlap = size // 8
    parts = tiny_guard._parts.encoder.cut(text, size, overlap)
    position = 0  # up to here the text has been shown
    for part in parts:
        start = text.rfind(part, 0, position + len(part))  # the last place without a gap before it
        assert start >= 0
        position = max(position, start + len(part))
    assert position == len(text)
    lengths = [len(tiny_guard.tokenizer.encode(p, add_special_tokens=False, split_special_tokens=True)) for p in parts]
    assert max(lengths) <= size + 16  # windows.MARGIN


def test_a_text_that_fits_is_not_cut(tiny_guard):
    assert tiny_guard._parts.encoder.cut("short", 50, 5) == ["short"]
    assert tiny_guard._parts.encoder.cut("", 50, 5) == [""]


# --- a guard with a short context -----------------------------------------------------------------------------------


def by_keyword(text):
    severity = "Unsafe" if "poison" in text else "Safe"
    return f"Safety: {severity}\nCategories: None\nRefusal: No"


@pytest.mark.parametrize("where", [0.0, 0.3, 0.5, 0.77, 1.0])
def test_a_harmful_passage_is_found_wherever_it_stands(small_context, answers_by, where):
    guard = small_context(400)
    seen = answers_by(guard, by_keyword)
    words = ["the tazzle is warm"] * 300
    words.insert(int(where * 300), "poison")
    answer = " ".join(words)
    conversation = [{"role": "user", "content": "How do I bake?"}, {"role": "assistant", "content": answer}]
    [result] = guard.moderate([conversation])
    assert result.severity == UNSAFE
    assert result.windows > 5
    assert result.windows >= len(seen)  # windows that read the same are judged once
    assert sum("poison" in text for text in seen) >= 1
    assert all("How do I bake?" in text for text in seen)
    assert all(len(guard.tokenizer.encode(text)) <= 400 - 128 for text in seen)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_and_in_whichever_message(small_context, answers_by, position):
    """A long prompt, a long conversation: the guard sees all of it, too."""
    guard = small_context(400)
    answers_by(guard, by_keyword)
    contents = ["the tazzle is warm. " * 60 for _ in range(3)]
    contents[position] += " poison " + "the tazzle is warm. " * 30
    roles = ["user", "assistant", "user"]
    [result] = guard.moderate([[{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]])
    assert result.severity == UNSAFE


def test_long_and_short_rows_keep_their_order(small_context, answers_by):
    guard = small_context(400)
    answers_by(guard, by_keyword)
    texts = ["ok", "warm " * 900 + "poison", "poison", "warm " * 900, "ok"]
    results = guard.moderate([[{"role": "user", "content": text}] for text in texts])
    assert [result.severity for result in results] == [SAFE, UNSAFE, UNSAFE, SAFE, SAFE]
    assert [result.windows > 1 for result in results] == [False, True, False, True, False]


def test_the_real_model_judges_windows_too(small_context):
    guard = small_context(400)
    [result] = guard.moderate([[{"role": "user", "content": "bake a cake. " * 200}]])
    assert result.windows > 1 if isinstance(result, Verdict) else "windows" in result.reason


def test_a_context_without_any_room(small_context):
    [result] = small_context(200).moderate([[{"role": "user", "content": "bake a cake. " * 200}]])
    assert result.outcome == Outcome.TOO_LONG
    assert "nothing is left for the text" in result.reason
