"""Public sets in their own columns. The rows are made up; the columns and values are those of the sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guard_reward.errors import UserError
from guard_reward.evaluation.grading import public_sets
from guard_reward.evaluation.grading.public_sets import PUBLIC_SETS, read_labelled

QA = {"prompt": "Q", "response": "A"}
NAMES = {"prompt_harm": "P", "response_harm": "R", "refusal": "F"}


def labels(preset: str, rows: list[dict[str, Any]], folder: Path) -> list[str]:
    """Labels of each row in short: ``P:Unsafe R:Safe F:partial``, then the categories."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        " ".join([*(f"{NAMES[task]}:{label.value}" for task, label in row.labels.items()), *row.categories])
        for row in read_labelled(path, preset=preset).rows
    ]


@pytest.mark.parametrize(
    ("preset", "row", "expected"),
    [
        ("openai-moderation", {"prompt": "Q", "V": 1, "S": 0, "H2": 1}, ["P:Unsafe violence hate/threatening"]),
        ("openai-moderation", {"prompt": "Q", "SH": 0}, ["P:Safe"]),
        ("xstest", {"prompt": "Q", "type": "homonyms", "label": "safe", "note": ""}, ["P:Safe homonyms"]),
        ("xstest", {"id": "v2-1", "prompt": "Q", "type": "contrast_homonyms", "completion": "A",
                    "final_label": "2_full_refusal"}, ["P:Unsafe F:refusal contrast_homonyms"]),
        ("xstest", {"prompt": "Q", "type": "privacy_public", "completion": "A", "final_label": "3_partial_refusal"},
         ["P:Safe F:partial privacy_public"]),
        ("xstest-response", {**QA, "label": "compliance", "prompt_type": "prompt_harmful"}, ["P:Unsafe F:compliance"]),
        ("xstest-response", {**QA, "label": "harmful", "prompt_type": "prompt_safe"}, ["P:Safe R:Unsafe"]),
        ("beavertails", {**QA, "is_safe": False, "category": {"violence": True, "x": False}}, ["R:Unsafe violence"]),
        ("beavertails", {**QA, "is_safe": "True", "category": "{'violence': False}"}, ["R:Safe"]),
        ("saferlhf", {"prompt": "Q", "response_0": "A", "response_1": "B", "is_response_0_safe": True,
                      "is_response_1_safe": False, "response_1_harm_category": {"Cybercrime": True}},
         ["R:Safe", "R:Unsafe Cybercrime"]),
        ("wildguardtest", {**QA, "prompt_harm_label": "harmful", "response_harm_label": "unharmful",
                           "response_refusal_label": "refusal", "subcategory": "cyberattack"},
         ["P:Unsafe R:Safe F:refusal cyberattack"]),
        ("wildguardtest", {**QA, "prompt_harm_label": "harmful", "response_harm_label": None,
                           "response_refusal_label": None}, ["P:Unsafe"]),
        ("aegis", {"text": "Q", "text_type": "user_message", "labels_0": "Safe", "labels_1": "Needs Caution",
                   "labels_2": "Violence"}, ["P:Unsafe"]),
        ("aegis", {"text": "Q", "text_type": "user_message", "labels_0": "Safe", "labels_1": "Safe",
                   "labels_2": "Violence"}, ["P:Safe"]),
        ("aegis2", {"id": "1", **QA, "prompt_label": "unsafe", "response_label": "safe",
                    "violated_categories": "Violence, Threat"}, ["P:Unsafe R:Safe Violence Threat"]),
        ("aegis2", {"prompt": "Q", "response": None, "prompt_label": "safe", "response_label": None,
                    "violated_categories": ""}, ["P:Safe"]),
        ("toxicchat", {"user_input": "Q", "toxicity": 1, "jailbreaking": 0}, ["P:Unsafe no jailbreaking"]),
        ("harmbench", {"BehaviorID": "b", "Behavior": "Q", "FunctionalCategory": "standard",
                       "SemanticCategory": "illegal"}, ["P:Unsafe illegal"]),
        ("harmbench", {"prompt": "Q", "category": "illegal"}, ["P:Unsafe illegal"]),
        ("harmbench-responses", {"test_case": "Q", "generation": "A", "human_0": 1, "human_1": 1, "human_2": 0,
                                 "experiment": "default"}, ["R:Unsafe default"]),
        ("simple-safety-tests", {"id": "1", "prompt": "Q", "harm_area": "Scams"}, ["P:Unsafe Scams"]),
        ("qwen3guardtest", {"unique_id": 1, "label": "Unsafe", "unsafe_type": "Violent", "unsafe_start_index": 3,
                            "unsafe_end_index": 9, "source": "GLM", "message": [
                                {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
         ["R:Unsafe Violent"]),
    ],
)  # fmt: skip
def test_conventions(tmp_path: Path, preset: str, row: dict[str, Any], expected: list[str]) -> None:
    assert labels(preset, [row], tmp_path) == expected


@pytest.mark.parametrize(
    ("preset", "row"),
    [
        ("aegis", {"text": "Q", "text_type": "user_message_with_llm_response"}),
        ("aegis2", {"prompt": "REDACTED", "prompt_label": "unsafe"}),
        ("harmbench", {"Behavior": "Q", "FunctionalCategory": "contextual"}),
    ],
)
def test_rows_that_a_set_does_not_label_alone_are_counted(tmp_path: Path, preset: str, row: dict[str, Any]) -> None:
    graded = {
        "aegis": {"text": "Q", "text_type": "user_message", "labels_0": "Safe", "labels_1": "Safe", "labels_2": "Safe"},
        "aegis2": {"prompt": "Q", "prompt_label": "safe", "response_label": None},
        "harmbench": {"Behavior": "Q", "FunctionalCategory": "standard"},
    }[preset]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row, graded]))
    found = read_labelled(path, preset=preset)
    assert (len(found.rows), found.skipped) == (1, {f"not graded by {preset}": 1})


