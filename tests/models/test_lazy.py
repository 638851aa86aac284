"""`LazyModel`: loaded once, when it is needed; a checkpoint travels as its name; sleep and wake are safe to repeat."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from guard_reward.models.checkpoint import Checkpoint
from guard_reward.models.lazy import LazyModel
from guard_reward.tiny.guard import build_tiny_guard
from tests.elsewhere import Elsewhere

AUTO_CLASS = "AutoModelForCausalLM"


@dataclass
class Parts:
    model: Any
    tokenizer: Any


@pytest.fixture
def lazy():
    return LazyModel(Checkpoint(str(build_tiny_guard()), "cpu", "float32"), AUTO_CLASS, Parts)


@pytest.fixture
def away(lazy):
    """The model is on a device that is not there."""
    lazy.parts = Parts(Elsewhere(lazy.load().model), None)
    return lazy.parts.model


def test_nothing_is_loaded_before_it_is_needed(lazy):
    assert lazy.parts is None
    assert lazy.load() is lazy.load() is lazy.parts


def test_threads_load_it_once(lazy):
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: lazy.load(), range(8)))
    assert len(set(map(id, parts))) == 1


def test_a_checkpoint_travels_as_its_name(lazy):
    lazy.load()
    data = pickle.dumps(lazy)
    assert len(data) < 2_000
    copy = pickle.loads(data)
    assert copy.parts is None
    assert copy.load().model.num_parameters() == lazy.load().model.num_parameters()


def test_a_model_built_in_memory_travels_whole(lazy):
    parts = lazy.load()
    built = LazyModel((parts.model, parts.tokenizer), AUTO_CLASS, Parts)
    assert built.checkpoint is None
    built.load()
    copy = pickle.loads(pickle.dumps(built))
    assert copy.parts is None  # what was built around it is made again
    assert copy.load().model.num_parameters() == parts.model.num_parameters()


def test_what_cannot_be_assembled_is_tried_again_not_remembered(lazy):
    calls = []

    def assemble(model, tokenizer):
        calls.append(model)
        if len(calls) == 1:
            raise ValueError("not this time")
        return Parts(model, tokenizer)

    flaky = LazyModel(lazy.source, AUTO_CLASS, assemble)
    with pytest.raises(ValueError, match="not this time"):
        flaky.load()
    assert flaky.load().model is calls[1]


def test_sleep_and_wake_twice_are_once(lazy, away):
    lazy.sleep()
    lazy.sleep()
    assert away.sent == ["cpu"]
    lazy.wake()
    lazy.wake()
    assert away.sent == ["cpu", "xpu:0"]


def test_what_can_be_computed_again_is_freed_before_sleep(lazy):
    freed = []
    sleeper = LazyModel(lazy.source, AUTO_CLASS, Parts, before_sleep=freed.append)
    sleeper.sleep()
    assert freed == []  # nothing is loaded: there is nothing to free
    parts = sleeper.load()
    sleeper.sleep()
    assert freed == [parts]


def test_a_sleeping_model_arrives_awake(lazy, away):
    lazy.sleep()
    copy = pickle.loads(pickle.dumps(lazy))
    copy.wake()  # nothing to do
    assert copy.load().model.device.type == "cpu"
