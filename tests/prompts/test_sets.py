"""Prompt sets: what can be read, what comes out, and what is said about what cannot."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("datasets")

from guard_reward.errors import UserError
from guard_reward.prompts import DataConfig, PromptSet, load_prompts, mix

ROWS = [{"prompt": f"Question {number}?", "harmful": number % 2 == 0} for number in range(10)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a folder of its own, with ten prompts in it."""
    monkeypatch.chdir(tmp_path)
    write("ten.jsonl", ROWS)
    return tmp_path


def write(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def args(**changes: Any) -> Any:
    return SimpleNamespace(**{"seed": 0, "eval_strategy": "no", **changes})


def texts(rows: Any) -> list[str]:
    return [prompt[-1]["content"] for prompt in rows["prompt"]]


# What comes out


def test_columns_and_messages() -> None:
    rows = mix([PromptSet("ten.jsonl", harmful="harmful")], seed=0)
    assert rows.column_names == ["prompt", "source", "harmful"]
    assert sorted(texts(rows)) == sorted(row["prompt"] for row in ROWS)
    assert all(len(prompt) == 1 and prompt[0]["role"] == "user" for prompt in rows["prompt"])
    labels = dict(zip(texts(rows), rows["harmful"], strict=True))
    assert labels == {row["prompt"]: row["harmful"] for row in ROWS}
    assert set(rows["source"]) == {"ten"}


def test_the_seed_decides_the_order() -> None:
    orders = [texts(mix([PromptSet("ten.jsonl")], seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_files(suffix: str) -> None:
    from datasets import Dataset

    rows = Dataset.from_list([{"prompt": "NA", "harmful": True}, {"prompt": 'a "quoted", one', "harmful": False}])
    name = f"set{suffix}"
    if suffix == ".parquet":
        rows.to_parquet(name)
    elif suffix in (".csv", ".tsv"):
        rows.to_csv(name, sep="\t" if suffix == ".tsv" else ",")
    else:
        rows.to_json(name)
    loaded = mix([PromptSet(name, harmful="harmful")], seed=0)
    assert dict(zip(texts(loaded), loaded["harmful"], strict=True)) == {"NA": True, 'a "quoted", one': False}


BLANKS = 10_001  # datasets reads 10,000 rows at a time, and takes a column of blanks for one of numbers
WITH_BLANKS = "vanilla\tprompt\n" + "\tQ?\n" * BLANKS + "text\tNA\n"
README = """---
configs:
- config_name: train
  data_files: [{split: train, path: train/rows.tsv}]
  sep: "\\t"
---
"""


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"folder/rows.tsv": WITH_BLANKS}, None),
        ({"folder/rows.csv": WITH_BLANKS.replace("\t", ",")}, None),
        ({"folder/README.md": README, "folder/train/rows.tsv": WITH_BLANKS}, "train"),  # as on the hub
    ],
)
def test_tables_in_a_folder_are_texts(files: dict[str, str], name: str | None) -> None:
    for file, text in files.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text)
    entry = PromptSet("folder", name=name)
    assert Counter(texts(mix([entry], seed=0))) == {"Q?": BLANKS, "NA": 1}
    assert texts(mix([PromptSet("folder", name=name, where={"vanilla": "text"})], seed=0)) == ["NA"]


def test_a_folder_and_a_split() -> None:
    write("folder/train.jsonl", ROWS[:3])
    write("folder/test.jsonl", ROWS[3:4])
    assert len(mix([PromptSet("folder")], seed=0)) == 3
    assert texts(mix([PromptSet("folder", split="test")], seed=0)) == ["Question 3?"]


def test_chat_messages_stay_what_they_are() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And now?"},
    ]
    write("chat.jsonl", [{"messages": turns}])
    assert mix([PromptSet("chat.jsonl", prompt_column="messages")], seed=0)["prompt"][0] == turns


def test_a_system_prompt_where_there_is_none() -> None:
    own = [{"role": "system", "content": "Own."}, {"role": "user", "content": "Hi"}]
    write("chat.jsonl", [{"prompt": own}, {"prompt": own[1:]}])
    prompts = mix([PromptSet("chat.jsonl", system_prompt="Ours.")], seed=0)["prompt"]
    assert sorted(prompt[0]["content"] for prompt in prompts) == ["Ours.", "Own."]


def test_a_prompt_that_ends_with_the_assistant_is_said(caplog: pytest.LogCaptureFixture) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Sure, here"}]
    write("chat.jsonl", [{"prompt": turns}, {"prompt": turns[:1]}])
    rows = mix([PromptSet("chat.jsonl")], seed=0)
    assert sorted(len(prompt) for prompt in rows["prompt"]) == [1, 2]
    assert "chat.jsonl: 1 of 2 prompts end with the assistant's turn: the policy continues that turn" in caplog.text


