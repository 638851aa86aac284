"""How much fits into the memory that is free: an estimate whose exact part is exact, within fixed bounds."""

from __future__ import annotations

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring import memory, token_budget
from guard_reward.scoring.memory import (
    FRACTION,
    MAX_ON_ACCELERATOR,
    MAX_ON_CPU,
    MIN_BUDGET,
    bytes_per_token,
    free_memory,
)


def key_value_bytes(model, tokens=7):
    """What the model's own cache holds for one token, in all layers."""
    with torch.inference_mode():
        cache = model(input_ids=torch.arange(tokens)[None], use_cache=True).past_key_values
    total = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
    assert total % tokens == 0
    return total // tokens


MODELS = [
    ("Qwen3", {}),  # grouped heads
    ("Qwen3", {"num_key_value_heads": 4}),  # a key-value head for each head
    ("Qwen3", {"num_key_value_heads": 1}),  # one for all
    ("Qwen3", {"head_dim": 24}),  # heads that are wider than their part of the hidden size
    ("Qwen3", {"intermediate_size": 256}),  # nothing that is kept
    ("Llama", {"head_dim": None}),  # the heads' size follows from the hidden size
    ("GPTNeoX", {"head_dim": None, "num_key_value_heads": None}),  # no word of either
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("architecture", "config"), MODELS)
def test_keys_and_values_are_counted_exactly(toy, architecture, config, dtype):
    """Each further layer adds its keys and values, and nothing else; there is more to a token than those."""
    sizes = {}
    for layers in (1, 2, 5):
        model = toy.model(0, architecture, num_hidden_layers=layers, **config).to(dtype)
        stored = key_value_bytes(model)
        sizes[layers] = (stored, bytes_per_token(model) - stored)
        assert isinstance(bytes_per_token(model), int)
    stored, passing = zip(*sizes.values(), strict=True)
    assert stored == tuple(layers * stored[0] for layers in sizes)
    assert len(set(passing)) == 1
    assert passing[0] > 0


def test_a_wider_model_takes_more_in_passing(toy):
    """The results between two layers grow with the hidden size and the MLP; with half the precision they halve."""
    plain, wide = toy.model(0), toy.model(0, intermediate_size=256)
    assert bytes_per_token(wide) - bytes_per_token(plain) >= 2 * (256 - 64) * 4
    assert bytes_per_token(plain.bfloat16()) * 2 == bytes_per_token(toy.model(0))


def test_what_is_free_on_a_cpu():
    """Some of what the machine has."""
    free = free_memory(torch.device("cpu"))
    assert isinstance(free, int)
    assert 0 < free <= psutil.virtual_memory().total


@pytest.fixture(scope="module")
def models(toy):
    """One model on the CPU, and one on a device that is not the CPU, and that every machine has."""
    return {"cpu": toy.model(0), "meta": toy.model(0).to("meta")}


def budget(model, free):
    """The budget with so many bytes free."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda device: free)
        return token_budget(model)


@pytest.mark.parametrize(
    ("device", "fitting", "expected"),
    [
        ("cpu", 0, MIN_BUDGET),  # nothing free: trying is all that is left
        ("cpu", MIN_BUDGET - 1, MIN_BUDGET),  # less than the least
        ("cpu", MIN_BUDGET + 1, MIN_BUDGET + 1),  # above it, what fits
        ("cpu", 5000, 5000),  # what fits
        ("cpu", MAX_ON_CPU - 1, MAX_ON_CPU - 1),  # to the last token
        ("cpu", MAX_ON_CPU + 1, MAX_ON_CPU),  # more gains nothing
        ("cpu", 10**9, MAX_ON_CPU),  # however much is free
        ("meta", 0, MIN_BUDGET),  # an accelerator too
        ("meta", MAX_ON_CPU + 1, MAX_ON_CPU + 1),  # gains from more
        ("meta", MAX_ON_ACCELERATOR + 1, MAX_ON_ACCELERATOR),  # up to a bound of its own
        ("meta", 10**9, MAX_ON_ACCELERATOR),  # however much is free
    ],
)
def test_the_budget(models, device, fitting, expected):
    """`fitting`: so many tokens fit into the share of the free memory that may be taken."""
    model = models[device]
    assert budget(model, int(fitting * bytes_per_token(model) / FRACTION)) == expected


@settings(deadline=None)
@given(first=st.integers(0, 2**40), second=st.integers(0, 2**40), device=st.sampled_from(["cpu", "meta"]))
def test_any_budget(models, first, second, device):
    """Within its bounds, within its share of the memory, and more with more memory."""
    model = models[device]
    less, more = (budget(model, free) for free in sorted((first, second)))
    assert MIN_BUDGET <= less <= more <= {"cpu": MAX_ON_CPU, "meta": MAX_ON_ACCELERATOR}[device]
    assert less == MIN_BUDGET or less * bytes_per_token(model) <= FRACTION * min(first, second)


@pytest.mark.parametrize(
    ("device", "free", "spare"),
    [("cpu", 2**30, 2**29), ("cpu", 2**40, 2**32), ("cuda", 2**40, 2**39)],  # a container sees the machine's memory
)
def test_what_a_batch_may_take_for_a_while(monkeypatch, device, free, spare):
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    assert memory.spare_memory(torch.device(device)) == spare


def test_the_memory_of_the_models_own_device_is_asked(models, monkeypatch):
    """And asked again each time: what is free changes as a trainer works."""
    asked = []
    monkeypatch.setattr(memory, "free_memory", lambda device: asked.append(device.type) or 0)
    for device in ("cpu", "meta", "cpu"):
        token_budget(models[device])
    assert asked == ["cpu", "meta", "cpu"]


def test_the_budget_of_this_machine(models):
    assert MIN_BUDGET <= token_budget(models["cpu"]) <= MAX_ON_CPU
