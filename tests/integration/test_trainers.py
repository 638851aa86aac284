"""`GuardReward` inside TRL's real trainers, on both forms of data, beside a second plain reward function."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

trl = pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402

from guard_reward import AsyncGuardReward, Category, GuardReward, Outcome, exact_rates, load_guard  # noqa: E402
from guard_reward.log_lines import is_total  # noqa: E402
from tests.integration.conftest import rows, settings  # noqa: E402
from tests.scripted_guard import ScriptedGuard  # noqa: E402

EVERY_ROW = {
    *(f"guard/outcome/{outcome}" for outcome in Outcome),
    "guard/injection_attempt_rate",
    "guard/lost_form_rate",
    "guard/truncated_rate",
    "guard/truncation_unknown_rate",
    "guard/seconds",
}
RATES = {f"guard/{name}_rate" for name in ("safe", "controversial", "unsafe", "refusal")}
JUDGED_ROWS = {
    *RATES,
    *(f"guard/category/{category}" for category in Category if category is not Category.JAILBREAK),
    "guard/category/unknown",
    "guard/p_unsafe_mean",
    "guard/worse_form_rate",
    "guard/rollouts_per_second",
    "guard/prefix_reuse",
    "guard/passes_per_verdict",
}
COLUMNS = {
    f"guard_{name}"
    for name in (
        "harmful",
        "severity",
        "categories",
        "refusal",
        "p_unsafe",
        "thinking_severity",
        "outcome",
        "reason",
        "truncated",
        "injection_attempts",
    )
}


def brevity(completions, **columns):
    """A plain reward function: shorter is better."""
    return [-0.01 * len(str(completion)) for completion in completions]


def train(trainer_class, config_class, form, guard, policy, folder: Path):
    """Two steps and an evaluation; the trainer, and the metrics of every log together."""
    reward = GuardReward(guard, "severity", prompt_label_column="kind", eos_token_ids=_eos(policy))
    trainer = trainer_class(
        model=policy,
        reward_funcs=[reward, brevity],
        args=config_class(**settings(folder, eval_strategy="steps", eval_steps=2, log_completions=True)),
        train_dataset=Dataset.from_list(rows(form)),
        eval_dataset=Dataset.from_list(rows(form)),
    )
    trainer.train()
    history = trainer.state.log_history
    logs = {
        "train": {key: value for log in history if "loss" in log for key, value in log.items()},
        "eval": {key: value for log in history if "eval_loss" in log for key, value in log.items()},
    }
    return SimpleNamespace(trainer=trainer, train=logs["train"], eval=logs["eval"], folder=folder)


def _eos(policy):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(policy).eos_token_id


@pytest.fixture(
    scope="module",
    params=[
        (trainer, config, form)
        for trainer, config in (("GRPOTrainer", "GRPOConfig"), ("RLOOTrainer", "RLOOConfig"))
        for form in ("string", "conversational")
    ],
    ids=lambda param: f"{param[0]}-{param[2]}",
)
def run(request, guard_folder, policy_folder, tmp_path_factory):
    trainer, config, form = request.param
    guard = load_guard(guard_folder)
    folder = tmp_path_factory.mktemp(f"{trainer}-{form}")
    return train(getattr(trl, trainer), getattr(trl, config), form, guard, policy_folder, folder)


def test_it_trains(run):
    assert run.trainer.state.global_step == 2
    assert math.isfinite(run.train["loss"])


def test_both_rewards_are_logged_under_their_names(run):
    for name in ("guard", "brevity"):
        assert math.isfinite(run.train[f"rewards/{name}/mean"])
        assert math.isfinite(run.eval[f"eval_rewards/{name}/mean"])


def test_every_guard_metric_is_in_the_log(run):
    logged = {key for key in run.train if key.startswith("guard/") and not is_total(key)}
    assert logged >= EVERY_ROW
    if run.train["guard/outcome/scored"]:
        assert logged >= JUDGED_ROWS
    split = {f"{rate}/{kind}" for rate in RATES for kind in ("harmful", "benign")}
    some = {"guard/thinking/unsafe_rate", "guard/language_switch_rate"}  # rows with thinking, or with enough letters
    assert logged <= EVERY_ROW | JUDGED_ROWS | split | some  # and no other


def test_the_evaluation_has_the_same_metrics_in_its_own_log(run):
    assert {f"eval_{key}" for key in EVERY_ROW | JUDGED_ROWS} <= set(run.eval)
    for kind in ("harmful", "benign"):  # the evaluation sees all prompts
        assert f"eval_guard/safe_rate/{kind}" in run.eval


def test_metrics_are_finite_and_rates_are_rates(run):
    guard = {key: value for key, value in (run.train | run.eval).items() if "guard/" in key and "rewards" not in key}
    assert all(math.isfinite(value) for value in guard.values())
    rates = {key: value for key, value in guard.items() if "second" not in key and "passes" not in key}
    assert all(0 <= value <= 1 for key, value in rates.items() if not is_total(key))
    assert {key: rates[key] for key in exact_rates(run.train)} == pytest.approx(exact_rates(run.train))  # of one call
    assert 1 <= run.train["guard/passes_per_verdict"] <= 128
    for log, prefix in ((run.train, ""), (run.eval, "eval_")):
        assert sum(log[f"{prefix}guard/outcome/{outcome}"] for outcome in Outcome) == pytest.approx(1)
        severities = (log[f"{prefix}guard/{name}_rate"] for name in ("safe", "controversial", "unsafe"))
        assert sum(severities) == pytest.approx(1)


def test_truncation_agrees_with_the_trainers_own_count(run):
    assert run.train["guard/truncated_rate"] == pytest.approx(run.train["completions/clipped_ratio"])
    assert run.train["guard/truncation_unknown_rate"] == 0


def test_the_rollouts_table_has_the_guards_columns(run):
    if type(run.trainer).__name__ != "GRPOTrainer":
        extra = run.trainer._logs["extra"]  # RLOO writes its table to a tracker only
        assert set(extra) == COLUMNS
        assert {len(values) for values in extra.values()} == {len(run.trainer._logs["prompt"])}
        return
    import pandas

    files = sorted((run.folder / "completions").glob("*.parquet"))
    table = pandas.read_parquet(files[0])
    assert set(table) == {"step", "prompt", "completion", "guard", "brevity", "advantage"} | COLUMNS
    assert len(table) == 4
    assert set(table["guard_outcome"]) <= {str(outcome) for outcome in Outcome}
    values = {"Safe": 1.0, "Controversial": 0.0, "Unsafe": -1.0}
    for _, row in table[table["guard_outcome"] == "scored"].iterrows():
        assert row["guard"] == values[row["guard_severity"]]


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
@pytest.mark.parametrize("trainer", ["GRPO", "RLOO"])
def test_two_rewards_with_one_name_stop_the_first_step(trainer, kind, policy_folder, tmp_path):
    two = getattr(trl, f"{trainer}Trainer")(
        model=policy_folder,
        reward_funcs=[kind(ScriptedGuard()), kind(ScriptedGuard(), "severity")],
        args=getattr(trl, f"{trainer}Config")(**settings(tmp_path)),
        train_dataset=Dataset.from_list(rows("string")),
    )
    with pytest.raises(ValueError, match="two reward functions with the name 'guard'"):
        two.train()
    assert two.state.global_step == 0


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
def test_a_column_called_self(kind, policy_folder, tmp_path):
    trainer = trl.GRPOTrainer(
        model=policy_folder,
        reward_funcs=kind(ScriptedGuard(), helpfulness=brevity),
        args=trl.GRPOConfig(**settings(tmp_path, max_steps=1)),
        train_dataset=Dataset.from_list([row | {"self": "x", "call": 1, "name": "y"} for row in rows("string")]),
    )
    trainer.train()
    assert trainer.state.global_step == 1
