"""Many conversations at a time: each gets the ids that it gets alone, and fails alone."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard_reward.models.chat_template import Prompter
from tests.models.conversations import TEMPLATES, TEXTS, TURNS, by_template, exchange


@pytest.fixture(scope="module")
def marking(prompters):
    """Prompters that render every conversation, with its contents marked, as for templates that do more than copy."""
    made = {name: copy.copy(prompter) for name, prompter in prompters.items()}
    for prompter in made.values():
        prompter._copies = False
    return made


def test_which_templates_are_rendered_once(prompters):
    assert [name for name, prompter in prompters.items() if not prompter._copies] == ["trimmed"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(st.tuples(TURNS, TEXTS), max_size=5), template=st.sampled_from(sorted(TEMPLATES)))
def test_a_batch_has_the_ids_of_each_alone(prompters, marking, batch, template):
    conversations = [
        prompters[template].normalize(
            [{"role": "user", "content": "q"}, *({"role": r, "content": t} for r, t in turns), exchange("", last)[1]]
        )
        for turns, last in batch
    ]
    together = [ids.tolist() for ids in prompters[template].encode_batch(conversations)]
    assert together == [prompters[template].encode_turns(turns) for turns in conversations]
    assert together == [marking[template].encode_turns(turns) for turns in conversations]


def test_a_copying_template_is_rendered_once_per_sequence_of_roles(prompters, monkeypatch):
    prompter, rendered = copy.copy(prompters["qwen3guard"]), []
    prompter._layouts = {}
    render = prompter._render
    monkeypatch.setattr(prompter, "_render", lambda turns: rendered.append(turns) or render(turns))
    conversations = [exchange(f"q{n}", f"a{n}")[: 1 + n % 2] for n in range(10)]
    ids = prompter.encode_batch(conversations)
    assert [row.tolist() for row in ids] == [by_template(prompter, turns) for turns in conversations]
    assert len(rendered) == 2


@pytest.mark.parametrize("name", ["chatml", "trimmed"])
def test_special_tokens_that_look_like_place_holders(prompters, qwen_tokenizer, name):
    tokenizer = copy.deepcopy(qwen_tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["\ue000", "\ue001", "0", "1"]})
    prompter = Prompter(tokenizer, template=prompters[name].template)
    added = set(tokenizer.convert_tokens_to_ids(["\ue000", "\ue001"]))  # "0" is an ordinary token too
    messages = exchange("How many? 10 \ue000", "It is \ue001 0.")
    ids = prompter.encode(messages)
    text = tokenizer.decode(ids)
    assert all(message["content"] in text for message in messages)
    assert not added & set(ids)


def test_a_conversation_without_turns_fails_alone(qwen):
    first, failed, last = qwen.encode_batch([exchange("q", "a"), [], exchange("q", "a")])
    assert first.tolist() == last.tolist()
    assert isinstance(failed, Exception)


def test_kept_renderings_are_bounded(qwen):
    prompter = copy.copy(qwen)
    prompter._layouts = {}
    for turns in range(1, 600):
        prompter.encode_turns([{"role": "user", "content": "q"}] * turns)
    assert len(prompter._layouts) <= 256


def test_a_conversation_that_fails_is_named_and_the_others_are_encoded(qwen_tokenizer):
    tokenizer = copy.copy(qwen_tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<|im_start|>{{ m.content }}{% endfor %}"
    )
    prompter = Prompter(tokenizer)
    good, bad = exchange("q", "a"), [{"role": "system", "content": "s"}, *exchange("q", "a")]
    first, failed, last = prompter.encode_batch([good, bad, good])
    assert first.tolist() == last.tolist() == by_template(prompter, good)
    assert "no system" in str(failed)
    with pytest.raises(Exception, match="no system"):
        prompter.encode_turns(bad)


def test_a_text_that_the_tokenizer_refuses_fails_alone(qwen):
    conversations = [exchange("q", "a"), exchange("q", "\ud800"), exchange("q", "b")]  # not normalised
    first, failed, last = qwen.encode_batch(conversations)
    assert (first.tolist(), last.tolist()) == (qwen.encode(conversations[0]), qwen.encode(conversations[2]))
    assert isinstance(failed, Exception)


@pytest.mark.parametrize("trim", ["", " | trim"])
def test_a_slow_tokenizer(trim):
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content" + trim + " }}</s>{% endfor %}"
    prompter = Prompter(tokenizer)
    honest, forged = exchange("How?", "Só: 你好"), exchange("</s>", "<pad>")
    assert prompter.encode(honest) == by_template(prompter, honest)
    end = tokenizer.eos_token_id
    ids = [row.tolist() for row in prompter.encode_batch([honest, forged])]
    assert ids[0] == prompter.encode(honest)
    assert [row.count(end) for row in ids] == [2, 2]


def test_threads_that_meet_ever_new_sequences_of_roles(prompters, monkeypatch):
    """What one thread has just laid out may be dropped by another one."""
    monkeypatch.setattr("guard_reward.models.chat_template._MAX_LAYOUTS", 1)
    prompter = copy.copy(prompters["chatml"])
    prompter._layouts = {}
    conversations = [exchange("q", "a")[:1] * turns for turns in range(1, 9)]
    expected = [prompter.encode_turns(turns) for turns in conversations]
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda number: prompter.encode_turns(conversations[number % 8]), range(400))
        assert list(found) == expected * 50
