"""Choosing prompts: what is kept, why others are not, what is written, and that a killed selection goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import datasets
import pytest

from guard_reward import GuardReward
from guard_reward.errors import UserError
from guard_reward.evaluation.evaluate import Sampling
from guard_reward.evaluation.policies.replies import Reply
from guard_reward.evaluation.records import PromptRow
from guard_reward.guards.outage import OutageError
from guard_reward.prompts import PromptSet
from guard_reward.prompts.loading import load_set
from guard_reward.prompts.selection import decide, select_prompts
from tests.evaluation.kills import run_with_kills
from tests.evaluation.scripted_policy import ScriptedPolicy
from tests.scripted_guard import ScriptedGuard

SAFE, EDGY, BOMB, LOST = ("Safe", 1.0), ("Controversial", 0.0), ("Unsafe", 0.0), (None, None)

# samples, whether the prompt is kept, why not
DECISIONS = [
    ([SAFE, BOMB], True, None),
    ([SAFE, SAFE, SAFE, EDGY], True, None),
    ([SAFE, SAFE], False, "all_safe"),
    ([BOMB, BOMB], False, "all_unsafe"),
    ([BOMB, EDGY], False, "all_unsafe"),
    ([("Safe", 0.5), ("Unsafe", 0.5)], False, "no_spread"),
    ([("Safe", 0.9), ("Safe", 0.5)], True, None),  # soft rewards spread among safe samples
    ([("Safe", 0.90), ("Safe", 0.89)], False, "all_safe"),
    ([SAFE, LOST], False, "no_verdict"),
    ([LOST, LOST], False, "no_verdict"),
    ([SAFE, BOMB, LOST], True, None),
    ([(None, 0.0), SAFE], True, None),  # an empty reply has no verdict, and the floor as its reward
]


@pytest.mark.parametrize(("samples", "keep", "reason"), DECISIONS)
def test_what_is_kept(samples, keep, reason):
    severities, rewards = zip(*samples, strict=True)
    decision = decide(rewards, severities, min_spread=0.05)
    assert (decision.keep, decision.reason) == (keep, reason)


def test_the_spread_is_the_standard_deviation_of_the_samples():
    decision = decide([1.0, 0.0, 0.0, 0.0], ["Safe", "Unsafe", "Unsafe", "Unsafe"], min_spread=0.4331)
    assert decision.reward_spread == pytest.approx((1 / 4 * 3 / 4) ** 0.5)
    assert (decision.keep, decision.safe_rate, decision.reward_mean) == (False, 0.25, 0.25)


def script(text: str, random: Random) -> Reply:
    """The prompt's first word says what its samples are."""
    kind = text.split()[0]
    if kind == "mixed":
        return Reply(random.choice(["A bomb.", "A cake."]))
    return {
        "harmless": Reply("A cake."),
        "harmful": Reply("A bomb."),
        "lost": Reply("mumble"),
        "gone": Reply(error="connection refused"),
    }[kind]


def rows(*kinds: str) -> list[PromptRow]:
    return [
        PromptRow([{"role": "user", "content": f"{kind} {number}"}], source=kind, harmful=kind != "harmless")
        for number, kind in enumerate(kinds)
    ]


ROWS = rows(*["mixed", "harmless", "harmful", "lost", "gone"] * 4)


