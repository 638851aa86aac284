"""Items made one ahead in a thread: the same items, in order, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from guard_reward._ahead import ahead


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("guard_reward_ahead")]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_same_items_in_order(count):
    assert list(ahead(range(count))) == list(range(count))
    assert threads() == []


def test_the_next_item_is_made_while_the_caller_uses_the_present_one():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number, threading.current_thread()

    for number, maker in ahead(items()):
        assert maker is not threading.current_thread()
        assert number == 2 or made[number + 1].wait(10)  # although the caller has not asked for it yet


def test_it_is_one_ahead_and_no_more():
    made = []
    iterator = ahead(made.append(number) or number for number in range(10))
    next(iterator)
    iterator.close()
    assert made == [0, 1]
    assert threads() == []


def test_an_error_comes_when_its_turn_comes():
    def items():
        yield 1
        raise ValueError("bad item")

    iterator = ahead(items())
    assert next(iterator) == 1
    with pytest.raises(ValueError, match="bad item"):
        next(iterator)
    assert threads() == []


def test_a_caller_that_fails_leaves_no_thread():
    def use():
        for number in ahead(range(3)):
            raise LookupError(number)

    with pytest.raises(LookupError):
        use()
    assert threads() == []


EXIT = """
import sys, threading, time
from guard_reward._ahead import ahead

def items():
    for number in range(5):
        time.sleep(0.1)
        yield number

def use():
    print(list(ahead(items())), flush=True)

{begin}
"""


@pytest.mark.parametrize(
    "begin",
    [
        "threading.Thread(target=use).start()",
        "import concurrent.futures; concurrent.futures.ThreadPoolExecutor().submit(use)",
        "import atexit; atexit.register(use)",
    ],
    ids=["thread", "pool", "atexit"],
)
def test_what_runs_while_the_interpreter_exits_is_finished(begin):
    command = [sys.executable, "-c", EXIT.format(begin=begin)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("[0, 1, 2, 3, 4]\n", "")
