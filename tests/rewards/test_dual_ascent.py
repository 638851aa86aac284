"""The learned multiplier: dual ascent, where its state lives, what an evaluation does to it, and all ranks together."""

from __future__ import annotations

import json
import logging
import pickle
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward import Assessment, GuardReward, Severity, Verdict
from guard_reward.rewards.dual_ascent import DualAscent, Multiplier, is_training
from guard_reward.schemes import GuardOnly, Lagrangian, Soft
from guard_reward.verdict import Probabilities
from tests.processes import run_two_ranks
from tests.scripted_guard import ScriptedGuard

KEY = "LagrangeMultiplier/guard"


def two(completions, **columns):
    """A helpfulness function: 2 for everything."""
    return [2.0] * len(completions)


class Trainer:
    """What a reward function sees of TRL's trainers: the state and a bound ``log_metric``."""

    def __init__(self, state=None):
        from transformers import TrainerState

        self.model = SimpleNamespace(training=True)
        self.state = TrainerState() if state is None else state
        self.logged: dict[str, list[float]] = {}

    def log_metric(self, name, value):
        self.logged.setdefault(name, []).append(value)

    def score(self, reward, *completions):
        return reward(
            prompts=["How?"] * len(completions),
            completions=list(completions),
            trainer_state=self.state,
            log_metric=self.log_metric,
        )

    @property
    def multiplier(self) -> float:
        return self.state.stateful_callbacks[KEY]["attributes"]["multiplier"]


def lagrangian(**values) -> GuardReward:
    return GuardReward(ScriptedGuard(), Lagrangian(**values), helpfulness=two)


# Dual ascent ---------------------------------------------------------------------------------------------------------


def naive(batches, *, start, target, rate, delay, window, most):
    """λ after every batch, by plain loops over single batches."""
    value, seen, values = start, [], []
    for batch in batches:
        if len(batch) > 0:
            seen.append(batch)
            newest, rows = [], 0
            for old in reversed(seen):
                if rows < window:
                    newest.append(old)
                    rows += len(old)
            amounts = [amount for old in newest for amount in old]
            if len(seen) > delay:
                value += rate * (sum(amounts) / len(amounts) - target)
                if value < 0:
                    value = 0.0
                if value > most:
                    value = most
        values.append(value)
    return values


@given(
    batches=st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=6), max_size=20),
    start=st.floats(0, 5),
    target=st.floats(0, 1),
    rate=st.floats(0, 3),
    delay=st.integers(0, 4),
    window=st.integers(1, 15),
    most=st.floats(5, 8),
)
def test_dual_ascent_agrees_with_a_naive_loop(batches, start, target, rate, delay, window, most):
    scheme = Lagrangian(target, rate, delay, window, most, start)
    multiplier, values = Multiplier(start), []
    for batch in batches:
        multiplier = multiplier.after(sum(batch), len(batch), scheme)
        values.append(multiplier.value)
    expected = naive(batches, start=start, target=target, rate=rate, delay=delay, window=window, most=most)
    assert values == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "batches", "expected"),
    [
        ({}, [(4, 4)] * 3, [1.5, 2.0, 2.5]),  # too much: rises
        ({}, [(0, 4)] * 3, [0.5, 0.0, 0.0]),  # too little: falls to 0
        ({"unsafe_rate": 0.5}, [(2, 4)] * 2, [1.0, 1.0]),  # at the limit
        ({"delay": 2}, [(4, 4)] * 3, [1.0, 1.0, 1.5]),  # delayed
        ({"max_multiplier": 1.75}, [(4, 4)] * 3, [1.5, 1.75, 1.75]),  # clipped
        ({"learning_rate": 0.0}, [(4, 4)] * 2, [1.0, 1.0]),  # a fixed price
        ({"window": 8}, [(4, 4), (0, 4), (0, 4)], [1.5, 1.5, 1.0]),  # rates 1, ½, 0
        ({}, [(4, 4), (0, 0), (4, 4)], [1.5, 1.5, 2.0]),  # nothing judged
        ({}, [(2, 4)], [1.0]),  # half unsafe
    ],
)
def test_dual_ascent_by_hand(values, batches, expected):
    defaults = {"unsafe_rate": 0.5, "learning_rate": 1.0, "window": 4}
    scheme = Lagrangian(**{**defaults, **values})
    multiplier, found = Multiplier(scheme.multiplier), []
    for unsafe, rows in batches:
        multiplier = multiplier.after(unsafe, rows, scheme)
        found.append(multiplier.value)
    assert found == pytest.approx(expected)


def test_the_unsafe_rate_of_nothing_is_not_0():
    assert Multiplier(1.0).unsafe_rate is None


# Inside GuardReward --------------------------------------------------------------------------------------------------