def select(prompts: list[PromptRow], out: Path, policy: Any = None, **options: Any) -> dict[str, Any]:
    reward = options.pop("reward", None) or GuardReward(ScriptedGuard())
    return select_prompts(prompts, {"default": policy or ScriptedPolicy(script)}, reward, out, **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_reasons_are_counted_by_source(tmp_path):
    numbers = select(ROWS, tmp_path)
    assert (numbers["prompts"], numbers["kept"]) == (20, 4)
    assert numbers["dropped"] == {"all_safe": 4, "all_unsafe": 4, "no_spread": 0, "no_verdict": 8}
    assert numbers["by_source"]["harmless"] == {
        "kept": 0,
        "dropped": {"all_safe": 4, "all_unsafe": 0, "no_spread": 0, "no_verdict": 0},
    }
    assert numbers == json.loads((tmp_path / "selection.json").read_text())


def test_every_sample_and_decision_is_written(tmp_path):
    select(ROWS, tmp_path, sampling=Sampling(samples=4))
    samples, decisions = lines(tmp_path / "samples.jsonl"), lines(tmp_path / "decisions.jsonl")
    assert [(one["prompt_id"], one["sample"]) for one in samples] == [(p, s) for p in range(20) for s in range(4)]
    for decision in decisions:
        of_prompt = [one for one in samples if one["prompt_id"] == decision["prompt_id"]]
        rewards = [one["reward"] for one in of_prompt if one["reward"] is not None]
        assert decision["rewarded"] == len(rewards)
        assert decision["reward_mean"] == (pytest.approx(sum(rewards) / len(rewards)) if rewards else None)
    assert {one["guard_outcome"] for one in samples} == {"scored", "no_verdict", "policy_error"}


def test_the_recipes_take_the_result(tmp_path):
    select(ROWS, tmp_path)
    loaded = load_set(PromptSet(str(tmp_path / "selected.jsonl"), harmful="harmful"), seed=0)
    assert sorted(row["prompt"][0]["content"] for row in loaded) == sorted(
        f"mixed {number}" for number in (0, 5, 10, 15)
    )
    assert set(loaded["harmful"]) == {True}


def test_the_folder_is_a_data_set_with_a_card(tmp_path):
    select(ROWS, tmp_path)
    assert datasets.load_dataset(str(tmp_path), split="train").num_rows == 4
    assert datasets.load_dataset(str(tmp_path), "samples", split="train").num_rows == 160
    card = (tmp_path / "README.md").read_text()
    assert "| source | prompts | kept | all_safe | all_unsafe | no_spread | no_verdict |" in card
    assert "| all | 20 | 4 | 4 | 4 | 0 | 8 |" in card
    assert "guard `scripted`" in card
    assert "policy `scripted-policy`" in card


def test_samples_with_and_without_thinking_are_decided_on_together(tmp_path):
    policy = ScriptedPolicy(lambda text, random: Reply("A cake."))
    thinks = ScriptedPolicy(lambda text, random: Reply("A cake.", thinking="A bomb."))
    reward = GuardReward(ScriptedGuard())
    numbers = select_prompts(ROWS[:2], {"off": policy, "on": thinks}, reward, tmp_path, sampling=Sampling(samples=2))
    assert numbers["kept"] == 2  # safe without thinking, unsafe with it
    assert [one["mode"] for one in lines(tmp_path / "samples.jsonl")[:4]] == ["off", "off", "on", "on"]


@pytest.mark.parametrize(("min_spread", "kept"), [(0.05, 1), (0.4, 0)])
def test_soft_rewards_have_a_threshold_too(tmp_path, min_spread, kept):
    reward = GuardReward(ScriptedGuard(), "soft")
    policy = ScriptedPolicy(lambda text, random: Reply(random.choice(["An edgy joke.", "A bomb."])))
    assert select(ROWS[:1], tmp_path, policy, reward=reward, min_spread=min_spread)["kept"] == kept


def test_killed_at_random_moments_it_writes_the_files_of_an_unbroken_run(tmp_path):
    class Slow(ScriptedGuard):
        def moderate(self, conversations):
            time.sleep(0.02)
            return super().moderate(conversations)

    def run(folder: Path) -> None:
        reward = GuardReward(Slow())
        select(ROWS, folder, reward=reward, sampling=Sampling(samples=3, chunk=1), overwrite=True, keep_going=True)

    run(tmp_path / "unbroken")
    assert run_with_kills(lambda: run(tmp_path / "broken"), kills=10, longest=0.3) >= 3
    names = sorted(path.name for path in (tmp_path / "unbroken").iterdir())
    assert names == ["README.md", "decisions.jsonl", "samples.jsonl", "selected.jsonl", "selection.json"]
    for name in names:
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_a_policy_that_is_gone_stops_the_job(tmp_path):
    with pytest.raises(OutageError, match="the policy failed on 32 of 32 replies"):
        select(rows(*["gone"] * 4), tmp_path)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [([], {}, "no prompts"), (ROWS, {"min_spread": 0.0}, "min_spread should be above 0")],
)
def test_what_cannot_work_is_said_at_once(tmp_path, prompts, options, message):
    with pytest.raises(UserError, match=message):
        select(prompts, tmp_path, **options)


def test_a_mode_that_the_policy_fails_in_stops_the_job(tmp_path):
    policies = {"off": ScriptedPolicy(script), "on": ScriptedPolicy(lambda text, random: Reply(error="HTTP 400"))}
    arguments = (rows(*["mixed"] * 4), policies, GuardReward(ScriptedGuard()), tmp_path)
    with pytest.raises(OutageError, match=r"the policy failed on 32 of 32 replies \(HTTP 400\)"):
        select_prompts(*arguments)
    numbers = select_prompts(*arguments, keep_going=True)
    assert numbers["policy_errors"] == {"on": 32}
    assert "failed to give 32 samples in the mode `on`" in (tmp_path / "README.md").read_text()


def test_the_rewards_circuit_breaker_is_as_before(tmp_path):
    reward = GuardReward(ScriptedGuard())
    before = reward.breaker
    select(ROWS, tmp_path, reward=reward)
    assert reward.breaker == before is not None


def test_helpfulness_sees_labels_only_if_all_prompts_have_one(tmp_path):
    seen = []

    def helpful(completions, **columns):
        seen.append("harmful" in columns)
        return [0.0] * len(completions)

    reward = GuardReward(ScriptedGuard(), helpfulness=helpful)
    mixed = [*rows("mixed"), PromptRow([{"role": "user", "content": "mixed 9"}])]
    numbers = select(mixed, tmp_path / "mixed", reward=reward, sampling=Sampling(samples=2, chunk=1))
    select(rows("mixed", "mixed"), tmp_path / "all", reward=reward, sampling=Sampling(samples=2, chunk=1))
    assert seen == [False, False, True, True]
    assert numbers["unlabelled"] == 1


class Helpful:
    """A helpfulness whose ``repr`` is another one in every process."""

    def __call__(self, completions, **columns):
        return [0.0] * len(completions)


def test_a_selection_with_an_object_as_helpfulness_goes_on_in_another_process(tmp_path):
    def stops(text: str, random: Random) -> Reply:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        select(ROWS, tmp_path, ScriptedPolicy(stops), reward=GuardReward(ScriptedGuard(), helpfulness=Helpful()))
    select(ROWS, tmp_path, reward=GuardReward(ScriptedGuard(), helpfulness=Helpful()))


def test_of_another_unfinished_selection_the_error_names_the_fact(tmp_path):
    def stops(text: str, random: Random) -> Reply:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        select(ROWS, tmp_path, ScriptedPolicy(stops))
    with pytest.raises(UserError, match=r"\(min_spread was '0.05', now '0.2'\)"):
        select(ROWS, tmp_path, min_spread=0.2)
