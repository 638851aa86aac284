"""While one thread judges: others may use the guard's model, and a forked process may judge too."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading

import pytest
import torch

from guard_reward.guards import TransformersGuard
from guard_reward.scoring import FastRunner, GenericRunner
from tests.processes import in_fork

ROWS = [
    [{"role": "user", "content": "How do I use a blue gravok?"}],
    [{"role": "user", "content": "How do I bake bread?"}, {"role": "assistant", "content": "Knead it."}],
]


@pytest.fixture(params=[FastRunner, GenericRunner])
def guard(request, tiny_guard):
    guard = TransformersGuard(copy.deepcopy(tiny_guard.model), tiny_guard.tokenizer)
    guard.engine.runner = request.param(guard.model)
    return guard


@pytest.fixture
def in_the_middle_of_a_pass(guard):
    """A context in which another thread has begun to judge, and waits in a layer of the model."""

    @contextlib.contextmanager
    def judging():
        inside, go_on = threading.Event(), threading.Event()
        verdicts = []
        judge = threading.Thread(target=lambda: verdicts.extend(guard.moderate(ROWS)))

        def wait(*_):
            if threading.current_thread() is judge:
                inside.set()
                go_on.wait(60)

        handle = guard.model.get_decoder().layers[0].mlp.register_forward_hook(wait)
        judge.start()
        assert inside.wait(60)
        try:
            yield verdicts
        finally:
            go_on.set()
            judge.join()
            handle.remove()

    return judging


def test_a_forked_process_judges(guard, in_the_middle_of_a_pass):
    expected = guard.moderate(ROWS)
    with in_the_middle_of_a_pass() as verdicts:
        assert in_fork(lambda: guard.moderate(ROWS)) == expected
    assert verdicts == guard.moderate(ROWS) == expected


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_another_thread_uses_the_model(guard, in_the_middle_of_a_pass, implementation):
    """With padding in front, which only the right mask hides."""
    guard.model.set_attn_implementation(implementation)
    ids = torch.tensor([[1, 2, 3, 4, 5], [0, 0, 6, 7, 8]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])

    @torch.inference_mode()
    def logits():
        return guard.model(input_ids=ids, attention_mask=mask, use_cache=False).logits

    def configuration():
        config = guard.model.config
        copies = [pickle.loads(pickle.dumps(config)), copy.copy(config), copy.deepcopy(config)]
        return config._attn_implementation, [(type(each), each.to_dict()) for each in copies]

    alone, verdicts_alone, before = logits(), guard.moderate(ROWS), configuration()
    with in_the_middle_of_a_pass() as verdicts:
        assert torch.equal(logits(), alone)
        assert configuration() == before
    assert verdicts == verdicts_alone
    assert torch.equal(logits(), alone)


def test_the_tokenizer_of_a_guard_in_memory_is_its_own(tiny_guard):
    """A thread that encodes with a fast tokenizer sets truncation and padding for all threads."""
    theirs = copy.deepcopy(tiny_guard.tokenizer)
    guard = TransformersGuard(tiny_guard.model, theirs)
    expected = guard.encode(ROWS[1])
    theirs.backend_tokenizer.enable_truncation(2)
    theirs.add_tokens(["bread"])
    assert guard.encode(ROWS[1]) == expected