def test_a_batch_is_paid_with_what_was_learned_before_it():
    trainer, reward = Trainer(), lagrangian(unsafe_rate=0.0, learning_rate=2.0, window=2)
    assert trainer.score(reward, "fine", "a bomb") == [1.0, 0.5]  # λ = 1
    assert trainer.multiplier == 2.0  # 1 + 2 · ½
    assert trainer.score(reward, "fine", "a bomb") == pytest.approx([2 / 3, 0.0])  # λ = 2
    assert trainer.logged["guard/lagrange_multiplier"] == [1.0, 2.0]
    assert trainer.logged["guard/unsafe_rate_window"] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("completions", "rate"),
    [
        (["fine", "a bomb"], 0.5),
        (["fine", "a bomb", "mumble", "broken"], 0.5),  # no verdict: does not count
        (["fine", "a bomb", "", "?!"], 0.5),  # nothing to judge: neither
        (["fine", "edgy"], 0.5),  # strict
        (["<think>a bomb</think>fine", "fine"], 0.5),  # thinking counts
        (["<think>a bomb</think>mumble", "fine"], 0.5),  # Unsafe decides
        (["endless bomb", "fine"], 0.5),  # judged in windows
        (["sorry", "sorry"], 0.0),
    ],
)
def test_which_rows_the_unsafe_rate_counts(completions, rate):
    trainer = Trainer()
    trainer.score(lagrangian(), *completions)
    assert trainer.logged["guard/unsafe_rate_window"] == [rate]


@pytest.mark.parametrize(("controversial", "rate"), [("unsafe", 1.0), ("safe", 0.0), (0.25, 0.75)])
def test_controversial_counts_in_the_rate_as_in_the_reward(controversial, rate):
    trainer = Trainer()
    trainer.score(lagrangian(controversial=controversial), "edgy")
    assert trainer.logged["guard/unsafe_rate_window"] == [rate]


def test_soft_learns_from_the_guards_expectation():
    trainer = Trainer()
    reward = GuardReward(ScriptedGuard(), Soft(Lagrangian(unsafe_rate=0.0, learning_rate=1.0)), helpfulness=two)
    (paid,) = trainer.score(reward, "fine")  # P(Safe) is 0.9
    assert paid == pytest.approx((2 - 0.1) / 2)
    assert trainer.logged["guard/unsafe_rate_window"] == pytest.approx([0.1])
    assert trainer.multiplier == pytest.approx(1.1)
    (paid,) = trainer.score(reward, "fine")
    assert paid == pytest.approx((2 - 1.1 * 0.1) / 2.1)


def test_unsafe_is_one_minus_safeness():
    verdict = Verdict(Severity.SAFE, probabilities=Probabilities(0.5, 0.2, 0.3))
    assert DualAscent(Lagrangian(), "guard").unsafe(Assessment(verdict)) == 0.0
    assert DualAscent(Soft(Lagrangian()), "guard").unsafe(Assessment(verdict)) == pytest.approx(0.5)
    assert DualAscent(Soft(Lagrangian(controversial="safe")), "guard").unsafe(Assessment(verdict)) == pytest.approx(0.3)


def test_other_schemes_have_no_multiplier():
    assert DualAscent.of(GuardOnly(), "guard") is None
    trainer = Trainer()
    trainer.score(GuardReward(ScriptedGuard()), "fine")
    assert trainer.state.stateful_callbacks == {}
    assert "guard/lagrange_multiplier" not in trainer.logged


def test_two_rewards_learn_apart():
    trainer = Trainer()
    for name, text in (("one", "a bomb"), ("two", "fine")):
        trainer.score(GuardReward(ScriptedGuard(), Lagrangian(), helpfulness=two, name=name), text)
    one, two_ = (trainer.state.stateful_callbacks[f"LagrangeMultiplier/{name}"] for name in ("one", "two"))
    assert one["attributes"]["multiplier"] > 1.0 > two_["attributes"]["multiplier"]


# Training, evaluation, by hand ---------------------------------------------------------------------------------------


def test_an_evaluation_teaches_nothing_and_logs_what_is_known():
    trainer, reward = Trainer(), lagrangian(unsafe_rate=0.0, learning_rate=2.0)
    trainer.score(reward, "fine", "a bomb")
    saved = json.dumps(trainer.state.stateful_callbacks)
    trainer.model.training = False
    trainer.logged.clear()
    assert trainer.score(reward, "a bomb", "a bomb") == [0.0, 0.0]  # with λ = 2
    assert json.dumps(trainer.state.stateful_callbacks) == saved
    assert trainer.logged["guard/lagrange_multiplier"] == [2.0]
    assert trainer.logged["guard/unsafe_rate_window"] == [0.5]


def test_an_evaluation_before_the_first_batch_has_no_rate():
    trainer = Trainer()
    trainer.model.training = False
    trainer.score(lagrangian(), "a bomb")
    assert trainer.logged["guard/lagrange_multiplier"] == [1.0]
    assert "guard/unsafe_rate_window" not in trainer.logged
    assert trainer.state.stateful_callbacks == {}


def test_by_hand_nothing_is_learned(caplog):
    reward = lagrangian()
    for _ in range(3):
        assert reward(prompts=["How?"], completions=["a bomb"]) == [0.5]
    (message,) = [record.getMessage() for record in caplog.records]  # once
    assert message == "guard: the multiplier does not change: it is learned only in trainers that pass trainer_state"


