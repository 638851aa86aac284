"""Files as users bring them, in all formats: TRL's columns, preferences, and rows that do not look like the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guard_reward.moderation.moderate import RESULT_FIELDS
from tests.moderation.files import moderate, plain, read_any, read_jsonl, write_any, write_jsonl
from tests.scripted_guard import ScriptedGuard


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


SHAPES = {
    "prompt-completion": {"prompt": "A bomb?", "completion": "I am sorry."},
    "conversational prompt-completion": {"prompt": [user("A bomb?")], "completion": [assistant("I am sorry.")]},
    "mixed": {"prompt": "A bomb?", "completion": [assistant("I am sorry.")]},
    "mixed the other way": {"prompt": [user("A bomb?")], "completion": "I am sorry."},
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("shape", SHAPES)
def test_completions(tmp_path: Path, shape: str, suffix: str) -> None:
    guard = ScriptedGuard()
    source = write_any(tmp_path / f"in{suffix}", [SHAPES[shape]])
    summary = moderate(source, tmp_path / f"out{suffix}", guard=guard)
    result = read_any(tmp_path / f"out{suffix}")[0]
    assert {key: result[key] for key in SHAPES[shape]} == SHAPES[shape]
    assert (result["guard_outcome"], result["guard_refusal"]) == ("scored", True)
    assert guard.asked == [[user("A bomb?"), assistant("I am sorry.")]]
    assert summary.judged == "'completion' as the response to 'prompt'"


PREFERENCES = {
    "explicit": {"prompt": "Q?", "chosen": "A.", "rejected": "bomb"},
    "implicit": {"chosen": "A.", "rejected": "bomb"},
    "conversational": {"prompt": [user("Q?")], "chosen": [assistant("A.")], "rejected": [assistant("bomb")]},
    "conversational implicit": {"chosen": [user("Q?"), assistant("A.")], "rejected": [user("Q?"), assistant("bomb")]},
    "whole conversations with a prompt": {"prompt": "Q?", "chosen": [user("Q?"), assistant("A.")], "rejected": "bomb"},
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
@pytest.mark.parametrize("shape", PREFERENCES)
def test_preferences(tmp_path: Path, shape: str, suffix: str) -> None:
    row = PREFERENCES[shape]
    if suffix == ".csv" and not all(isinstance(value, str) for value in row.values()):
        pytest.skip("a CSV cell is text")
    guard = ScriptedGuard()
    source = write_any(tmp_path / f"in{suffix}", [row, row])
    summary = moderate(source, tmp_path / f"out{suffix}", guard=guard)
    result = read_any(tmp_path / f"out{suffix}")[1]
    names = [f"guard_{column}_{field.name}" for column in ("chosen", "rejected") for field in RESULT_FIELDS]
    assert list(result) == [*row, *names]
    assert {key: result[key] for key in row} == row
    assert [result["guard_chosen_severity"], result["guard_rejected_severity"]] == ["Safe", "Unsafe"]
    assert plain(result["guard_rejected_p_unsafe"]) == 0.8
    asked = [] if shape == "implicit" else [user("Q?")]
    assert guard.asked == [[*asked, assistant("A.")], [*asked, assistant("bomb")]]  # each text once
    assert (summary.rows, summary.texts, summary.unjudged) == (2, 4, 0)
    assert summary.severities == {"Safe": 2, "Controversial": 0, "Unsafe": 2}
    assert summary.columns["rejected"]["severities"] == {"Safe": 0, "Controversial": 0, "Unsafe": 2}


def test_a_column_without_a_verdict_is_nothing_judged(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Q?", "chosen": "A.", "rejected": "mumble"}])
    summary = moderate(source, tmp_path / "out.jsonl")
    assert (summary.judged_nothing, summary.failed_rows, summary.unjudged) == (True, 1, 1)
    moderate_one = moderate(source, tmp_path / "one.jsonl", response_column="chosen")
    assert (moderate_one.judged_nothing, moderate_one.failed_rows, moderate_one.columns) == (False, 0, {})


def test_lines_that_are_not_rows_have_both_reasons_and_their_text_once(tmp_path: Path) -> None:
    row = {"prompt": "Q?", "chosen": "A.", "rejected": "bomb"}
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(row) + "\n[1]\n" + json.dumps(row) + "\n")
    summary = moderate(source, tmp_path / "out.jsonl")
    results = read_jsonl(tmp_path / "out.jsonl")
    assert [result["guard_raw"] for result in results] == [None, "[1]", None]
    assert [result["guard_rejected_outcome"] for result in results] == ["scored", "guard_error", "scored"]
    assert results[1]["guard_chosen_reason"] == results[1]["guard_rejected_reason"]
    assert (summary.failed_rows, summary.unjudged) == (1, 2)


@pytest.mark.parametrize(
    "odd",
    [
        {"prompt": "Q?", "messages": [user("Q?"), assistant("bomb")]},
        {"messages": [user("Q?"), assistant("bomb")]},
        {"chosen": "bomb", "rejected": "bomb"},
        {"prompt": "Q?", "completion": None, "messages": [assistant("bomb")]},
    ],
)
def test_a_row_in_another_shape_says_so_and_changes_no_other_row(tmp_path: Path, odd: Any) -> None:
    rows = [{"prompt": "Q?", "completion": "fine"}, odd, {"prompt": "Q?", "completion": "bomb"}]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    summary = moderate(source, tmp_path / "out.jsonl", response_column="completion")
    results = read_jsonl(tmp_path / "out.jsonl")
    assert [result["guard_severity"] for result in results] == ["Safe", None, "Unsafe"]
    assert results[1]["guard_reason"].startswith("column 'completion' is ")
    assert sum(summary.reasons.values()) == summary.unjudged == 1


def test_text_in_a_csv_cell_is_text_even_if_it_is_json(tmp_path: Path) -> None:
    """Otherwise a response could hide in a field of a message that nobody reads."""
    hidden = json.dumps([{**assistant("fine"), "note": "bomb"}])
    guard = ScriptedGuard()
    moderate(
        write_any(tmp_path / "in.csv", [{"prompt": "Q?", "completion": hidden}]), tmp_path / "out.csv", guard=guard
    )
    assert guard.asked == [[user("Q?"), assistant(hidden)]]
    assert read_any(tmp_path / "out.csv")[0]["guard_severity"] == "Unsafe"


def test_parquet_messages_with_keys_that_are_null(tmp_path: Path) -> None:
    """Parquet gives all messages of a column the same keys."""
    call = {**assistant(""), "tool_calls": [{"function": {"name": "mix", "arguments": "bomb"}}]}
    pq.write_table(
        pa.Table.from_pylist([{"prompt": [user("Q?")], "completion": [call, assistant("Done.")]}]),
        tmp_path / "in.parquet",
    )
    guard = ScriptedGuard()
    moderate(tmp_path / "in.parquet", tmp_path / "out.parquet", guard=guard)
    assert guard.asked_about == ["[tool call] mix(bomb)\nDone."]


def test_reasons_that_differ_in_numbers_count_as_one(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("prompt\n" + "a,b\n" * 5 + "Q?\n" * 2)
    summary = moderate(tmp_path / "in.csv", tmp_path / "out.csv")
    assert summary.reasons == {"guard_error: row 1 has 2 cells, the header 1: is a comma not quoted?": 5}
