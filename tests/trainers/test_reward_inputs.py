"""What is wrong with datasets and reward functions is said when the trainer is made."""

from __future__ import annotations

import pytest

pytest.importorskip("trl")

from datasets import Dataset, IterableDataset

from guard_reward.trainers import PPOConfig, PPOTrainer
from guard_reward.trainers.reward_inputs import check_columns
from tests.integration.conftest import rows, settings
from tests.trainers.conftest import brevity, count_of_letter

PLAIN = Dataset.from_list(rows("string"))


@pytest.mark.parametrize("column", ["prompts", "completions"])
@pytest.mark.parametrize("which", ["train_dataset", "eval_dataset", "one of several eval datasets"])
def test_a_column_that_trl_cannot_pass_on_is_named(policy_folder, tmp_path, column, which):
    taken = PLAIN.add_column(column, ["x"] * len(PLAIN))
    train = taken if which == "train_dataset" else PLAIN
    evaluation = {"train_dataset": PLAIN, "eval_dataset": taken}.get(which, {"plain": PLAIN, "taken": taken})
    with pytest.raises(ValueError, match=f"the dataset has a column '{column}'.*rename the column"):
        PPOTrainer(policy_folder, brevity, PPOConfig(**settings(tmp_path)), train, evaluation)


def test_datasets_without_known_columns_are_not_refused():
    check_columns(IterableDataset.from_generator(lambda: iter(rows("string"))))
    check_columns(None)


def test_two_reward_functions_with_one_name_are_refused(make_trainer):
    with pytest.raises(ValueError, match=r"2 reward functions have the name 'brevity'.*name=\.\.\."):
        make_trainer(reward_funcs=[brevity, count_of_letter, brevity])
