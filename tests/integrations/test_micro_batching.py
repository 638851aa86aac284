"""Requests of many coroutines, answered batch by batch."""

import threading
import time

import anyio
import pytest

from guard_reward.integrations.micro_batching import MicroBatches


class Squares:
    """Answers with squares and remembers the batches."""

    def __init__(self, seconds=0.0):
        self.batches, self.seconds, self.threads = [], seconds, set()

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        self.threads.add(threading.current_thread())
        time.sleep(self.seconds)
        if None in numbers:
            raise ValueError("no number")
        return [number**2 for number in numbers]


async def ask_all(batches, numbers, found):
    async def ask(number):
        try:
            found[number] = await batches(number)
        except Exception as error:
            found[number] = repr(error)

    async with anyio.create_task_group() as group:
        for number in numbers:
            group.start_soon(ask, number)


async def in_time(function, *arguments):
    with anyio.fail_after(10):
        await function(*arguments)


def asked(batches, numbers):
    found = {}
    anyio.run(ask_all, batches, numbers, found)
    return found


def test_requests_that_come_together_are_one_batch():
    squares = Squares()
    assert asked(MicroBatches(squares), range(10)) == {number: number**2 for number in range(10)}
    assert squares.batches == [list(range(10))]
    assert threading.main_thread() not in squares.threads


def test_no_batch_is_larger_than_its_size():
    squares = Squares()
    assert asked(MicroBatches(squares, size=4), range(10)) == {number: number**2 for number in range(10)}
    assert [len(batch) for batch in squares.batches] == [4, 4, 2]


def test_what_comes_while_a_batch_is_answered_is_the_next_batch():
    squares = Squares(seconds=0.2)

    async def later(batches, found):
        async with anyio.create_task_group() as group:
            group.start_soon(ask_all, batches, [1], found)
            await anyio.sleep(0.1)
            group.start_soon(ask_all, batches, [2, 3], found)

    found = {}
    anyio.run(later, MicroBatches(squares, wait=0.01), found)
    assert found == {1: 1, 2: 4, 3: 9}
    assert squares.batches == [[1], [2, 3]]


def test_an_error_is_everybodys_in_the_batch_and_nobody_elses():
    batches = MicroBatches(Squares(), size=2)
    found = asked(batches, [1, None, 3])
    assert found == {1: "ValueError('no number')", None: "ValueError('no number')", 3: 9}


def test_another_number_of_answers_is_an_error():
    found = asked(MicroBatches(lambda numbers: numbers[1:]), [1, 2])
    assert all("ValueError" in answer for answer in found.values())


def test_a_late_batch_is_left_alone():
    squares = Squares(seconds=0.5)
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"within 0\.1 seconds"):
        anyio.run(MicroBatches(squares, deadline=0.1), 1)
    assert time.perf_counter() - started < 0.45


def test_others_of_a_batch_get_their_answers_if_the_one_that_asks_is_cancelled():
    squares = Squares(seconds=0.1)

    async def cancel_the_first(batches, found):
        async with anyio.create_task_group() as group:
            first = anyio.CancelScope()

            async def asking():
                with first:
                    await batches(1)

            group.start_soon(asking)
            await anyio.sleep(0)
            group.start_soon(ask_all, batches, [2, 3], found)
            await anyio.sleep(0.05)
            first.cancel()

    found = {}
    anyio.run(in_time, cancel_the_first, MicroBatches(squares, wait=0.01), found)
    assert found == {2: 4, 3: 9}


def test_one_that_is_cancelled_in_a_batch_of_another_is_not_asked_again():
    squares = Squares(seconds=0.1)

    async def cancel_the_second(batches, found):
        async with anyio.create_task_group() as group:
            second = anyio.CancelScope()

            async def asking():
                with second:
                    await batches(2)

            group.start_soon(ask_all, batches, [1], found)
            await anyio.sleep(0)
            group.start_soon(asking)
            await anyio.sleep(0.05)
            second.cancel()
        await ask_all(batches, [3], found)

    found = {}
    anyio.run(cancel_the_second, MicroBatches(squares, wait=0.01), found)
    assert found == {1: 1, 3: 9}
    assert squares.batches == [[1, 2], [3]]


def test_a_new_event_loop_needs_no_new_object():
    squares = Squares()
    batches = MicroBatches(squares)
    assert asked(batches, [1, 2]) == {1: 1, 2: 4}
    assert asked(batches, [3]) == {3: 9}
