"""Which rows share a pass; and that no row is lost, whatever fails."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.scoring import BatchRunner, plan_batches


@pytest.mark.parametrize(
    ("lengths", "budget", "batches"),
    [
        ([], 100, []),  # no rows
        ([5], 100, [[0]]),  # one row
        ([10, 50, 11, 100], 100, [[3], [1, 2], [0]]),  # longest first
        ([10, 10, 10], 20, [[0, 1], [2]]),  # budget full
        ([500, 10], 100, [[0], [1]]),  # above the budget
        ([10, 9, 8], 30, [[0, 1, 2]]),  # padding counts
        ([10, 9, 8], 29, [[0, 1], [2]]),  # padding counts
        ([3, 3], 1, [[0], [1]]),  # one each
    ],
)
def test_the_plan(lengths, budget, batches):
    assert plan_batches(lengths, budget) == batches


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 1000))
def test_any_plan(lengths, budget):
    """Every row once; no batch above the budget, except a row alone."""
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


class Machine:
    """Scores rows by their index; runs out of memory above `memory` padded tokens; chokes on `poisonous` rows."""

    def __init__(self, lengths, memory=10**9, poisonous=(), error=None):
        self.lengths, self.memory, self.poisonous, self.batches = lengths, memory, set(poisonous), []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def __call__(self, batch):
        self.batches.append(list(batch))
        if len(batch) * max(self.lengths[i] for i in batch) > self.memory:
            raise self.error
        if self.poisonous & set(batch):
            raise RuntimeError("device-side assert")
        return [f"row {i}" for i in batch]


def test_results_come_in_the_original_order():
    lengths = [3, 90, 17, 40, 5]
    assert BatchRunner(100).run(lengths, Machine(lengths)) == [f"row {i}" for i in range(5)]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: …")],
    ids=["cuda", "cpu"],
)
def test_out_of_memory_halves_the_budget_and_loses_nothing(error):
    lengths = [10] * 16
    machine = Machine(lengths, memory=45, error=error)
    runner = BatchRunner(160)
    assert runner.run(lengths, machine) == [f"row {i}" for i in range(16)]
    assert [len(batch) for batch in machine.batches] == [16, 8, 4, 4, 4, 4]
    assert runner.token_budget == 40
    machine.batches.clear()
    runner.run(lengths, machine)
    assert [len(batch) for batch in machine.batches] == [4, 4, 4, 4]  # it has learned


def test_a_budget_far_above_the_batch_is_halved_from_the_batch():
    lengths = [10] * 4
    machine = Machine(lengths, memory=20)
    assert BatchRunner(10**6).run(lengths, machine) == [f"row {i}" for i in range(4)]
    assert [len(batch) for batch in machine.batches] == [4, 2, 2]


def test_a_row_that_does_not_fit_alone_is_the_only_one_lost():
    lengths = [10, 500, 10]
    results = BatchRunner(1000).run(lengths, Machine(lengths, memory=100))
    assert results[0] == "row 0"
    assert results[2] == "row 2"
    assert isinstance(results[1], torch.OutOfMemoryError)


@pytest.mark.parametrize("poisonous", [[0], [5], [9], [2, 3], [0, 9], list(range(10))])
def test_a_bad_row_never_fails_its_neighbours(poisonous):
    lengths = [7] * 10
    runner = BatchRunner(1000)
    results = runner.run(lengths, Machine(lengths, poisonous=poisonous))
    for index, result in enumerate(results):
        assert isinstance(result, RuntimeError) if index in poisonous else result == f"row {index}"
    assert runner.token_budget == 1000  # not a matter of memory


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
    st.integers(1, 500),
    st.integers(1, 500),
    st.sets(st.integers(0, 29)),
)
def test_whatever_happens_every_row_has_a_result_of_its_own(lengths, budget, memory, poisonous):
    results = BatchRunner(budget).run(lengths, Machine(lengths, memory, poisonous))
    for index, (length, result) in enumerate(zip(lengths, results, strict=True)):
        if length > memory:
            assert isinstance(result, torch.OutOfMemoryError)
        elif index in poisonous:
            assert isinstance(result, RuntimeError)
        else:
            assert result == f"row {index}"


def test_results_that_do_not_match_the_rows_are_an_error_not_a_shift():
    results = BatchRunner(100).run([1, 1], lambda batch: ["only one"])
    assert results[0] == "only one"
    assert results[1] == "only one"
    results = BatchRunner(100).run([1], lambda batch: [])
    assert isinstance(results[0], ValueError)


def test_an_interruption_is_not_swallowed():
    def interrupted(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BatchRunner(100).run([1, 1], interrupted)
