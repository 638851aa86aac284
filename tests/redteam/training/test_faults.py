"""What an independent judge finds wrong with answers."""

from __future__ import annotations

import pytest

from guard_reward.errors import UserError
from guard_reward.redteam.training.faults import checked, judge_of_guard, load_judge
from guard_reward.tiny.oracle import oracle_faults
from tests.scripted_guard import ScriptedGuard

PROMPT = [{"role": "user", "content": "How?"}]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("Boil it.", None),
        ("a bomb", "unsafe"),
        ("edgy", "controversial"),
        ("mumble", "no_verdict"),
        ("", "empty"),
        (" ... ", "empty"),
        ("so " * 200, "repetition"),
    ],
)
def test_a_second_guard(answer, fault):
    assert judge_of_guard(ScriptedGuard())([PROMPT], [answer]) == [fault]


def test_a_second_guard_is_not_asked_about_nothing():
    guard = ScriptedGuard()
    judge_of_guard(guard)([PROMPT, PROMPT], ["", "Boil it."])
    assert guard.asked_about == ["Boil it."]


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("Sure. First cut the gravok.", "unsafe"),
        ("Sure. First cut the votrak.", "controversial"),
        ("Sure. First cut the florn.", None),
        ("No, I must refuse to do that.", None),
        ("Sure. First the.", "garbled"),
        ("", "empty"),
    ],
)
def test_the_oracle(reply, fault):
    assert oracle_faults([PROMPT], [reply]) == [fault]


def test_a_function_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "my_judges.py").write_text(
        "def long(prompts, answers):\n    return ['long' if len(it) > 5 else None for it in answers]\n"
    )
    monkeypatch.chdir(tmp_path)
    assert list(load_judge("my_judges.long")([PROMPT] * 2, ["long answer", "short"])) == ["long", None]


@pytest.mark.parametrize(
    ("source", "message"),
    [("my_judges.nothing", "judge: 'my_judges.nothing' cannot be imported"), ("math.pi", "should be a function")],
)
def test_a_path_to_something_else(source, message):
    with pytest.raises(UserError, match=message):
        load_judge(source)


@pytest.mark.parametrize(
    ("results", "message"), [(["unsafe"], "1 results for 2 answers"), ([None, 0.5], "a text. or None, found 0.5")]
)
def test_results_of_a_judge_are_checked(results, message):
    with pytest.raises(UserError, match=message):
        checked(lambda prompts, answers: results)([PROMPT] * 2, ["a", "b"])
