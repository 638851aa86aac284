"""Which rows share a batch: no batch above its budget, and cuts where rows share least."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring import plan_batches, plan_padded_batches
from tests.scoring.rows import ROWS, cost, strangers


@pytest.mark.parametrize(
    ("rows", "budget", "batches"),
    [
        ([], 100, []),  # no rows
        ([[1]], 100, [[0]]),  # one row
        ([[3], [1], [2]], 100, [[1, 2, 0]]),  # in lexicographic order, not by length
        ([[2], [1, 9, 9], [1]], 100, [[2, 1, 0]]),  # a beginning before what it begins
        ([[10], [9]], 100, [[1, 0]]),  # tokens are numbers
        (strangers(3), 20, [[0, 1], [2]]),  # budget full
        (strangers(3), 19, [[0], [1], [2]]),  # one token too few
        ([[1] * 500, [2]], 100, [[0], [1]]),  # above the budget: alone
        ([[1], [2] * 500, [3]], 100, [[0], [1], [2]]),  # also between others
        ([[1, 2, 3], [1, 2, 4]], 4, [[0, 1]]),  # what is shared counts once
        ([[1, 2, 3], [9, 9], [1, 2, 4]], 4, [[0, 2], [1]]),  # so those that begin alike come together
        ([[1, 2], [1, 2, 3, 4]], 4, [[0, 1]]),  # one row begins the other
        ([[1, 2, 3], [1, 2, 3]], 4, [[0, 1]]),  # a row twice: its last token is computed twice
        ([[1, 2, 3], [1, 2, 3]], 3, [[0], [1]]),  # and counted twice
        ([[7, 1], [7, 2], [7, 3], [7, 4], [7, 5]], 3, [[0, 1], [2, 3], [4]]),  # the first of a batch shares with nobody
        ([[7, 7, 7, 1], [7, 7, 7, 2]], 3, [[0], [1]]),  # nor does it below the budget
        (strangers(2, 3), 1, [[0], [1]]),  # one each
        (strangers(2, 3), 0, [[0], [1]]),  # no memory at all: still one each
    ],
)
def test_the_plan(rows, budget, batches):
    assert plan_batches(rows, budget) == batches


@settings(deadline=None)
@given(ROWS, st.integers(1, 60))
def test_any_plan(rows, budget):
    """Every row once; no batch above the budget, except a row alone; none cut before half of what would fit."""
    batches = plan_batches(rows, budget)
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(rows)))
    assert [rows[index] for index in order] == sorted(rows)
    for batch in batches:
        assert len(batch) == 1 or cost([rows[i] for i in batch]) <= budget
    for number, batch in enumerate(batches[:-1]):
        waiting = [rows[index] for part in batches[number:] for index in part]
        heads = [waiting[:count] for count in range(1, len(waiting))]
        fits = max(cost(head) for head in heads if len(head) == 1 or cost(head) <= budget)
        assert 2 * cost([rows[i] for i in batch]) >= fits


def test_a_full_batch_is_cut_between_groups():
    """A budget with room for one group and a half: a prompt is computed in one batch, not in two."""
    rows = [[*[prompt] * 50, completion] for prompt in range(4) for completion in range(8)]
    assert plan_batches(rows, 58 + 54) == [list(range(prompt * 8, prompt * 8 + 8)) for prompt in range(4)]
    one_large = [[*[1] * 50, completion] for completion in range(20)]
    assert [len(batch) for batch in plan_batches(one_large, 58)] == [8, 8, 4]  # nothing better: as many as fit


def test_completions_of_one_prompt_stay_in_one_batch():
    """However they are mixed with those of other prompts."""
    prompts = [[prompt] * 50 for prompt in range(4)]
    rows = [[*prompts[index % 4], 10 + index // 4] for index in range(32)]
    batches = plan_batches(rows, 58)  # a prompt and its eight completions
    assert batches == [list(range(prompt, 32, 4)) for prompt in range(4)]


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
def test_the_plan_where_a_batch_is_a_padded_matrix(lengths, budget, batches):
    assert plan_padded_batches([[0] * length for length in lengths], budget) == batches


@settings(deadline=None)
@given(ROWS, st.integers(1, 60))
def test_any_padded_plan(rows, budget):
    """Every row once; no matrix above the budget, except a row alone; none with room for the next row."""
    batches = plan_padded_batches(rows, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
    widths = [max(len(rows[index]) for index in batch) for batch in batches]
    assert widths == sorted(widths, reverse=True)
    for batch, width in zip(batches, widths, strict=True):
        assert len(batch) == 1 or len(batch) * width <= budget
    for batch, width in zip(batches[:-1], widths, strict=False):
        assert (len(batch) + 1) * width > budget