@pytest.mark.parametrize(
    ("fractions", "counts"),
    [
        ((None, None), (10, 4)),  # everything
        ((1, 1), (4, 4)),  # the smaller set decides: nothing occurs twice
        ((3, 1), (10, 3)),
        ((0.25, 0.75), (1, 4)),  # 4 / 0.75 = 5.3 rows in all
        ((60, 40), (6, 4)),  # any unit
    ],
)
def test_fractions(fractions: tuple[float | None, ...], counts: tuple[int, ...]) -> None:
    write("four.jsonl", [{"prompt": f"Other {number}?"} for number in range(4)])
    sets = [
        PromptSet(name, fraction=fraction)
        for name, fraction in zip(("ten.jsonl", "four.jsonl"), fractions, strict=True)
    ]
    rows = mix(sets, seed=0)
    assert Counter(rows["source"]) == dict(zip(("ten", "four"), counts, strict=True))
    assert len(set(texts(rows))) == len(rows)
    assert rows["source"] != sorted(rows["source"], reverse=True)  # mixed, not one behind the other


@pytest.mark.parametrize("fraction", [0.001, 0.04, 1e-300])
@pytest.mark.parametrize("order", [1, -1])
def test_a_set_that_would_have_no_row(fraction: float, order: int) -> None:
    sets = [PromptSet("ten.jsonl", fraction=1), PromptSet(write("few.jsonl", ROWS[:3]), fraction=fraction)][::order]
    message = (
        f"few.jsonl (few): fraction {fraction} is less than one row of a mixture of 10 rows, 10 of them from ten.jsonl "
        "(ten, fraction 1); raise the fraction, add rows to the other sets, or leave this set out"
    )
    with pytest.raises(UserError, match=re.escape(message)):
        load_prompts(DataConfig(datasets=sets), args())
    with pytest.raises(UserError, match=re.escape(message)):  # before training, not at the first evaluation
        load_prompts(DataConfig(datasets=[PromptSet("ten.jsonl")], eval_datasets=sets), args(eval_strategy="steps"))


def test_a_fraction_of_one_row() -> None:
    sets = [PromptSet("ten.jsonl", fraction=1), PromptSet(write("few.jsonl", ROWS[:3]), fraction=0.06)]
    assert Counter(mix(sets, seed=0)["source"]) == {"ten": 10, "few": 1}


def test_limit_draws_at_random() -> None:
    drawn = {tuple(sorted(texts(mix([PromptSet("ten.jsonl", limit=3)], seed)))) for seed in range(5)}
    assert all(len(rows) == 3 for rows in drawn)
    assert len(drawn) > 1
    assert len(mix([PromptSet("ten.jsonl", limit=100)], seed=0)) == 10


@pytest.mark.parametrize(
    ("where", "count"), [({"kind": "a"}, 2), ({"kind": ["a", "b"]}, 3), ({"kind": "a", "round": 1}, 1)]
)
def test_where(where: dict[str, Any], count: int) -> None:
    kinds = [("a", 1), ("a", 2), ("b", 1), ("c", 1)]
    write("kinds.jsonl", [{"prompt": f"{kind}{turn}", "kind": kind, "round": turn} for kind, turn in kinds])
    assert len(mix([PromptSet("kinds.jsonl", where=where)], seed=0)) == count


def test_rows_that_are_not_wanted_need_not_be_prompts() -> None:
    write("kinds.jsonl", [{"prompt": None, "kind": "a"}, {"prompt": "Hi", "kind": "b"}])
    assert texts(mix([PromptSet("kinds.jsonl", where={"kind": "b"})], seed=0)) == ["Hi"]


@pytest.mark.parametrize(
    "values", [(True, False), (1, 0), ("harmful", "benign"), ("adversarial_harmful", "vanilla_benign")]
)
def test_labels_in_a_column(values: tuple[Any, Any]) -> None:
    write("labels.jsonl", [{"prompt": str(index), "kind": value} for index, value in enumerate(values)])
    rows = mix([PromptSet("labels.jsonl", harmful="kind")], seed=0)
    assert dict(zip(texts(rows), rows["harmful"], strict=True)) == {"0": True, "1": False}


def test_labels_only_where_every_set_has_them(caplog: pytest.LogCaptureFixture) -> None:
    write("other.jsonl", ROWS[:2])
    rows = mix([PromptSet("ten.jsonl", harmful=True), PromptSet("other.jsonl")], seed=0)
    assert rows.column_names == ["prompt", "source"]
    assert "harmful is not known for other.jsonl" in caplog.text


def test_names_of_sources() -> None:
    sets = [PromptSet("ten.jsonl", limit=1), PromptSet("ten.jsonl", limit=1, source="again")]
    assert sorted(mix(sets, seed=0)["source"]) == ["again", "ten"]


# How it is asked for


