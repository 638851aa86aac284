"""Randomness in, randomness out: the context repeats itself and leaves no trace."""

import random

import torch

from guard_reward.tiny.reproducible import THREADS, reproducible


def draw() -> tuple[float, float]:
    return random.random(), torch.rand(1).item()


def test_same_seed_same_numbers():
    with reproducible(1):
        first = draw()
        assert torch.get_num_threads() == THREADS
    with reproducible(1):
        assert draw() == first
    with reproducible(2):
        assert draw() != first


def test_callers_state_is_left_alone():
    random.seed(5)
    torch.manual_seed(5)
    expected = draw()
    random.seed(5)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    with reproducible(1):
        draw()
    assert draw() == expected
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
