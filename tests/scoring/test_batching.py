"""Batches in memory: no row is lost, whatever fails."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring import BatchRunner, plan_batches, plan_padded_batches
from guard_reward.scoring.batching import GROW_AFTER
from guard_reward.scoring.memory import is_out_of_memory
from tests.scoring.rows import ROWS, cost, padded_cost, strangers


class Machine:
    """Scores rows by their index; runs out of memory when a batch costs too much; chokes on `poisonous` rows."""

    def __init__(self, rows, memory=10**9, poisonous=(), error=None, cost=cost):
        self.rows, self.memory, self.poisonous, self.batches = rows, memory, set(poisonous), []
        self.cost = cost
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def __call__(self, batch):
        self.batches.append(list(batch))
        if self.cost([self.rows[i] for i in batch]) > self.memory:
            raise self.error
        if self.poisonous & set(batch):
            raise RuntimeError("device-side assert")
        return [f"row {i}" for i in batch]

    @property
    def sizes(self):
        """How many rows each batch had since the last time."""
        sizes = [len(batch) for batch in self.batches]
        self.batches.clear()
        return sizes


def names(rows):
    return [f"row {index}" for index in range(len(rows))]


def test_results_come_in_the_original_order():
    rows = [[3, 3], [9], [1, 7], [4] * 40, [5]]
    assert BatchRunner(lambda: 4).run(rows, Machine(rows)) == names(rows)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: …")],
    ids=["cuda", "cpu"],
)
def test_out_of_memory_halves_the_budget_and_loses_nothing(error):
    rows = strangers(16)
    machine = Machine(rows, memory=45, error=error)
    runner = BatchRunner(lambda: 160)
    assert runner.run(rows, machine) == names(rows)
    assert machine.sizes == [16, 8, 4, 4, 4, 4]
    assert runner.ceiling == runner.token_budget == 40
    runner.run(rows, machine)
    assert machine.sizes == [4, 4, 4, 4]  # it has learned


def test_the_plan_is_the_runners_own():
    """At first and when it is made anew."""
    rows = [[0] * length for length in (1, 2, 9, 10)]
    machine = Machine(rows, memory=15, cost=padded_cost)
    runner = BatchRunner(lambda: 20, plan_padded_batches)
    assert runner.run(rows, machine) == names(rows)
    assert machine.batches == [[3, 2], [3], [2], [1, 0]]


def test_batches_may_be_planned_before():
    """They are run as they are, whatever the budget is now; the results come in the rows' order."""
    rows = strangers(5)
    machine = Machine(rows)
    planned = [[4, 0], [2], [1, 3]]
    assert BatchRunner(lambda: 10).run(rows, machine, batches=planned) == names(rows)
    assert machine.batches == planned == [[4, 0], [2], [1, 3]]


def test_batches_planned_before_are_planned_anew_when_memory_runs_out():
    """All that are left, under a lower budget; what is done stays done."""
    rows = strangers(8)
    machine = Machine(rows, memory=20)
    runner = BatchRunner(lambda: 40)
    planned = [[0, 1], [5, 4, 3, 2], [6, 7]]
    assert runner.run(rows, machine, batches=planned) == names(rows)
    assert machine.batches == [[0, 1], [5, 4, 3, 2], [2, 3], [4, 5], [6, 7]]
    assert runner.ceiling == 20
    assert planned == [[0, 1], [5, 4, 3, 2], [6, 7]]


def test_a_budget_far_above_the_batch_is_halved_until_the_batch_is_cut():
    """Otherwise the same rows would come together again, as often as the budget can be halved."""
    rows = strangers(4)
    machine = Machine(rows, memory=35)
    runner = BatchRunner(lambda: 2**20)
    assert runner.run(rows, machine) == names(rows)
    assert machine.sizes == [4, 3, 1]
    assert runner.ceiling == 32


def test_the_tokens_that_differ_decide_whether_a_batch_is_cut():
    """Eight completions of a prompt of 50 tokens are 58 tokens, not 408."""
    rows = [[0] * 50 + [index] for index in range(1, 9)]
    runner = BatchRunner(lambda: 2**20)
    machine = Machine(rows, memory=57)
    assert runner.run(rows, machine) == names(rows)
    assert runner.ceiling == 32
    assert machine.sizes == [8, *[1] * 8]


def test_what_one_batch_learns_holds_for_those_behind_it():
    rows = [[0] * 20, *([index] * 5 for index in range(1, 17))]
    machine = Machine(rows, memory=20)
    assert BatchRunner(lambda: 40).run(rows, machine) == names(rows)
    assert machine.batches[0] == [0, 1, 2, 3, 4]
    assert machine.batches[1:] == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]


