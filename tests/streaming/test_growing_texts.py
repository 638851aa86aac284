"""Growing texts are decoded piece by piece, and read as a whole would be."""

from __future__ import annotations

from random import Random

import pytest

from guard_reward import StreamGuard
from guard_reward.streaming import TextFeed, text_feed
from guard_reward.streaming.growing_texts import GrowingTexts
from guard_reward.tiny.tokenizer import build_tokenizer
from tests.languages import SENTENCES
from tests.stream_models import random_stream_model

TEXTS = [f"{text}\n\n  {text}\t{text}😀👩‍👩‍👧 é" for text in SENTENCES.values()]


@pytest.fixture(scope="module")
def guard():
    tokenizer = build_tokenizer("guard")
    return StreamGuard(random_stream_model(len(tokenizer)), tokenizer)


@pytest.mark.parametrize("seed", range(3))
def test_decoded_piece_by_piece(guard, seed):
    """Bytes of characters that are not whole yet are no character of the text before."""
    random, tokenizer = Random(seed), guard.tokenizer
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    ids[0] = [*ids[0][:5], tokenizer.eos_token_id, *ids[0][5:], 9_999 % len(tokenizer)]
    grown = GrowingTexts(tokenizer, len(ids))
    lengths = [0] * len(ids)
    while any(length < len(row) for length, row in zip(lengths, ids, strict=True)):
        lengths = [
            min(length + random.choice((0, 1, 1, 2, 5)), len(row)) for length, row in zip(lengths, ids, strict=True)
        ]
        parts = [row[:length] for row, length in zip(ids, lengths, strict=True)]
        assert grown(parts) == tokenizer.batch_decode(parts, skip_special_tokens=True)


def test_only_the_end_of_a_text_is_tokenised_again(guard, monkeypatch):
    """So that a step costs the same at any length; what the guard has read is the whole text's."""
    sizes = []
    original = text_feed._tokens

    def counted(guard, texts):
        found = original(guard, texts)
        sizes.append(max(len(ids) for ids, _ in found))
        return found

    monkeypatch.setattr(text_feed, "_tokens", counted)
    messages = [{"role": "user", "content": "Hi."}]
    for text in (" ".join(TEXTS[:3]), "a" * 300, "😀" * 100, " " * 200 + "end", "word\n" * 80):
        feed = TextFeed(guard, messages)
        for end in range(1, len(text) + 1, 3):
            TextFeed.grow([feed], [text[:end]])
            whole = original(guard, [text[:end]])[0]
            ready = text_feed._ready(text[:end], whole[1])
            assert feed.session.token_ids == whole[0][:ready]
            assert feed._starts == whole[1][:ready]
        feed.close()
    sizes.clear()
    feed = TextFeed(guard, messages)
    text = " ".join(TEXTS[:5])
    for end in range(1, len(text) + 1):
        TextFeed.grow([feed], [text[:end]])
    assert len(feed.session.token_ids) > 500
    assert sorted(sizes)[int(0.95 * len(sizes))] < 60
    feed.close()


def test_a_character_that_never_ends_costs_nothing(guard):
    """A collapsed policy may write the first byte of a character for ever."""
    tokenizer = guard.tokenizer
    first = tokenizer("你", add_special_tokens=False)["input_ids"][0]
    grown, spans = GrowingTexts(tokenizer, 1), []
    original = grown._decoded
    grown._decoded = lambda ids: spans.extend(map(len, ids)) or original(ids)
    for length in range(1, 400):
        grown([[first] * length])
    assert max(spans) < 10


def test_a_space_behind_a_token_that_shows_nothing():
    """Some tokenizers write no space in front of a text's first word."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import AddedToken, Tokenizer, decoders, models

    words = {"<s>": 0, "\u2581Hello": 1, "\u2581world": 2}
    raw = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    raw.decoder = decoders.Metaspace()
    raw.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>")
    ids = [1, *[0] * 5, 2, 0, 2]
    grown = GrowingTexts(tokenizer, 1)
    for length in range(len(ids) + 1):
        assert grown([ids[:length]]) == tokenizer.batch_decode([ids[:length]], skip_special_tokens=True)


def test_long_words_take_no_long_time():
    """Each step looks at the last few tokens: a run of letters costs what other text costs."""
    for text in ("a" * 200_000 + " x", "hello" * 40_000 + " x", "\u0301" * 200_000 + "."):
        starts = list(range(0, len(text), 4))
        assert text_feed._ready(text, starts) >= len(starts) - 8


@pytest.mark.parametrize(("text", "starts", "ready"), [("to cafe\u0301s", [0, 2, 5, 8], 1), ("यह वि", [0, 2, 4], 1)])
def test_marks_belong_to_their_word(text, starts, ready):
    assert text_feed._ready(text, starts) == ready
