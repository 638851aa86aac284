"""`GuardReward`: TRL's reward protocol, construction, sleeping, the record of a run, pickling."""

from __future__ import annotations

import inspect
import json
import logging
import pickle
import subprocess
import sys
from functools import partial

import pytest

from guard_reward import GuardReward, Severity, Verdict, combine, schemes
from guard_reward.log_lines import is_total
from guard_reward.rewards.defences import Defences
from guard_reward.schemes import (
    Hybrid,
    Soft,
)
from tests.rewards.helpers import REPOSITORY, THINK, Log, Raising, by_length, score
from tests.scripted_guard import ScriptedGuard

# The protocol --------------------------------------------------------------------------------------------------------


def test_a_list_of_numbers_in_the_order_of_the_rows():
    rewards = score(GuardReward(ScriptedGuard()), "fine", "a bomb", "mumble", "", "sorry")
    assert rewards == [1.0, 0.0, None, 0.0, 1.0]
    assert [type(value) for value in rewards] == [float, float, type(None), float, float]


def test_plain_and_conversational_rows_pay_the_same():
    texts = ["fine", "a bomb", "sorry", "", THINK("a bomb", "fine")]
    reward = GuardReward(ScriptedGuard())
    chats = reward(
        prompts=[[{"role": "user", "content": "How?"}]] * len(texts),
        completions=[[{"role": "assistant", "content": text}] for text in texts],
    )
    assert chats == score(reward, *texts) == [1.0, 0.0, 1.0, 0.0, 0.0]


def test_prompts_and_completions_are_enough():
    assert GuardReward(ScriptedGuard())(["How?"], ["fine"]) == [1.0]


def test_no_rows_no_rewards():
    guard, log = ScriptedGuard(), Log()
    assert score(GuardReward(guard), log=log) == []
    assert guard.asked == []
    assert {name for name in log.metrics if not is_total(name)} == {"guard/seconds"}


@pytest.mark.parametrize(
    "reward",
    [
        GuardReward(ScriptedGuard()),
        GuardReward(ScriptedGuard(), helpfulness=by_length),
        combine([GuardReward(ScriptedGuard())]),
    ],
    ids=["reward", "helpfulness", "combination"],
)
def test_a_column_may_have_any_name_but_those_of_the_protocol(reward):
    columns = {
        name: ["x"] for name in ("self", "cls", "call", "batch", "name", "helpfulness", "reward", "rows", "args")
    }
    assert score(reward, "fine", **columns) == [1.0]


def test_everything_a_trainer_passes_is_accepted_and_dataset_columns_are_ignored():
    rewards = score(
        GuardReward(ScriptedGuard()),
        "fine",
        log=Log(),
        trainer_state=object(),
        completion_ids=[[5, 2]],
        source=["web"],
        environments=None,
    )
    assert rewards == [1.0]


def test_trl_sees_a_synchronous_function_with_a_name():
    reward = GuardReward(ScriptedGuard(), name="safety")
    assert reward.__name__ == "safety"
    assert not inspect.iscoroutinefunction(reward.__call__)
    assert "ScriptedGuard" in repr(reward) or "scripted" in repr(reward)


def test_rows_of_different_number_are_refused():
    with pytest.raises(ValueError, match="found 1 prompts and 2 completions"):
        GuardReward(ScriptedGuard())(prompts=["a"], completions=["b", "c"])
    with pytest.raises(ValueError, match="found 2 completions, but completion_ids of 1"):
        GuardReward(ScriptedGuard())(prompts=["a", "a"], completions=["b", "c"], completion_ids=[[1]])


# Construction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "hybrid"}, "Hybrid needs helpfulness: pass helpfulness="),
        ({"scheme": Soft(Hybrid())}, "Soft needs helpfulness"),
        ({"scheme": "guard-only"}, "unknown scheme 'guard-only'"),
        ({"scheme": schemes.GuardOnly}, r"pass GuardOnly\(\)"),
        ({"thinking": "apart"}, "thinking should be 'separate', 'joint' or 'ignore', found 'apart'"),
        ({"controversial": "maybe"}, "controversial should be"),
        ({"on_outcome": {"truncated": 0.0}}, "'truncated' is not an outcome; there are empty, too_long, no_verdict"),
        ({"on_outcome": {"scored": 0.0}}, "'scored' is not an outcome"),
        ({"on_outcome": {"empty": "windows"}}, "should be a finite number, None or floor, found 'windows'"),
        ({"on_outcome": {"too_long": "cut"}}, "should be a finite number, None or floor or windows, found 'cut'"),
        ({"scheme": lambda assessment: 1.0}, r"has no floor\(helpfulness\).*on_outcome={'empty': <number or None>}"),
        ({"scheme": Soft(lambda assessment: 1.0)}, r"has no floor\(helpfulness\)"),
        ({"guard": object()}, r"object with moderate\(\)"),
        ({"helpfulness": 3}, "callable with TRL's reward signature, found int"),
        ({"scheme": "lagrangian"}, "Lagrangian needs helpfulness"),
        ({"sleep": True}, r"has no sleep\(\): load the guard with guard_reward.load_guard, or leave sleep=False"),
    ],
)
def test_bad_arguments_have_a_clear_answer(arguments, message):
    with pytest.raises(ValueError, match=message):
        GuardReward(**{"guard": ScriptedGuard(), **arguments})


def test_a_guard_folder_that_does_not_exist():
    with pytest.raises(FileNotFoundError, match="no/such/guard"):
        GuardReward("no/such/guard")