def test_what_is_done_is_not_done_again():
    """Trouble comes late: where long rows take more than their share."""
    rows = [*([index] * 5 for index in range(8)), [8] * 20, [9] * 20, [10] * 20]
    machine = Machine(rows, memory=500, cost=lambda batch: sum(len(row) ** 2 for row in batch))
    assert BatchRunner(lambda: 40).run(rows, machine) == names(rows)
    assert machine.batches == [list(range(8)), [8, 9], [8], [9], [10]]


def test_a_row_that_does_not_fit_alone_is_the_only_one_lost():
    rows = [[1] * 10, [2] * 500, [3] * 10]
    results = BatchRunner(lambda: 1000).run(rows, Machine(rows, memory=100))
    assert results[0] == "row 0"
    assert results[2] == "row 2"
    assert isinstance(results[1], torch.OutOfMemoryError)


@pytest.mark.parametrize("poisonous", [[0], [5], [9], [2, 3], [0, 9], list(range(10))])
def test_a_bad_row_never_fails_its_neighbours(poisonous):
    rows = strangers(10, 7)
    runner = BatchRunner(lambda: 1000)
    results = runner.run(rows, Machine(rows, poisonous=poisonous))
    for index, result in enumerate(results):
        assert isinstance(result, RuntimeError) if index in poisonous else result == f"row {index}"
    assert runner.token_budget == 1000  # not a matter of memory
    assert runner.ceiling is None


@pytest.mark.parametrize(
    ("plan", "cost"), [(plan_batches, cost), (plan_padded_batches, padded_cost)], ids=["shared", "padded"]
)
@settings(deadline=None)
@given(rows=ROWS, budget=st.integers(1, 200), memory=st.integers(1, 100), poisonous=st.sets(st.integers(0, 39)))
def test_whatever_happens_every_row_has_a_result_of_its_own(plan, cost, rows, budget, memory, poisonous):
    machine = Machine(rows, memory, poisonous, cost=cost)
    results = BatchRunner(lambda: budget, plan).run(rows, machine)
    for index, (row, result) in enumerate(zip(rows, results, strict=True)):
        if len(row) > memory:
            assert isinstance(result, torch.OutOfMemoryError)
        elif index in poisonous:
            assert isinstance(result, RuntimeError)
        else:
            assert result == f"row {index}"


@pytest.mark.parametrize(
    ("untroubled", "ceiling"),
    [
        (0, 40),  # what trouble has taught
        (GROW_AFTER - 1, 40),  # not yet
        (GROW_AFTER, 80),  # twice as much
        (2 * GROW_AFTER - 1, 80),  # counted anew
        (2 * GROW_AFTER, 160),  # and again
        (3 * GROW_AFTER, None),  # 320 would be above the budget of 300: forgotten
        (9 * GROW_AFTER, None),  # and stays so
    ],
)
def test_it_grows_again_after_a_while_without_trouble(untroubled, ceiling):
    runner = BatchRunner(lambda: 300, ceiling=40)
    runner.run(strangers(untroubled, 40), Machine(strangers(untroubled, 40)))
    assert runner.ceiling == ceiling
    assert runner.token_budget == (ceiling or 300)


def test_a_ceiling_that_would_grow_to_the_budget_itself_is_forgotten():
    runner = BatchRunner(lambda: 80, ceiling=40)
    runner.run(strangers(GROW_AFTER, 40), Machine(strangers(GROW_AFTER, 40)))
    assert (runner.ceiling, runner.token_budget) == (None, 80)


def test_untroubled_batches_count_across_runs():
    runner = BatchRunner(lambda: 300, ceiling=40)
    for _ in range(GROW_AFTER):
        assert runner.ceiling == 40
        runner.run([[1]], Machine([[1]]))
    assert runner.ceiling == 80


def test_new_trouble_counts_from_the_beginning():
    runner = BatchRunner(lambda: 300, ceiling=40)
    few = strangers(GROW_AFTER - 1, 40)
    runner.run(few, Machine(few))
    pair = strangers(2)
    runner.run(pair, Machine(pair, memory=10))  # out of memory with 20 tokens, then two batches of 10
    assert runner.ceiling == 10
    rows = strangers(GROW_AFTER - 3)
    runner.run(rows, Machine(rows))
    assert runner.ceiling == 10
    runner.run([[1]], Machine([[1]]))
    assert runner.ceiling == 20


