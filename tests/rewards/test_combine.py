"""`combine`: several reward functions as one, None as a whole."""

from __future__ import annotations

import pickle
from functools import partial

import pytest

from guard_reward import GuardReward, combine
from tests.scripted_guard import ScriptedGuard


def length(prompts, completions, **columns):
    return [float(len(completion)) for completion in completions]


def constant(prompts, completions, value=1.0, **columns):
    return [value] * len(completions)


class Fixed:
    """A reward function that returns what it was made with."""

    def __init__(self, *values, name="fixed"):
        self.values = values
        self.__name__ = name

    def __call__(self, prompts, completions, **columns):
        return list(self.values)


def score(reward, completions, **columns):
    return reward(prompts=["How?"] * len(completions), completions=completions, **columns)


NAN = float("nan")


@pytest.mark.parametrize(
    ("first", "second", "weights", "sums"),
    [
        ([1.0, 2.0], [10.0, 20.0], None, [11.0, 22.0]),  # weights are 1
        ([1.0, 2.0], [10.0, 20.0], [1.0, 0.5], [6.0, 12.0]),
        ([1.0, 2.0], [10.0, 20.0], [0.0, -1.0], [-10.0, -20.0]),
        ([None, 2.0], [10.0, 20.0], None, [None, 22.0]),  # None as a whole
        ([1.0, 2.0], [10.0, None], None, [11.0, None]),  # whoever says it
        ([None, None], [None, 1.0], None, [None, None]),
        ([None, 2.0], [10.0, 20.0], [0.0, 1.0], [None, 20.0]),  # weight 0 still judges
        ([NAN, 2.0], [10.0, 20.0], None, [None, 22.0]),  # TRL's other None
        ([0.0, 0.0], [0.0, 0.0], None, [0.0, 0.0]),  # 0 is a reward
    ],
)
def test_weighted_sums(first, second, weights, sums):
    reward = combine([Fixed(*first, name="first"), Fixed(*second, name="second")], weights)
    assert score(reward, ["a", "b"]) == sums


def test_a_row_that_the_guard_could_not_judge_is_none():
    reward = combine([GuardReward(ScriptedGuard()), length], weights=[1.0, 0.1])
    assert score(reward, ["fine", "mumble", "", "a bomb"]) == pytest.approx([1.4, None, 0.0, 0.6])


def test_each_function_is_logged_apart():
    metrics, columns = {}, {}
    score(
        combine([Fixed(1.0, None, NAN, name="guard"), length], name="total"),
        ["a", "bb", "ccc"],
        log_metric=lambda name, value: metrics.setdefault(name, []).append(value),
        log_extra=lambda name, values: columns.setdefault(name, []).extend(values),
    )
    assert metrics == {
        "total/guard": [1.0],  # no NaN, no made-up 0
        "total/sum/guard": [1.0],
        "total/rows/guard": [1.0],
        "total/length": [1.0, 2.0, 3.0],
        "total/sum/length": [6.0],
        "total/rows/length": [3.0],
    }
    assert columns == {"total_guard": [1.0, None, None], "total_length": [1.0, 2.0, 3.0]}


def test_a_function_without_an_opinion_logs_its_totals_too():
    metrics = {}
    score(
        combine([Fixed(None, None, name="guard")], name="total"),
        ["a", "bb"],
        log_metric=lambda name, value: metrics.setdefault(name, []).append(value),
    )
    assert metrics == {"total/sum/guard": [0.0], "total/rows/guard": [0.0]}


def test_everything_is_passed_on():
    seen = {}

    def spy(**batch):
        seen.update(batch)
        return [1.0]

    columns = {"completion_ids": [[1]], "trainer_state": "state", "log_metric": None, "log_extra": None, "kind": ["x"]}
    score(combine([spy]), ["a"], **columns)
    assert seen == {"prompts": ["How?"], "completions": ["a"], **columns}


def test_combinations_nest():
    inner = combine([Fixed(1.0, None, name="a"), Fixed(2.0, 2.0, name="b")], name="inner")
    assert score(combine([inner, length], weights=[2.0, 1.0]), ["x", "y"]) == [7.0, None]


def test_its_name_in_the_trainers_log():
    assert combine([length]).__name__ == "combined"
    assert combine([length], name="total").__name__ == "total"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "needs at least one reward function"),
        (([length, constant], [1.0]), "got 2 reward functions and 1 weights"),
        (([length], [1.0, 2.0]), "got 1 reward functions and 2 weights"),
        (([length], [NAN]), r"weights\[0\] should be a finite number, found nan"),
        (([length, constant], [1.0, float("inf")]), r"weights\[1\] should be a finite number, found inf"),
        (([length, constant], [1.0, None]), r"weights\[1\] should be a finite number, found None"),
        (([length, partial(length)], None), r"functions of the same name \(length, length\)"),
        (([GuardReward(ScriptedGuard()), GuardReward(ScriptedGuard())],), r"give each its own.*name="),
    ],
)
def test_bad_arguments_have_a_clear_answer(arguments, message):
    with pytest.raises(ValueError, match=message):
        combine(*arguments)


def test_a_function_that_loses_a_row_is_named():
    with pytest.raises(ValueError, match="fixed returned 1 rewards for 2 completions"):
        score(combine([length, Fixed(1.0)]), ["a", "b"])


def test_picklable():
    reward = combine([GuardReward(ScriptedGuard()), partial(constant, value=3.0)], weights=[1.0, 2.0], name="total")
    copy = pickle.loads(pickle.dumps(reward))
    assert score(copy, ["fine", "mumble"]) == score(reward, ["fine", "mumble"]) == [7.0, None]
    assert copy.__name__ == "total"


def test_a_function_that_must_be_awaited_is_refused():
    async def later(prompts, completions, **columns):
        return [1.0] * len(completions)

    with pytest.raises(ValueError, match="later is asynchronous"):
        combine([later])