def test_entries_are_mappings_or_paths() -> None:
    config = DataConfig(datasets=["ten.jsonl", {"path": "ten.jsonl", "harmful": True}])
    assert config.datasets == [PromptSet("ten.jsonl"), PromptSet("ten.jsonl", harmful=True)]


@pytest.mark.parametrize(
    ("given", "sets"),
    [
        (None, []),
        ("ten.jsonl", [PromptSet("ten.jsonl")]),
        (PromptSet("ten.jsonl"), [PromptSet("ten.jsonl")]),  # what the parser makes of a text in YAML
        ([{"path": "ten.jsonl", "harmful": 1}], [PromptSet("ten.jsonl", harmful=True)]),
        ([{"path": "ten.jsonl", "harmful": 0, "limit": 2.0}], [PromptSet("ten.jsonl", harmful=False, limit=2)]),
    ],
)
def test_lists_that_are_none(given: Any, sets: list[PromptSet]) -> None:
    config = DataConfig(datasets=given, eval_datasets=given)
    assert config.datasets == config.eval_datasets == sets


@pytest.mark.parametrize(("given", "harmful"), [("true", True), ("False", False), ("kind", "kind"), (None, None)])
def test_the_short_form_takes_the_place_of_the_list(given: str | None, harmful: Any) -> None:
    config = DataConfig(
        datasets=["old.jsonl"], dataset_name="new", dataset_config="main", prompt_column="text", harmful=given
    )
    assert config.datasets == [PromptSet("new", name="main", prompt_column="text", harmful=harmful)]


@pytest.mark.parametrize(("eval_strategy", "evaluates"), [("no", False), ("steps", True), ("epoch", True)])
def test_evaluation_prompts_where_the_run_evaluates(eval_strategy: str, evaluates: bool) -> None:
    config = DataConfig(datasets=["ten.jsonl"], eval_datasets=[{"path": "ten.jsonl", "limit": 2}])
    train, evaluation = load_prompts(config, args(eval_strategy=eval_strategy))
    assert len(train) == 10
    assert (evaluation is not None) is evaluates
    assert evaluation is None or len(evaluation) == 2


@pytest.mark.parametrize(
    ("train", "evaluation", "known"), [(True, False, True), (True, None, False), (None, True, False)]
)
def test_labels_in_training_and_evaluation_or_in_neither(train: Any, evaluation: Any, known: bool) -> None:
    """The reward looks for the column in both."""
    config = DataConfig(
        datasets=[{"path": "ten.jsonl", "harmful": train}], eval_datasets=[{"path": "ten.jsonl", "harmful": evaluation}]
    )
    for rows in load_prompts(config, args(eval_strategy="steps")):
        assert ("harmful" in rows.column_names) is known


