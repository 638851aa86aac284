"""Labelled rows: the fields of one row, and files of every format."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from guard_reward import Severity
from guard_reward.errors import UserError
from guard_reward.evaluation.grading.labelled import Refusal, Task, read_row, read_rows
from guard_reward.evaluation.grading.public_sets import read_labelled

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "No."}
S, C, U = Severity


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({"prompt": "Hi", "prompt_harm": True}, {Task.PROMPT_HARM: U}),
        ({"prompt": "Hi", "prompt_harm": "unharmful", "response": None, "refusal": ""}, {Task.PROMPT_HARM: S}),
        ({"prompt": "Hi", "response": "No.", "response_harm": "0", "refusal": "true"},
         {Task.RESPONSE_HARM: S, Task.REFUSAL: Refusal.REFUSAL}),
        ({"prompt": "Hi", "response": "No.", "refusal": "3_partial_refusal"}, {Task.REFUSAL: Refusal.PARTIAL}),
        ({"messages": [USER, ANSWER], "prompt_harm": 1, "refusal": False},
         {Task.PROMPT_HARM: U, Task.REFUSAL: Refusal.COMPLIANCE}),
        ({"message": [USER, ANSWER], "label": "controversial"}, {Task.RESPONSE_HARM: C}),
        ({"messages": json.dumps([USER]), "label": "Unsafe"}, {Task.PROMPT_HARM: U}),
        ({"prompt": [USER], "prompt_harm": float("nan")}, {}),
        ({"response": "No.", "response_harm": "harmful"}, {Task.RESPONSE_HARM: U}),
    ],
)  # fmt: skip
def test_labels(fields: dict[str, Any], labels: dict[Task, str]) -> None:
    assert read_row(fields, "row 1", 1).labels == labels


def test_what_the_guard_sees() -> None:
    row = read_row({"prompt": "Hi", "response": "No.", "prompt_harm": 1, "refusal": 1, "category": ["a", "b"]}, "", 7)
    assert row.conversation(Task.PROMPT_HARM) == [USER]
    assert row.conversation(Task.REFUSAL) == [USER, ANSWER]
    assert (row.name, row.categories) == ("7", ("a", "b"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "Hi", "prompt_harm": "perhaps"}, "line 3: prompt_harm should be true, false, Safe, Controversial"),
        ({"prompt": "Hi", "refusal": True}, "line 3: refusal labels a response, and there is none"),
        ({"prompt": "Hi", "response": "No.", "refusal": "maybe"}, "line 3: refusal should be true, false or partial"),
        ({"response": "No.", "prompt_harm": True}, "line 3: prompt_harm labels a prompt, and there is none"),
        ({"prompt_harm": True}, "line 3: there is no prompt, no response and no messages"),
        ({"messages": [], "label": "Safe"}, "line 3: messages should be a list of chat messages"),
        ({"message": [USER, ANSWER], "label": "bad"}, "line 3: label should be true, false, Safe"),
        ({"messages": [USER, ANSWER], "label": "Safe", "response_harm": 1}, "both label the last message"),
        ({"prompt": "Hi", "response": 5}, "line 3: response should be a text, found 5"),
        ({"message": [USER], "label": "Safe", "unsafe_start_index": 3}, "should be two whole numbers"),
        ({"message": [USER], "label": "Safe", "unsafe_start_index": 3, "unsafe_end_index": 1}, "is no place"),
    ],
)
def test_mistakes_name_place_and_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_row(fields, "line 3", 1)


ROWS = [
    {"prompt": "Hi", "prompt_harm": "false", "source": "a"},
    {"prompt": 'a, "quoted"\nbomb', "prompt_harm": "true", "source": ""},
]


def write(path: Path) -> Path:
    """`ROWS` in the format of the suffix."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".csv":
        path.write_text('prompt,prompt_harm,source\nHi,false,a\n"a, ""quoted""\nbomb",true,\n')
    elif path.suffix == ".json":
        path.write_text(json.dumps({"first": ROWS[:1], "second": ROWS[1:]}))
    else:
        text = "\n\n".join(map(json.dumps, ROWS)).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz", "set.json", "set.csv", "set.parquet"])
def test_every_format_reads_alike(tmp_path: Path, name: str) -> None:
    found = read_labelled(write(tmp_path / name))
    assert [(row.prompt[0]["content"], row.labels[Task.PROMPT_HARM], row.source) for row in found.rows] == [
        ("Hi", S, "a"),
        ('a, "quoted"\nbomb', U, "set"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", "{", "x.jsonl: line 1 is not JSON"),
        ("x.jsonl", "[]", "line 1 is not an object"),
        ("x.jsonl", "", "the input has no rows"),
        ("x.jsonl", '{"prompt": "Hi"}', "no row has a text and a label"),
        ("x.json", "3", "is not a list of objects"),
        ("x.csv", "a,b\n1\n", "line 2 has more or fewer cells"),
        ("x.csv", 'a,b\n"1,2\n', "is not CSV"),
        ("x.parquet", "no", "is not Parquet"),
        ("x.jsonl.gz", "no", "cannot be read"),
        ("x.txt", "no", "unknown suffix"),
    ],
)
def test_broken_files_name_what_is_broken(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_labelled(path)


def test_labels_of_empty_texts_are_counted() -> None:
    rows = [
        {"prompt": "Hi", "response": "", "prompt_harm": True, "refusal": True},
        {"prompt": "", "prompt_harm": True},
        {"prompt": "Hi", "response": None, "response_harm": True},
    ]
    found = read_rows((f"row {number}", row) for number, row in enumerate(rows))
    assert [dict(row.labels) for row in found.rows] == [{Task.PROMPT_HARM: U}]
    assert found.skipped == {"the labelled text is empty": 3}


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "Hi"}\n{"prompt": "Hi", "prompt_harm": true}\n')
    found = read_labelled(path, path)
    assert ([row.number for row in found.rows], found.skipped) == ([2, 4], {"no label": 2})