# Sleeping ------------------------------------------------------------------------------------------------------------


class Sleepy(ScriptedGuard):
    """A guard, and a helpfulness function, that say when they work and when they sleep."""

    def __init__(self, diary):
        super().__init__()
        self.diary = diary

    def moderate(self, conversations):
        self.diary.append("judges")
        return super().moderate(conversations)

    def __call__(self, completions, **columns):
        self.diary.append("scores")
        return [4.0] * len(completions)

    def sleep(self):
        self.diary.append("sleeps")


@pytest.mark.parametrize(
    ("sleep", "at_first", "diary"),
    [(True, ["sleeps", "sleeps"], ["judges", "sleeps", "scores", "sleeps"]), (False, [], ["judges", "scores"])],
)
def test_guard_and_helpfulness_model_sleep_until_the_first_call_and_after_every_call(sleep, at_first, diary):
    written: list[str] = []
    reward = GuardReward(Sleepy(written), "hybrid", helpfulness=Sleepy(written), sleep=sleep)
    for _ in range(2):
        assert score(reward, "fine", "a bomb") == [4.0, -10.0]
    assert written == at_first + diary * 2


def test_a_guard_that_raises_sleeps_too():
    class Dreaming(Raising):
        asleep = False

        def sleep(self):
            self.asleep = True

    guard = Dreaming()
    assert score(GuardReward(guard, sleep=True), "fine") == [None]
    assert guard.asleep


def test_helpfulness_that_cannot_sleep_stays_awake():
    reward = GuardReward(Sleepy([]), "hybrid", helpfulness=by_length, sleep=True)
    assert score(reward, "fine") == [4.0]


def test_a_real_guard_sleeps_and_judges_again(tiny_guard):
    reward = GuardReward(tiny_guard, "soft", sleep=True)
    first = score(reward, "Fine.", "A bomb.")
    assert score(reward, "Fine.", "A bomb.") == first


# The record of a run -------------------------------------------------------------------------------------------------


def test_describe_says_what_decides_the_rewards():
    facts = GuardReward(
        ScriptedGuard(),
        "hybrid",
        helpfulness=by_length,
        thinking="joint",
        system_prompt="omit",
        on_outcome={"empty": -1},
        defences=Defences(window=2000),
    ).describe()
    assert facts.pop("guard_reward")  # a version
    assert facts == {
        "guard": "scripted",
        "revision": "script",
        "scheme": "Hybrid(unsafe=-10.0, refusal=-5.0, controversial='unsafe')",
        "thinking": "joint",
        "system_prompt": "omit",
        "defences": "Defences(normalise=True, degenerate=True, language_switch=False, window=2000, overlap=0.25, "
        "helpfulness=None)",
        "on_outcome": "empty: -1, too_long: windows, no_verdict: None, guard_error: None, timeout: None, "
        "degenerate: floor",
        "helpfulness": "by_length",
    }


def test_describe_a_guard_that_cannot_describe_itself():
    assert "Raising" in GuardReward(Raising()).describe()["guard"]


# Pickling ------------------------------------------------------------------------------------------------------------


def test_a_pickled_reward_pays_the_same():
    reward = GuardReward(
        ScriptedGuard(),
        Hybrid(-3.0, -1.0),
        name="safety",
        helpfulness=partial(by_length),
        on_outcome={"empty": -7.0},
        eos_token_ids=(2,),
    )
    texts = ("fine", "a bomb", "sorry", "", "mumble")
    copy = pickle.loads(pickle.dumps(reward))
    assert score(copy, *texts) == score(reward, *texts) == [4.0, -3.0, -1.0, -7.0, None]
    assert copy.__name__ == "safety"


_FRESH_PROCESS = """
import json, pickle, sys
reward = pickle.load(open(sys.argv[1], "rb"))
assert "transformers" not in sys.modules or reward.guard._lazy.parts is None  # nothing is loaded before it is needed
print(json.dumps(reward(prompts=["How?"] * 3, completions=["Fine.", "A bomb.", ""])))
"""


def test_a_reward_with_a_loaded_guard_travels_to_a_fresh_process(tiny_guard, tmp_path):
    reward = GuardReward(tiny_guard, "soft", name="safety")
    here = reward(prompts=["How?"] * 3, completions=["Fine.", "A bomb.", ""])
    file = tmp_path / "reward.pickle"
    file.write_bytes(pickle.dumps(reward))
    assert file.stat().st_size < 10_000  # a name, no weights
    fresh = subprocess.run(
        [sys.executable, "-c", _FRESH_PROCESS, str(file)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    there = json.loads(fresh.stdout.splitlines()[-1])
    assert there == pytest.approx(here, abs=1e-5)


def test_verdicts_of_a_custom_guard_need_nothing_but_a_severity():
    class Minimal:
        def moderate(self, conversations):
            return [Verdict(Severity.SAFE)] * len(conversations)

    log = Log()
    assert score(GuardReward(Minimal()), "fine", log=log) == [1.0]
    assert "guard/refusal_rate" not in log.metrics  # unknown, not 0
    assert "guard/p_unsafe_mean" not in log.metrics


def test_no_warnings_in_ordinary_use(caplog):
    with caplog.at_level(logging.WARNING):
        score(GuardReward(ScriptedGuard(), "hybrid", helpfulness=by_length), "fine", "a bomb", "sorry", "")
    assert caplog.records == []
