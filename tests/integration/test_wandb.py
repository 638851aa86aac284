"""wandb: the metrics and the rollouts table of a real run, read back key by key from an offline wandb run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

trl = pytest.importorskip("trl")
wandb = pytest.importorskip("wandb")

import pandas  # noqa: E402
from datasets import Dataset  # noqa: E402

from guard_reward import GuardReward, load_guard  # noqa: E402
from tests.integration.conftest import rows, settings  # noqa: E402
from tests.integration.dashboards import history  # noqa: E402

COLUMNS = {
    *(f"guard_{name}" for name in ("severity", "categories", "refusal", "p_unsafe")),
    *(f"guard_{name}" for name in ("outcome", "reason", "truncated", "injection_attempts")),
}


@pytest.fixture(scope="module")
def run(guard_folder, policy_folder, tmp_path_factory):
    """Two steps and an evaluation of GRPO with ``report_to: wandb``; what the trainer knows and what wandb kept."""
    folder = tmp_path_factory.mktemp("wandb-run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(folder))
        patch.setenv("WANDB_SILENT", "true")
        trainer = trl.GRPOTrainer(
            model=policy_folder,
            reward_funcs=GuardReward(load_guard(guard_folder), prompt_label_column="kind"),
            args=trl.GRPOConfig(
                **settings(folder / "out", report_to="wandb", log_completions=True, eval_strategy="steps", eval_steps=2)
            ),
            train_dataset=Dataset.from_list(rows("conversational")),
            eval_dataset=Dataset.from_list(rows("conversational")),
        )
        trainer.train()
        kept = Path(wandb.run.dir)
        wandb.finish()
    (file,) = kept.parent.glob("*.wandb")
    return SimpleNamespace(logs=trainer.state.log_history, wandb=history(file), media=kept, out=folder / "out")


def steps_of(run, prefix):
    """The trainer's logs of training or evaluation, each with the wandb rows of its global step, as one."""
    marker = "eval_guard/seconds" if prefix == "eval" else "guard/seconds"
    for log in run.logs:
        if marker in log:
            kept: dict = {}
            for row in run.wandb:
                if row.get("train/global_step") == log["step"]:
                    kept |= row
            yield log, kept


@pytest.mark.parametrize(("prefix", "count"), [("train", 2), ("eval", 1)])
def test_every_guard_metric_of_the_trainer_is_in_wandb_with_its_value(run, prefix, count):
    compared = list(steps_of(run, prefix))
    assert len(compared) == count
    for log, kept in compared:
        names = [name for name in log if "guard/" in name]
        assert len(names) > 20
        for name in names:
            # transformers' callback: train/… for what does not begin with eval_
            key = f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"
            assert kept[key] == pytest.approx(log[name]), key


def test_wandb_has_no_guard_metric_that_the_trainer_does_not_know(run):
    known = {name.removeprefix("eval_") for log in run.logs for name in log}
    kept = {key.split("/", 1)[1] for row in run.wandb for key in row if key.startswith(("train/", "eval/"))}
    assert {key for key in kept if key.startswith("guard/")} <= known


def tables(run) -> list[dict]:
    """The rollouts tables, in the order in which they were logged."""
    entries = [
        {key.removeprefix("completions/"): value for key, value in row.items() if key.startswith("completions/")}
        for row in run.wandb
        if "completions/_type" in row
    ]
    assert {entry["_type"] for entry in entries} == {"table-file"}
    found = [json.loads((run.media / entry["path"]).read_text()) for entry in entries]
    assert [len(table["data"]) for table in found] == [entry["nrows"] for entry in entries]
    return found


def test_a_table_with_all_rows_for_every_log(run):
    found = tables(run)
    assert len(found) == len(run.logs) == 4  # two steps, the evaluation, the summary
    assert [len(table["data"]) for table in found] == [4] * 4


# The last table replaced the file of its step, which is the second step's too.
@pytest.mark.parametrize(("index", "step"), [(0, 1), (-1, 2)])
def test_the_rollouts_table_is_in_wandb_column_by_column(run, index, step):
    table = tables(run)[index]
    expected = pandas.read_parquet(run.out / "completions" / f"completions_{step:05d}.parquet")
    assert table["columns"] == list(expected.columns)
    assert set(table["columns"]) >= COLUMNS
    assert len(table["data"]) == len(expected)
    for position, column in enumerate(table["columns"]):
        for row, wanted in zip(table["data"], expected[column], strict=True):
            assert same(row[position], wanted), column


def same(kept, wanted) -> bool:
    if isinstance(kept, list):  # the messages of a conversational row
        return kept == list(wanted)
    return (kept is None and pandas.isna(wanted)) or kept == pytest.approx(wanted)