# What is said about what cannot be


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "datasets: name at least one prompt set"),
        (
            {"datasets": ["ten.jsonl"], "prompt_column": "text"},
            "prompt_column: only with dataset_name; in datasets",
        ),
        ({"datasets": ["ten.jsonl"], "harmful": "true"}, "harmful: only with dataset_name"),
        ({"datasets": [{"name": "x"}]}, "datasets: each entry needs a path, found {'name': 'x'}"),
        ({"datasets": None}, "datasets: name at least one prompt set"),
        ({"datasets": {"path": "ten.jsonl"}}, "datasets: should be a list, found a mapping; begin each prompt set"),
        ({"eval_datasets": {"path": "ten.jsonl"}}, "eval_datasets: should be a list, found a mapping"),
        ({"datasets": 3}, "datasets: should be a list of prompt sets, found 3"),
        ({"datasets": [{"path": None}]}, "datasets: each entry needs a path, found {'path': None}"),
        ({"datasets": [{"path": "ten.jsonl", 3: 4}]}, "ten.jsonl has no option 3; there are path"),
        ({"datasets": [{"path": "ten.jsonl", "limit": 1.5}]}, "limit should be a whole number of rows, found 1.5"),
        ({"datasets": [{"path": "ten.jsonl", "limit": True}]}, "limit should be above 0, found True"),
        ({"datasets": [{"path": "ten.jsonl", "fraction": float("nan")}]}, "fraction should be above 0, found nan"),
        ({"datasets": [{"path": "ten.jsonl", "harmful": 2}]}, "harmful should be true, false or the name of a column"),
        ({"datasets": [{"path": "ten.jsonl", "split": None}]}, "split should be a text such as train, found None"),
        ({"datasets": [{"path": "ten.jsonl", "prompt_column": 1}]}, "prompt_column should be a text such as prompt"),
        ({"datasets": [{"path": "ten.jsonl", "system_prompt": 1}]}, "system_prompt should be a text, or left out"),
        ({"datasets": [{"path": "ten.jsonl", "where": "a"}]}, "where should be a mapping, column: value, found 'a'"),
        ({"datasets": [3]}, "datasets: each entry needs a path, found 3"),
        ({"datasets": [{"path": "ten.jsonl", "weight": 2}]}, "ten.jsonl has no option weight; there are path, name"),
        ({"eval_datasets": [{"path": "a", "weight": 2}]}, "eval_datasets: a has no option weight"),
        ({"datasets": [{"path": "ten.jsonl", "fraction": 0}]}, "ten.jsonl: fraction should be above 0, found 0"),
        ({"datasets": [{"path": "ten.jsonl", "limit": "few"}]}, "ten.jsonl: limit should be above 0, found 'few'"),
        ({"datasets": ["none.jsonl"]}, "the file 'none.jsonl' does not exist"),
        ({"datasets": ["./none"]}, "'./none' does not exist"),
        ({"datasets": ["notes.txt"]}, "notes.txt: unknown suffix; use one of .jsonl, .json"),
        ({"datasets": ["no/such-dataset"]}, "datasets: no/such-dataset could not be loaded: "),
        ({"datasets": ["broken.jsonl"]}, "datasets: broken.jsonl could not be loaded: "),
        ({"datasets": [{"path": "ten.jsonl", "split": "test"}]}, "datasets: ten.jsonl could not be loaded: "),
        ({"datasets": ["empty.jsonl"]}, "datasets: empty.jsonl has no rows"),
        (
            {"datasets": [{"path": "ten.jsonl", "prompt_column": "text"}]},
            "ten.jsonl has no column 'text' (prompt_column); it has prompt, harmful",
        ),
        ({"datasets": [{"path": "ten.jsonl", "harmful": "label"}]}, "has no column 'label' (harmful); it has prompt"),
        ({"datasets": [{"path": "ten.jsonl", "where": {"kind": 1}}]}, "has no column 'kind' (where); it has prompt"),
        ({"datasets": [{"path": "ten.jsonl", "where": {"prompt": "x"}}]}, "has no rows where {'prompt': 'x'}"),
        (
            {"datasets": [{"path": "ten.jsonl", "fraction": 1}, "ten.jsonl"]},
            "give every prompt set a fraction, or none",
        ),
    ],
)
def test_mistakes_in_the_config(config: dict[str, Any], message: str) -> None:
    Path("notes.txt").write_text("hello")
    Path("broken.jsonl").write_text("{no json")
    Path("empty.jsonl").write_text("")
    with pytest.raises(UserError) as error:
        load_prompts(DataConfig(**config), args())
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_evaluation_without_prompts() -> None:
    with pytest.raises(UserError, match="eval_datasets: eval_strategy asks for evaluation"):
        load_prompts(DataConfig(datasets=["ten.jsonl"]), args(eval_strategy="steps"))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": None}, "row 1 (the first is 0), column 'prompt': should be a text or chat messages, found None"),
        ({"prompt": "  "}, "row 1 (the first is 0), column 'prompt': a message needs a text as its content"),
    ],
)
def test_rows_that_are_no_prompts(bad: dict[str, Any], message: str) -> None:
    write("bad.jsonl", [{"prompt": "Hi"}, bad])
    with pytest.raises(UserError) as error:
        mix([PromptSet("bad.jsonl")], seed=0)
    assert f"datasets: bad.jsonl, {message}" in str(error.value)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "should be a text or chat messages, found []"),
        ([{"role": "robot", "content": "Hi"}], "a message needs a role (system, user, assistant, tool)"),
        ([{"role": "user", "content": None}], "a message needs a text as its content"),
        ([{"role": "user", "content": ""}], "a message needs a text as its content"),
    ],
)
def test_messages_that_are_none(messages: list[dict[str, Any]], message: str) -> None:
    write("bad.jsonl", [{"prompt": [{"role": "user", "content": "Hi"}]}, {"prompt": messages}])
    with pytest.raises(UserError) as error:
        mix([PromptSet("bad.jsonl")], seed=0)
    assert f"row 1 (the first is 0), column 'prompt': {message}" in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"), [("maybe", "column 'kind' should hold bools, or words"), (None, "column 'kind' is empty")]
)
def test_values_that_are_no_labels(value: Any, message: str) -> None:
    write("labels.jsonl", [{"prompt": "a", "kind": "harmful"}, {"prompt": "b", "kind": value}])
    with pytest.raises(UserError) as error:
        mix([PromptSet("labels.jsonl", harmful="kind")], seed=0)
    assert "datasets: labels.jsonl, row 1 (the first is 0): " in str(error.value)
    assert message in str(error.value)


def test_the_old_name_of_fraction_works_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="share is now called fraction"):
        [entry] = DataConfig(datasets=[{"path": "ten.jsonl", "share": 0.5}]).datasets
    assert entry == PromptSet("ten.jsonl", fraction=0.5)
