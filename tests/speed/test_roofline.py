"""The roofline: arithmetic counted by hand on a model small enough to count."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from guard_reward.speed import Roofline


@pytest.fixture(scope="module")
def model():
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=50,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
        )
    )


def test_the_parts(model):
    roofline = Roofline.of(model)
    queries, key_values, output, mlp = 8 * 8, 2 * 8 * 4, 8 * 8, 3 * 8 * 16  # weights of a layer
    assert roofline.per_token == 2 * 3 * (queries + key_values + output + mlp)  # embedding and head left out
    assert roofline.per_pair == 2 * 2 * 3 * 2 * 4  # two products, a multiplication and an addition, layers, heads, size
    assert roofline.per_answer_token == 2 * 50 * 8


def test_shared_tokens_count_once():
    roofline = Roofline(per_token=1.0, per_pair=0.0, per_answer_token=0.0)
    rows = [[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 6]]
    assert roofline.operations(rows, [[9, 9]] * 3, preamble=0) == 4 + 1 + 1 + 3 * 2
    assert roofline.operations(rows, [[9, 9]] * 3, preamble=2) == 2 + 1 + 1 + 3 * 2
    assert roofline.operations([[1, 2]], [[]], preamble=2) == 0


def test_every_token_attends_to_itself_and_all_before_it():
    roofline = Roofline(per_token=0.0, per_pair=1.0, per_answer_token=0.0)
    assert roofline.operations([[7] * 4], [[]], preamble=0) == 1 + 2 + 3 + 4
    assert roofline.operations([[7] * 3], [[8]], preamble=2) == 3 + 4


def test_the_head_speaks_the_answer_and_its_end():
    assert Roofline(0.0, 0.0, 1.0).operations([[1]], [[5, 6, 7]], preamble=0) == 4


def test_it_is_what_a_forward_pass_computes(model):
    """An independent count: PyTorch's own, of a plain forward over one row."""
    from torch.utils.flop_counter import FlopCounterMode

    row = torch.arange(20)[None]
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=row, use_cache=False, logits_to_keep=1)
    roofline = Roofline.of(model)
    whole_square = 20 * 20 * roofline.per_pair  # eager attention computes the masked half as well
    causal_half = 20 * 21 / 2 * roofline.per_pair
    expected = counter.get_total_flops() - whole_square + causal_half
    assert roofline.operations([list(range(20))], [[]], preamble=0) == pytest.approx(expected, rel=0.02)  # rotations
