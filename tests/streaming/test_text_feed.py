"""A growing text of any tokenizer is read as the guard's tokens of the whole text."""

from __future__ import annotations

from random import Random

import pytest

from guard_reward import Severity, StreamGuard
from guard_reward.streaming import TextFeed
from guard_reward.tiny.tokenizer import build_tokenizer
from tests.languages import SENTENCES
from tests.stream_models import random_stream_model

USER = [{"role": "user", "content": "Hi."}]


@pytest.fixture(scope="module")
def guard():
    tokenizer = build_tokenizer("guard")
    return StreamGuard(random_stream_model(len(tokenizer)), tokenizer)


def whole(guard, text):
    """What the trace says of the text's own tokens."""
    (trace,) = guard.trace([[*USER, {"role": "assistant", "content": text}]])
    return trace.token_ids[:-2].tolist(), trace.risks[:-2]


@pytest.mark.parametrize("seed", range(3))
def test_texts_that_grow_by_any_pieces_end_as_their_whole(guard, seed):
    random = Random(seed)
    texts = [f"{random.choice(list(SENTENCES.values()))}\n\n{text} {text}" for text in SENTENCES.values()]
    feeds = [TextFeed(guard, USER) for _ in texts]
    lengths = [0] * len(texts)
    while any(length < len(text) for length, text in zip(lengths, texts, strict=True)):
        lengths = [min(length + random.randint(0, 15), len(text)) for length, text in zip(lengths, texts, strict=True)]
        TextFeed.grow(feeds, [text[:length] for text, length in zip(texts, lengths, strict=True)])
    TextFeed.grow(feeds, texts, at_end=True)
    for feed, text in zip(feeds, texts, strict=True):
        ids, risks = whole(guard, text)
        assert feed.session.token_ids == ids
        assert [verdict.risk for verdict in feed.session.verdicts] == risks
        feed.close()


def test_a_text_that_is_taken_back(guard):
    feed = TextFeed(guard, USER)
    TextFeed.grow([feed], ["One thing and another thing, and more"])
    TextFeed.grow([feed], ["One thing or nothing."], at_end=True)
    assert feed.session.token_ids == whole(guard, "One thing or nothing.")[0]
    feed.close()


def test_the_first_flagged_character(tiny_stream_guard):
    text = "Sure. First cut the gravok, then wash the gravok."
    feed = TextFeed(tiny_stream_guard, [{"role": "user", "content": "How do I use a blue gravok?"}])
    flagged_at = []
    for end in range(len(text) + 1):
        TextFeed.grow([feed], [text[:end]])
        if feed.session.severity is Severity.UNSAFE:
            flagged_at.append(end)
    assert text[: feed.flagged_char] == "Sure. First cut the gravok"
    assert flagged_at[0] <= len("Sure. First cut the gravok, then ")
    feed.close()
    TextFeed.grow([], [])


@pytest.mark.parametrize("text", ["<think>\nLet me see.\n</think>\n\nHello.", "<think>", "<thinking> is a word"])
def test_a_text_with_thinking_is_read_as_the_trace_reads_it(guard, text):
    """The opening tag is not judged there."""
    feed = TextFeed(guard, USER)
    for end in range(len(text) + 1):
        TextFeed.grow([feed], [text[:end]])
    TextFeed.grow([feed], [text], at_end=True)
    ids, risks = whole(guard, text)
    opening = len(feed.session.token_ids) - len(ids)
    assert opening == (2 if text.startswith("<think>\n") else text.startswith("<think>"))
    assert feed.session.token_ids[opening:] == ids
    assert [verdict.risk for verdict in feed.session.verdicts] == [Severity.SAFE] * opening + risks
    TextFeed.grow([feed], ["Hello. I am here."], at_end=True)  # no thinking any more
    assert feed.session.token_ids == whole(guard, "Hello. I am here.")[0]
    feed.close()
    assert guard._parts.engine.growing_rows == 0


def test_pieces_of_a_word_wait_for_the_word(tiny_stream_guard):
    """Letter by letter, as from a policy with small tokens: no safe reply is flagged on the way."""
    for text in (
        "Of course. First cut the garden, then paint the wall.",
        "I cannot help with the gravok. Ask me about gardens.",
    ):
        with TextFeed(tiny_stream_guard, [{"role": "user", "content": "How do I use a blue garden?"}]) as feed:
            for end in range(len(text) + 1):
                TextFeed.grow([feed], [text[:end]])
                read = tiny_stream_guard.tokenizer.decode(feed.session.token_ids)
                assert text.startswith(read)
                assert not text[len(read) - 1 : len(read) + 1].isalpha() or not read
