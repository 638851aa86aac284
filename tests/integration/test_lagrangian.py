"""The learned multiplier in TRL's real trainers: evaluations leave it alone, checkpoints keep it, runs resume it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

trl = pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402

from guard_reward import GuardReward, Severity, Verdict  # noqa: E402
from guard_reward.schemes import Lagrangian  # noqa: E402
from tests.integration.conftest import rows, settings  # noqa: E402


class AllUnsafe:
    """Whatever a policy says: so the multiplier rises by 1 - 0.25 a batch."""

    def moderate(self, conversations):
        return [Verdict(Severity.UNSAFE, refusal=False)] * len(conversations)


def two(completions, **columns):
    return [2.0] * len(completions)


def make_trainer(kind: str, policy: str, folder: Path):
    """Four steps of one batch each; an evaluation of four batches at the start and after every second step."""
    config = settings(
        folder,
        max_steps=4,
        eval_strategy="steps",
        eval_steps=2,
        eval_on_start=True,
        save_strategy="steps",
        save_steps=2,
        restore_callback_states_from_checkpoint=True,
    )
    return getattr(trl, f"{kind}Trainer")(
        model=policy,
        reward_funcs=GuardReward(AllUnsafe(), Lagrangian(unsafe_rate=0.25, learning_rate=1.0), helpfulness=two),
        args=getattr(trl, f"{kind}Config")(**config),
        train_dataset=Dataset.from_list(rows("string")),
        eval_dataset=Dataset.from_list(rows("string")),
    )


def saved(folder: Path, step: int) -> dict:
    state = json.loads((folder / f"checkpoint-{step}" / "trainer_state.json").read_text())
    return state["stateful_callbacks"]["LagrangeMultiplier/guard"]["attributes"]


def logged(trainer, name: str) -> dict[int, float]:
    """A metric by step."""
    return {log["step"]: log[name] for log in trainer.state.log_history if name in log}


@pytest.mark.parametrize("kind", ["GRPO", "RLOO"])
def test_a_run_and_the_same_run_resumed(kind, policy_folder, tmp_path):
    trainer = make_trainer(kind, policy_folder, tmp_path)
    trainer.train()
    assert logged(trainer, "guard/lagrange_multiplier") == {1: 1.0, 2: 1.75, 3: 2.5, 4: 3.25}
    assert logged(trainer, "eval_guard/lagrange_multiplier") == {0: 1.0, 2: 2.5, 4: 4.0}
    assert logged(trainer, "guard/unsafe_rate_window") == {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}
    assert logged(trainer, "eval_guard/unsafe_rate_window") == {2: 1.0, 4: 1.0}
    assert saved(tmp_path, 2)["multiplier"] == 2.5
    assert saved(tmp_path, 4)["multiplier"] == 4.0
    assert saved(tmp_path, 4)["batches"] == 4

    resumed = make_trainer(kind, policy_folder, tmp_path)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    multipliers = logged(resumed, "guard/lagrange_multiplier")
    assert {step: multipliers[step] for step in (3, 4)} == {3: 2.5, 4: 3.25}
    assert saved(tmp_path, 4)["multiplier"] == 4.0