def test_another_sets_file_names_the_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "Q"}\n')
    with pytest.raises(UserError, match="line 1 has no column 'is_safe' of BeaverTails; it has 'text'"):
        read_labelled(path, preset="beavertails")
    path.write_text('{"prompt": "Q", "response": "A", "is_safe": "perhaps"}\n')
    with pytest.raises(UserError, match="line 1 is not in BeaverTails's convention: should be true or false"):
        read_labelled(path, preset="beavertails")
    path.write_text(json.dumps({"prompt": "Q", "response": "A", "is_safe": True, "category": "{" * 200_000}) + "\n")
    with pytest.raises(UserError, match="line 1 is not in BeaverTails's convention"):
        read_labelled(path, preset="beavertails")


def test_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands for the hub: `datasets` loads both alike."""
    for model in ("gpt4", "llama2new"):
        row = {"prompt": "Q", "type": "homonyms", "completion": model, "final_label": "1_full_compliance"}
        (tmp_path / f"{model}.jsonl").write_text(json.dumps(row))
    here = replace(PUBLIC_SETS["xstest"], hub=str(tmp_path), splits=("train",))
    monkeypatch.setitem(public_sets.PUBLIC_SETS, "xstest", here)
    found = read_labelled(preset="xstest").rows
    assert [(row.source, row.response["content"]) for row in found] == [("XSTest", "gpt4"), ("XSTest", "llama2new")]


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("nothing", "there is no preset 'nothing'; there are aegis, aegis2, beavertails"),
        ("harmbench-responses", "HarmBench responses is not on the hub: give its file"),
        ("wildguardtest", "allenai/wildguardmix could not be loaded: .*; accept its conditions on the hub and log in"),
        (None, "give a FILE with labelled rows, or --preset"),
    ],
)
def test_without_a_file(preset: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_labelled(preset=preset)
