"""Long calls are judged in chunks, the next one prepared while the model runs: the verdicts are those of one chunk."""

from __future__ import annotations

import threading
from random import Random

import pytest

from guard_reward.guards import TransformersGuard, inputs
from guard_reward.guards.inputs import chunks
from guard_reward.verdict import Outcome, Unjudged


def conversation(prompt, answer):
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def rows(count, *, group=4):
    """Rows in groups of one prompt, with repeats and rows that cannot be judged among them."""
    random = Random(0)
    words = ["blue", "gravok", "lamp", "Sure.", "No.", "USER: hi", "I", "cannot", "help", "\n", "how"]
    made = []
    for number in range(count):
        prompt = f"How do I use a {words[(number // group) % 3]} {number // group}?"
        made.append(conversation(prompt, " ".join(random.choices(words, k=random.randint(1, 8)))))
    made[5] = made[2]  # repeats, in one chunk and across chunks
    made[-1] = made[0]
    made[3] = [{"role": "robot", "content": "x"}]
    made[7] = "no conversation"
    return made


@pytest.fixture
def guard(tiny_guard):
    return TransformersGuard(tiny_guard.model, tiny_guard.tokenizer)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(inputs, "FIRST_CHUNK", 4)
    monkeypatch.setattr(inputs, "MAX_CHUNK", 8)


def test_chunks_change_no_verdict(guard, monkeypatch):
    batch = rows(60)
    whole = guard.moderate(batch)
    assert sum(isinstance(verdict, Unjudged) for verdict in whole) == 2
    for first, most in ((4, 8), (1, 1), (7, 64)):
        monkeypatch.setattr(inputs, "FIRST_CHUNK", first)
        monkeypatch.setattr(inputs, "MAX_CHUNK", most)
        for found, expected in zip(guard.moderate(batch), whole, strict=True):
            if isinstance(expected, Unjudged):
                assert found == expected
            else:
                assert (found.text, found.severity, found.refusal) == (
                    expected.text,
                    expected.severity,
                    expected.refusal,
                )
                assert found.probabilities.unsafe == pytest.approx(expected.probabilities.unsafe, abs=1e-4)


def test_timing_changes_nothing(guard, small_chunks, monkeypatch):
    """To the last bit: what shares a batch is decided by the conversations alone."""
    batch = rows(60)
    first = guard.moderate(batch)
    encode, generate = guard._parts.codec.prompter.encode_batch, guard.engine.generate
    for slow in ("host", "model"):

        def wait(name, function, slow=slow):
            def call(*arguments, **options):
                if name == slow:
                    threading.Event().wait(0.01)
                return function(*arguments, **options)

            return call

        monkeypatch.setattr(guard._parts.codec.prompter, "encode_batch", wait("host", encode))
        monkeypatch.setattr(guard.engine, "generate", wait("model", generate))
        assert guard.moderate(batch) == first


def test_the_next_chunk_is_encoded_while_the_model_runs(guard, small_chunks, monkeypatch):
    encoded, encode, generate = [], guard._parts.codec.prompter.encode_batch, guard.engine.generate
    two_encoded, waits = threading.Event(), []

    def encode_batch(conversations):
        encoded.append(threading.current_thread())
        if len(encoded) == 2:
            two_encoded.set()
        return encode(conversations)

    def run(*arguments, **options):
        waits.append(two_encoded.wait(10))  # the model's first batch goes on only after the second chunk is encoded
        return generate(*arguments, **options)

    monkeypatch.setattr(guard._parts.codec.prompter, "encode_batch", encode_batch)
    monkeypatch.setattr(guard.engine, "generate", run)
    guard.moderate(rows(30))
    assert all(waits)
    assert threading.current_thread() not in encoded


def test_equal_rows_are_scored_once_in_the_whole_call(guard, small_chunks):
    batch = [conversation("How?", f"Answer {number % 10}.") for number in range(100)]
    before = guard.usage
    verdicts = guard.moderate(batch)
    assert guard.usage.since(before).rows == 10
    assert verdicts[:10] * 10 == verdicts


def test_an_error_of_the_machine_is_each_rows_own(guard, small_chunks, monkeypatch):
    generate, calls = guard.engine.generate, []

    def fails_in_the_second_chunk(inputs, *arguments, **options):
        calls.append(len(inputs))
        if len(calls) == 2:
            raise RuntimeError("kernel failed")
        return generate(inputs, *arguments, **options)

    monkeypatch.setattr(guard.engine, "generate", fails_in_the_second_chunk)
    verdicts = guard.moderate([conversation("How?", f"Answer {number}.") for number in range(20)])
    assert not any(isinstance(verdict, Unjudged) for verdict in verdicts)  # its halves were tried again


def test_an_interrupt_leaves_no_thread(guard, small_chunks, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(guard.engine, "generate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        guard.moderate(rows(60))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("guard_reward_ahead")]


def test_an_exception_that_is_kept_keeps_no_thread(guard, small_chunks, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(guard._parts.batches, "run", fail)
    with pytest.raises(MemoryError) as kept:
        guard.moderate(rows(60))
    assert kept.value is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("guard_reward_ahead")]


# --- which rows come together ---------------------------------------------------------------------------------------


def test_every_row_is_in_one_chunk(small_chunks):
    batch = rows(61)
    found = list(chunks(batch))
    assert sorted(number for chunk in found for number in chunk) == list(range(61))
    assert len(found[0]) == 4
    assert max(map(len, found)) <= 8


def test_rows_of_one_prompt_come_together_wherever_they_stand():
    """As in a batch that holds the first completion of each prompt, then the second of each, and so on."""
    batch = [conversation(f"prompt {number % 50}", f"answer {number}") for number in range(400)]
    found = list(chunks(batch))
    assert len(found) > 1
    for prompt in range(50):
        own = set(range(prompt, 400, 50))
        assert sum(not own.isdisjoint(chunk) for chunk in found) == 1


def test_a_prompt_with_more_completions_than_a_chunk_holds_is_cut(small_chunks):
    found = list(chunks([conversation("q", str(number)) for number in range(30)]))
    assert max(map(len, found)) == 8
    assert sum(map(len, found)) == 30


@pytest.mark.parametrize("odd", [None, 5, "text", [], [{"role": "user"}, {}], [{"role": ["x"], "content": {}}, {}]])
def test_conversations_in_unknown_shapes_are_in_chunks_too(odd, tiny_guard):
    assert list(chunks([odd, odd])) == [[0, 1]]
    assert tiny_guard.moderate([odd, conversation("q", "a")])[0].outcome in (Outcome.GUARD_ERROR, None)


def test_contents_that_cannot_be_compared_stop_no_other_row(guard):
    class Odd(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            raise RuntimeError("not comparable")

    batch = [conversation(kind("How do I bake bread?"), "Knead it.") for kind in (str, Odd, str, Odd)]
    assert len({verdict.text for verdict in guard.moderate(batch)}) == 1
