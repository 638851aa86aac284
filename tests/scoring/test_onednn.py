"""oneDNN's products are those of PyTorch, are used where they gain, and do not change an answer."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from guard_reward.scoring import FastRunner, GenericRunner, ScoringEngine, choose_runner, onednn

pytestmark = pytest.mark.skipif(not onednn._has_operator(), reason="this PyTorch has no oneDNN")
OPERATOR = "mkldnn::_linear_pointwise"


@pytest.fixture
def everywhere(monkeypatch):
    """As on a processor where it is faster, and for products of any size."""
    monkeypatch.setattr(onednn, "_is_faster", lambda: True)
    monkeypatch.setattr(onednn, "MIN_MULTIPLICATIONS", 1)
    monkeypatch.setattr(onednn, "MIN_HIDDEN_SIZE", 1)


def products_by_onednn(function) -> int:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return sum(event.count for event in profile.key_averages() if event.key == OPERATOR)


STATES = {
    "rows": lambda: torch.randn(5, 16),
    "a batch of rows": lambda: torch.randn(2, 3, 16),
    "transposed": lambda: torch.randn(16, 5).t(),
    "every second number": lambda: torch.randn(5, 32)[:, ::2],
    "one row, repeated": lambda: torch.randn(1, 16).expand(5, 16),
}
WEIGHTS = {
    "plain": lambda: torch.randn(8, 16),
    "transposed": lambda: torch.randn(16, 8).t(),
    "every second number": lambda: torch.randn(8, 32)[:, ::2],
}
BIASES = {"none": lambda: None, "plain": lambda: torch.randn(8), "every second number": lambda: torch.randn(16)[::2]}


@pytest.mark.parametrize("states", STATES)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("bias", BIASES)
def test_a_product_is_that_of_pytorch(everywhere, states, weight, bias):
    torch.manual_seed(0)
    factors = (STATES[states](), WEIGHTS[weight](), BIASES[bias]())
    with torch.inference_mode():
        expected = linear(*factors)
        with onednn.OneDNNProducts():
            found = linear(*factors)
            assert products_by_onednn(lambda: linear(*factors)) == 1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "size", "dtype", "times"),
    [
        (7, 1024, torch.float32, 0),
        (8, 1024, torch.float32, 1),
        (512, 64, torch.float32, 0),
        (8, 1024, torch.float64, 0),
        (8, 1024, torch.bfloat16, 0),  # PyTorch has its own way to oneDNN
    ],
)
@torch.inference_mode()
def test_large_float32_products_are_computed_by_onednn(rows, size, dtype, times):
    layer, states = nn.Linear(size, size, dtype=dtype), torch.ones(rows, size, dtype=dtype)
    with onednn.OneDNNProducts():
        assert products_by_onednn(lambda: layer(states)) == times
    assert products_by_onednn(lambda: layer(states)) == 0


@torch.inference_mode()
def test_other_threads_keep_their_library(everywhere):
    layer, states, counts = nn.Linear(8, 8), torch.ones(2, 8), []

    def compute():
        with torch.inference_mode():
            layer(states)

    with onednn.OneDNNProducts():
        thread = threading.Thread(target=lambda: counts.append(products_by_onednn(compute)))
        thread.start()
        thread.join()
    assert counts == [0]


@torch.inference_mode()
def test_a_compiler_chooses_its_products_itself(everywhere):
    layer, called = nn.Linear(8, 8), []

    def backend(graph, _):
        called.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    with onednn.OneDNNProducts():
        torch.compile(layer, backend=backend)(torch.ones(2, 8))
    assert called == [linear]


@pytest.mark.parametrize(
    ("processor", "hidden_size", "dtype", "helps"),
    [
        (True, 64, torch.float32, True),
        (False, 64, torch.float32, False),
        (True, 65, torch.float32, False),
        (True, 64, torch.bfloat16, False),
    ],
)
def test_where_it_helps(toy, monkeypatch, processor, hidden_size, dtype, helps):
    monkeypatch.setattr(onednn, "_is_faster", lambda: processor)
    monkeypatch.setattr(onednn, "MIN_HIDDEN_SIZE", hidden_size)
    products = onednn.fast_products(toy.model(0).to(dtype))
    assert isinstance(products, onednn.OneDNNProducts) == helps


@pytest.mark.parametrize("architecture", ["Qwen3", "Granite"])
@pytest.mark.parametrize("runner", [FastRunner, GenericRunner, choose_runner])
def test_answers_are_those_of_greedy_generate(toy, everywhere, architecture, runner):
    if architecture == "Granite" and runner is FastRunner:
        pytest.skip("the fast runner does not know Granite")
    model, inputs = toy.model(4, architecture), toy.inputs(4, 9)
    chosen = [toy.response if i % 3 else toy.prompt for i in range(9)]
    engine = ScoringEngine(model, [toy.end], 30, runner=runner(model))
    generations = []
    assert products_by_onednn(lambda: generations.extend(engine.generate(inputs, chosen))) > 0
    assert [(each.token_ids, each.ended) for each in generations] == toy.greedy(model, inputs, 30)


def test_a_version_of_pytorch_without_the_operator_keeps_its_own(monkeypatch):
    def has_no_such_arguments(*_):
        raise RuntimeError("mkldnn::_linear_pointwise() is missing value for argument 'unary_attr'")

    monkeypatch.setattr(onednn, "_product", has_no_such_arguments)
    assert not onednn._has_operator()
