"""A lock of the package does not stay locked in a forked process."""

from __future__ import annotations

import threading
from importlib import import_module

import pytest

from guard_reward._fork_safe_lock import ForkSafeLock
from tests.processes import in_fork

LOCK = ForkSafeLock()


def take() -> str:
    with LOCK, LOCK:  # re-entrant
        return "taken"


def is_free_for_others() -> bool:
    """Whether another thread of this process gets the lock."""
    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(0.2)
    return not thread.is_alive()


def test_held_by_another_thread():
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with LOCK:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        assert in_fork(take) == "taken"
        assert not is_free_for_others()  # here it is still held
    finally:
        done.set()
        thread.join()
    assert take() == "taken"


def test_held_by_the_thread_that_forks():
    with LOCK:
        assert in_fork(take) == "taken"
        assert in_fork(is_free_for_others) is False
    assert is_free_for_others()


def test_free():
    assert in_fork(take) == "taken"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("models.sleep", "MODEL_LOCK"),
        ("rewards.judge", "_KEPT_LOCK"),
        ("rewards.dual_ascent", "_UPDATE_LOCK"),
        ("rewards.circuit_breaker", "_CALLS_LOCK"),
    ],
)
def test_the_packages_locks_are_such(module, name):
    assert isinstance(getattr(import_module(f"guard_reward.{module}"), name), ForkSafeLock)
