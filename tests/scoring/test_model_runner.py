"""Both runners compute what the model computes: for all architectures, the answers are those of greedy ``generate``."""

from __future__ import annotations

import pytest
import torch

from guard_reward.scoring import FastRunner, GenericRunner, ScoringEngine, choose_runner

FAST = [
    ("Qwen3", {}),
    ("Qwen3", {"attention_bias": True}),
    ("Qwen3", {"num_key_value_heads": 4}),  # no grouped heads
    ("Llama", {}),
    (
        "Llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    ("Mistral", {"sliding_window": None}),
    ("Qwen2", {}),
]
GENERIC = [
    ("Gemma", {}),  # scales the embedding, norms its own way
    ("Granite", {"logits_scaling": 3.0}),  # scales the logits
    ("Cohere", {"logit_scale": 0.25}),  # scales the logits, attention and MLP side by side
    ("GPTNeoX", {"rotary_pct": 1.0}),  # names of its own
    ("Phi3", {}),  # query, key and value in one projection
    ("Olmo2", {}),  # norms behind attention
    (
        "Gemma2",
        {
            "final_logit_softcapping": 2.0,
            "attn_logit_softcapping": None,
            "query_pre_attn_scalar": 16,
            "layer_types": ["full_attention"] * 2,
        },
    ),  # caps the logits
]


def answers(generations):
    return [(generation.token_ids, generation.ended) for generation in generations]


@pytest.mark.parametrize(("architecture", "config"), [*FAST, *GENERIC])
@pytest.mark.parametrize("seed", [2, 3])
def test_equal_to_greedy_generate(toy, architecture, config, seed):
    model = toy.model(seed, architecture, **config)
    runner = choose_runner(model)
    assert runner.name == ("fast" if (architecture, config) in FAST else "generic")
    inputs = toy.inputs(seed, 9)
    chosen = [toy.response if i % 3 else toy.prompt for i in range(9)]
    expected = toy.greedy(model, inputs, 30)
    for each in (runner, GenericRunner(model)):
        engine = ScoringEngine(model, [toy.end], 30, runner=each)
        assert answers(engine.generate(inputs, chosen)) == expected
        assert answers(engine.generate(inputs[::-1], chosen[::-1])) == expected[::-1]


def test_both_runners_give_the_same_probabilities(toy):
    model = toy.model(6)
    inputs = toy.inputs(6, 14)
    fast, generic = (
        ScoringEngine(model, [toy.end], 30, runner=runner).generate(inputs, [toy.response] * 14)
        for runner in (FastRunner(model), GenericRunner(model))
    )
    for one, other in zip(fast, generic, strict=True):
        assert one.log_probs.get("severity") == pytest.approx(other.log_probs.get("severity"), abs=1e-4)
        assert one.log_probs.get("refusal") == pytest.approx(other.log_probs.get("refusal"), abs=1e-4)
        assert one.passes == other.passes


def test_a_compiled_runner_gives_the_same_answers(toy):
    model = toy.model(1)
    inputs = toy.inputs(1, 9)
    engine = ScoringEngine(model, [toy.end], 30, runner=choose_runner(model, compile=True))
    assert answers(engine.generate(inputs, [toy.response] * 9)) == toy.greedy(model, inputs, 30)


def test_only_the_fast_runner_can_be_compiled(toy):
    with pytest.raises(ValueError, match="compile=True needs a guard of the Llama family's shape"):
        choose_runner(toy.model(0, "Granite"), compile=True)


class OtherLinear(torch.nn.Linear):
    """What a quantization library puts in the place of a linear layer."""


def test_weights_that_are_not_plain_take_the_generic_runner(toy):
    model = toy.model(4)
    projection = model.model.layers[1].self_attn.k_proj
    other = OtherLinear(projection.in_features, projection.out_features, bias=False)
    other.weight = projection.weight
    model.model.layers[1].self_attn.k_proj = other
    assert choose_runner(model).name == "generic"
    inputs = toy.inputs(4, 5)
    assert answers(ScoringEngine(model, [toy.end], 30).generate(inputs, [toy.response] * 5)) == toy.greedy(
        model, inputs, 30
    )


def test_the_model_is_left_as_it_was(toy):
    """Its attention is replaced only while it is scored, also when that fails."""
    model = toy.model(0, "Granite")
    before = model.config._attn_implementation
    engine = ScoringEngine(model, [toy.end], 10)
    engine.generate([[1, 2, 3]], [toy.response])
    assert model.config._attn_implementation == before
    model.model.layers[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.generate([[1, 2, 3]], [toy.response])
    assert model.config._attn_implementation == before


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("Mistral", {"sliding_window": 16}),  # every layer
        ("Gemma2", {"sliding_window": 16, "query_pre_attn_scalar": 16}),  # every second
        ("Qwen3", {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 0}),  # switched on
    ],
)
def test_a_sliding_window_is_refused(toy, architecture, config):
    with pytest.raises(ValueError, match="last 16 tokens only, of a context of 512"):
        ScoringEngine(toy.model(0, architecture, **config), [toy.end])


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_positions_that_depend_on_other_rows_are_refused(toy, rope):
    model = toy.model(0)
    model.config.rope_parameters = {"rope_type": rope}
    with pytest.raises(ValueError, match="depend on the longest row"):
        ScoringEngine(model, [toy.end])


def test_a_running_state_is_refused(toy):
    model = toy.model(0)
    model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ValueError, match="running state"):
        ScoringEngine(model, [toy.end])


def test_an_attention_that_cannot_be_replaced_is_refused(toy):
    """Capped scores are not what the packed attention computes."""
    model = toy.model(
        0,
        "Gemma2",
        attn_logit_softcapping=5.0,
        query_pre_attn_scalar=16,
        layer_types=["full_attention"] * 2,
    )
    with pytest.raises(ValueError, match="attention interface"):
        ScoringEngine(model, [toy.end])


def test_a_compiler_that_is_not_there_is_said_when_the_guard_is_loaded(toy, monkeypatch):
    def no_compiler(function, **_):
        def fails(*args):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

        return fails

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(ValueError, match=r"could not be compiled: InvalidCxxCompiler.*leave compile off"):
        choose_runner(toy.model(0), compile=True)


def test_no_memory_for_the_trial_is_not_taken_for_a_wrong_architecture(toy):
    model = toy.model(0)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.model.layers[0].mlp.register_forward_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        choose_runner(model)


def test_a_trainers_autocast_does_not_choose_the_runner(toy):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert choose_runner(toy.model(0)).name == "fast"