@pytest.mark.parametrize(
    ("log_metric", "known"),
    [
        (Trainer().log_metric, True),
        (lambda name, value: None, None),  # wrapped
        (SimpleNamespace().__init__, None),  # somebody else's method
        (None, None),
    ],
)
def test_the_mode_is_known_from_the_trainers_own_log_metric(log_metric, known):
    assert is_training(log_metric) is known


def test_a_wrapped_log_metric_counts_as_training_and_is_warned_of_once(caplog):
    trainer, reward = Trainer(), lagrangian(unsafe_rate=0.0, learning_rate=1.0)
    trainer.model.training = False
    for _ in range(2):
        reward(["How?"], ["a bomb"], trainer_state=trainer.state, log_metric=lambda *args: trainer.log_metric(*args))
    assert trainer.multiplier == 3.0
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "training and evaluation cannot be told apart" in caplog.text


def test_a_state_that_cannot_keep_it_is_refused():
    with pytest.raises(ValueError, match=r"pass the trainer's transformers.TrainerState, or None"):
        lagrangian()(["How?"], ["fine"], trainer_state=object())


# Checkpoints ---------------------------------------------------------------------------------------------------------


def test_the_state_survives_the_trainers_own_file(tmp_path):
    from transformers import TrainerState

    batches = [["a bomb", "fine"], ["fine", "fine"], ["a bomb", "a bomb"], ["edgy"], ["fine", "a bomb"]]
    values = {"unsafe_rate": 0.1, "learning_rate": 0.7, "delay": 1, "window": 3}
    straight = Trainer()
    for batch in batches:
        straight.score(lagrangian(**values), *batch)

    first = Trainer()
    for batch in batches[:3]:
        first.score(lagrangian(**values), *batch)
    first.state.save_to_json(str(tmp_path / "trainer_state.json"))
    second = Trainer(TrainerState.load_from_json(str(tmp_path / "trainer_state.json")))
    assert second.multiplier == first.multiplier
    for batch in batches[3:]:
        second.score(lagrangian(**values), *batch)
    assert second.state.stateful_callbacks == straight.state.stateful_callbacks
    assert second.state.stateful_callbacks[KEY]["attributes"]["batches"] == 5


def test_its_shape_is_that_of_transformers_own_states():
    from transformers import TrainerControl

    trainer = Trainer()
    trainer.score(lagrangian(), "fine")
    assert set(trainer.state.stateful_callbacks[KEY]) == set(TrainerControl().state())


def test_a_lower_limit_holds_for_a_resumed_run():
    trainer = Trainer()
    for _ in range(3):
        trainer.score(lagrangian(unsafe_rate=0.0, learning_rate=5.0), "a bomb")
    assert trainer.multiplier == 16.0
    trainer.logged.clear()
    assert trainer.score(lagrangian(max_multiplier=3.0), "fine") == [0.5]  # (2 - 0) / (1 + 3)
    assert trainer.logged["guard/lagrange_multiplier"] == [3.0]


def test_a_pickled_reward_carries_no_state():
    trainer, reward = Trainer(), lagrangian(unsafe_rate=0.0, learning_rate=5.0)
    trainer.score(reward, "a bomb")
    copy = pickle.loads(pickle.dumps(reward))
    assert copy.scheme == reward.scheme == Lagrangian(unsafe_rate=0.0, learning_rate=5.0)
    assert Trainer().score(copy, "fine") == [1.0]  # another run starts anew
    assert trainer.score(copy, "fine") == pytest.approx([2 / 7])  # this one goes on


# All ranks together --------------------------------------------------------------------------------------------------

_TWO_RANKS = """
import datetime, json, sys
import torch.distributed as distributed
from tests.rewards.test_dual_ascent import Trainer, lagrangian

rank, store = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group(
    "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=30)
)
reward, trainer = lagrangian(unsafe_rate=0.1, learning_rate=1.0, window=4), Trainer()
batches = {
    0: [["a bomb", "fine"], ["mumble"], ["fine"] * 3, [""]],
    1: [["fine", "fine"], ["a bomb"], ["fine"] * 3, ["mumble"]],
}
values = []
for batch in batches[rank]:
    trainer.score(reward, *batch)
    values.append(trainer.multiplier)
trainer.model.training = False
reward.breaker = None
if rank == 0:  # learning gathers nothing in an evaluation: one rank alone does not hang
    trainer.score(reward, "a bomb")
values.append(trainer.multiplier)
print(json.dumps(values))
distributed.barrier()
distributed.destroy_process_group()
"""


def test_two_ranks_learn_the_same(tmp_path):
    outputs = run_two_ranks(_TWO_RANKS, tmp_path / "store", timeout=90)
    first, second = (json.loads(output.splitlines()[-1]) for output in outputs)
    # 1 of 4; 1 more row, 2 of 5; the 6 newest alone fill the window; nothing judged; an evaluation.
    expected = [1 + 0.15, 1.15 + 0.3, 1.45 - 0.1, 1.35, 1.35]
    assert first == second == pytest.approx(expected)
