"""`AsyncGuardReward` in TRL's real trainer: recognised, the same rewards, and the trainer's facts known."""

from __future__ import annotations

import inspect

import pytest

trl = pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from guard_reward import AsyncGuardReward, GuardReward, load_guard  # noqa: E402
from tests.integration.conftest import rows, settings  # noqa: E402


def unmeasured(name):
    """Metrics that differ between two runs of the same rewards, and the rewards themselves."""
    return name.rpartition("/")[2] in ("seconds", "rollouts_per_second", "prefix_reuse", "passes_per_verdict")


@pytest.fixture(scope="module")
def history(guard_folder, policy_folder, tmp_path_factory):
    """One run with both rewards on the same rollouts, next to a plain coroutine function."""
    guard = load_guard(guard_folder, device="cpu")

    async def brevity(completions, **columns):
        return [-0.01 * len(str(completion)) for completion in completions]

    trainer = GRPOTrainer(
        model=policy_folder,
        reward_funcs=[GuardReward(guard, "soft"), AsyncGuardReward(guard, "soft", name="awaited"), brevity],
        args=GRPOConfig(**settings(tmp_path_factory.mktemp("run"))),
        train_dataset=Dataset.from_list(rows("conversational")),
    )
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def test_trl_recognises_it(guard_folder):
    reward = AsyncGuardReward(str(guard_folder))
    assert inspect.iscoroutinefunction(reward.__call__)
    try:
        from trl.trainer.utils import is_async_callable
    except ImportError:  # older TRL asks inspect
        return
    assert is_async_callable(reward)
    assert not is_async_callable(GuardReward(reward.guard))


def test_rewards_and_metrics_are_those_of_the_synchronous_reward(history):
    for entry in history:
        assert entry["rewards/awaited/mean"] == pytest.approx(entry["rewards/guard/mean"], abs=1e-5)
        names = {name for name in entry if name.startswith("guard/") and not unmeasured(name)}
        assert {f"awaited/{name.removeprefix('guard/')}" for name in names} == {
            name for name in entry if name.startswith("awaited/") and not unmeasured(name)
        }
        for name in names:
            assert entry[f"awaited/{name.removeprefix('guard/')}"] == pytest.approx(entry[name], abs=1e-5), name


@pytest.mark.parametrize("reward", ["guard", "awaited"])
def test_truncation_is_known_without_an_argument(history, reward):
    for entry in history:
        assert entry[f"{reward}/truncation_unknown_rate"] == 0
        assert 0 <= entry[f"{reward}/truncated_rate"] <= 1
    assert any(entry[f"{reward}/truncated_rate"] > 0 for entry in history)  # six tokens are few