def test_where_memory_stays_short_it_tries_for_more_now_and_then_and_loses_nothing():
    rows = strangers(8)
    machine = Machine(rows, memory=20)
    runner = BatchRunner(lambda: 80)
    for _ in range(GROW_AFTER):
        assert runner.run(rows, machine) == names(rows)
        assert runner.ceiling in (20, 40)
    sizes = machine.sizes
    assert sizes[:2] == [8, 4]
    assert 0 < sizes[2:].count(4) <= sizes[2:].count(2) / GROW_AFTER


def test_the_budget_is_asked_anew_for_each_run():
    budgets = [160, 40, 80]
    rows = strangers(16)
    machine = Machine(rows)
    runner = BatchRunner(lambda: budgets[0])
    for sizes in ([16], [4] * 4, [8] * 2):
        runner.run(rows, machine)
        assert machine.sizes == sizes
        budgets.pop(0)


def test_a_budget_that_has_shrunk_counts_more_than_what_was_learned():
    budget = 160
    runner = BatchRunner(lambda: budget, ceiling=80)
    assert runner.token_budget == 80
    budget = 30
    assert runner.token_budget == 30
    rows = strangers(6)
    machine = Machine(rows, memory=20)
    assert runner.run(rows, machine) == names(rows)
    assert machine.sizes == [3, 1, 1, 1, 1, 1, 1]
    assert runner.ceiling == 15


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(10, 100)), min_size=1, max_size=20), st.integers(1, 20))
def test_no_batch_is_ever_above_the_budget(weather, count):
    """Free memory comes and goes, and so does what really fits; the budget grows back but never beyond what is free."""
    runner = BatchRunner(lambda: budget)
    for budget, memory in weather:
        rows = strangers(count)
        machine = Machine(rows, memory)
        assert runner.run(rows, machine) == names(rows)
        assert all(len(batch) == 1 or 10 * len(batch) <= budget for batch in machine.batches)
        assert runner.token_budget <= budget


def test_results_that_do_not_match_the_rows_are_an_error_not_a_shift():
    results = BatchRunner(lambda: 100).run([[1], [2]], lambda batch: ["only one"])
    assert results[0] == "only one"
    assert results[1] == "only one"
    results = BatchRunner(lambda: 100).run([[1]], lambda batch: [])
    assert isinstance(results[0], ValueError)


def test_a_failed_batch_holds_no_memory_while_the_next_one_runs():
    """The frames of its error would keep its tensors alive, and the halves would run out of memory as well."""
    tensors = []

    def score(batch):
        assert all(tensor() is None for tensor in tensors)
        tensor = torch.zeros(3)
        tensors.append(weakref.ref(tensor))
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return ["fine"]

    assert BatchRunner(lambda: 100).run([[1], [2], [3]], score) == ["fine"] * 3
    assert len(tensors) > 3


def test_an_interruption_is_not_swallowed():
    def interrupted(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BatchRunner(lambda: 100).run([[1], [1]], interrupted)


@pytest.mark.parametrize("plan", [plan_batches, plan_padded_batches])
@pytest.mark.parametrize("rows", [[[], []], [[], [5]], [[5], [5], []]])
def test_rows_without_tokens_end_as_well(plan, rows):
    """No budget would cut such a batch."""

    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    results = BatchRunner(lambda: 100, plan).run(rows, full)
    assert all(isinstance(result, torch.OutOfMemoryError) for result in results)


def test_a_row_that_failed_alone_for_want_of_memory_gets_a_second_chance():
    """Another process may have had the memory for a moment."""
    asked = []

    def full_at_first(batch):
        asked.append(batch)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ["scored"]

    assert BatchRunner(lambda: 100).run([[1, 2]], full_at_first) == ["scored"]
    assert asked == [[0], [0]]


@pytest.mark.parametrize(
    ("memory", "parts"),
    [
        (1000, [1000]),
        (600, [1000, 1000, 500]),
        (400, [1000, 1000, 500, 256]),
        (100, [1000, 1000, 500, 256]),  # and no shorter ones
    ],
)
def test_a_row_that_can_be_cut_is_cut_ever_smaller(memory, parts):
    tried = []

    def computed_in_parts(batch):
        tried.append(min(runner.token_budget, 1000))
        if tried[-1] > memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ["scored"]

    runner = BatchRunner(lambda: 4000, cuts_rows=True)
    (result,) = runner.run([[1] * 1000], computed_in_parts)
    assert tried == parts
    assert result == "scored" if parts[-1] <= memory else isinstance(result, torch.OutOfMemoryError)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError("Unable to allocate 3. GiB for an array"), True),  # NumPy
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"), True),
        (RuntimeError("device-side assert triggered"), False),
        (ValueError("a row is empty"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, is_memory):
    assert is_out_of_memory(error) is is_memory
