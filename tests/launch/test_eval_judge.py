"""``eval_judge`` in a recipe's file: loaded, checked, and warned of if it gives the reward too."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest

from guard_reward.errors import UserError
from guard_reward.launch.config import GuardRewardConfig, build_reward
from guard_reward.launch.resume import check_guard
from guard_reward.rewards.policy import PolicyFacts
from guard_reward.tiny.guard import build_tiny_guard
from guard_reward.tiny.stream_guard import build_tiny_stream_guard

FACTS = PolicyFacts(eos_token_ids=(2,), thinking_prefilled=False)


def arguments(eval_strategy: str) -> SimpleNamespace:
    return SimpleNamespace(eval_strategy=eval_strategy, resume_from_checkpoint=None)


def test_it_needs_evaluations():
    reward = build_reward(GuardRewardConfig(str(build_tiny_guard()), eval_judge=str(build_tiny_stream_guard())), FACTS)
    check_guard(arguments("steps"), reward)
    with pytest.raises(UserError, match="eval_judge: the run evaluates nothing"):
        check_guard(arguments("no"), reward)


@pytest.mark.parametrize(("judge", "warns"), [(build_tiny_guard, True), (build_tiny_stream_guard, False)])
def test_the_reward_s_own_guard_is_warned_of(caplog, judge, warns):
    reward = build_reward(GuardRewardConfig(str(build_tiny_guard()), eval_judge=str(judge())), FACTS)
    with caplog.at_level(logging.WARNING):
        check_guard(arguments("steps"), reward)
    assert ("gave the reward" in caplog.text) is warns


def test_one_that_cannot_be_loaded_is_named():
    with pytest.raises(UserError, match=r"eval_judge: './nowhere' could not be loaded"):
        build_reward(GuardRewardConfig(str(build_tiny_guard()), eval_judge="./nowhere"), FACTS)


def test_it_may_have_load_guards_other_arguments():
    judge = {"guard": str(build_tiny_guard()), "spec": "qwen3guard", "dtype": "float32"}
    for given in (judge, json.dumps(judge)):
        reward = build_reward(GuardRewardConfig(str(build_tiny_guard()), eval_judge=given), FACTS)
        assert reward.describe()["eval_judge/spec"] == "qwen3guard"
    with pytest.raises(UserError, match="eval_judge: a mapping needs a guard, found spec"):
        build_reward(GuardRewardConfig(str(build_tiny_guard()), eval_judge={"spec": "rubric"}), FACTS)
