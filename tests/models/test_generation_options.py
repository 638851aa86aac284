"""Options of a generation config that the arg-max does not know: named if they count, and only then."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from transformers import GenerationConfig

from guard_reward.models.generation_options import ignored_options

COUNTS = [
    {"suppress_tokens": [3]},
    {"begin_suppress_tokens": [3]},
    {"bad_words_ids": [[3]]},
    {"sequence_bias": [[[3], 1.0]]},
    {"min_new_tokens": 30},
    {"min_length": 500},
    {"stop_strings": ["Unsafe"]},
    {"repetition_penalty": 1.05},
    {"encoder_repetition_penalty": 1.2},
    {"no_repeat_ngram_size": 3},
    {"encoder_no_repeat_ngram_size": 3},
    {"exponential_decay_length_penalty": (5, 1.1)},
    {"forced_bos_token_id": 3},
    {"forced_eos_token_id": 3},
    {"guidance_scale": 1.5},
    {"watermarking_config": {"bias": 2.0}},
    {"token_healing": True},
    {"max_time": 3.0},
    {"num_beams": 4},
    {"penalty_alpha": 0.6},  # contrastive search
    {"dola_layers": "low"},  # layers are contrasted
    {"force_words_ids": [[3]]},  # constrained beams
    {"is_assistant": True, "assistant_confidence_threshold": 0.4},  # stops when unsure
    {"cache_implementation": "quantized"},  # other keys and values
]
DOES_NOT_COUNT = [
    {},
    {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.1},  # as most chat models have it
    {"max_new_tokens": 3},  # the specification's limit is used
    {"max_length": 3},
    {"repetition_penalty": 1.0, "num_beams": 1, "no_repeat_ngram_size": 0, "guidance_scale": 1.0},  # switched off
    {"renormalize_logits": True},  # keeps the order
    {"use_cache": False},
    {"prompt_lookup_num_tokens": 3},  # faster, with the same answer
    {"penalty_alpha": 0.6, "top_k": 1},  # contrastive search among one
    {"somebodys_own_key": 3},
]


@pytest.fixture
def with_options(tiny_guard):
    def make(options):
        model = copy.copy(tiny_guard.model)  # shares the weights
        model.generation_config = GenerationConfig(**tiny_guard.model.generation_config.to_diff_dict(), **options)
        return model

    return make


@pytest.mark.parametrize("options", COUNTS, ids=lambda options: next(iter(options)))
def test_what_counts_is_named(with_options, options):
    model = with_options(options)
    [name] = [name for name in options if name != "assistant_confidence_threshold"]
    assert list(ignored_options(model, 128)) == [name]


@pytest.mark.parametrize("options", DOES_NOT_COUNT, ids=lambda options: next(iter(options), "nothing"))
def test_what_does_not_count_is_not_named_and_generate_says_the_same(with_options, tiny_guard, options):
    model = with_options(options)
    assert ignored_options(model, 128) == {}
    row = [{"role": "user", "content": "How do I use a blue gravok?"}]
    ids = torch.tensor([tiny_guard.encode(row)])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=128, do_sample=False)
    answer = tiny_guard.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    assert answer == tiny_guard.moderate([row])[0].text


def test_among_others_only_what_counts_is_named(with_options):
    options = {"do_sample": True, "temperature": 0.7, "top_k": 20, "repetition_penalty": 1.05, "suppress_tokens": [3]}
    model = with_options(options)
    before = model.generation_config
    assert ignored_options(model, 128) == {"repetition_penalty": 1.05, "suppress_tokens": [3]}
    assert model.generation_config is before


def test_what_generate_refuses_is_named(with_options):
    model = with_options({"do_sample": True, "num_return_sequences": 2})
    assert ignored_options(model, 128) == {"num_return_sequences": 2}


def test_a_model_without_a_generation_config(with_options):
    model = with_options({})
    model.generation_config = None
    assert ignored_options(model, 128) == {}


def test_transformers_remarks_are_not_repeated(with_options, caplog, recwarn):
    model = with_options({"max_length": 3, "top_p": 0.8, "repetition_penalty": 1.05, "min_length": 500})
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        ignored_options(model, 128)
    assert caplog.records == []
    assert recwarn.list == []
