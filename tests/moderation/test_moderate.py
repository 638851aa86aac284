"""`moderate_file`: every row judged once, none lost, and what cannot work is refused before a guard is loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guard_reward.errors import UserError
from guard_reward.moderation.moderate import RESULT_FIELDS, moderate_file
from guard_reward.verdict import Probabilities
from tests.moderation.files import GOOD, ROWS, judge_one, moderate, read_jsonl, write_jsonl
from tests.scripted_guard import ScriptedGuard


def test_keeps_every_row_and_column_and_adds_the_verdict(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    summary = moderate(source, tmp_path / "out.jsonl", chunk_rows=2)
    results = read_jsonl(tmp_path / "out.jsonl")
    assert [{key: row[key] for key in ROWS[0]} for row in results] == ROWS
    assert [list(row) for row in results] == [[*ROWS[0], *(f"guard_{field.name}" for field in RESULT_FIELDS)]] * 5
    assert results[1] == ROWS[1] | {
        "guard_outcome": "scored",
        "guard_severity": "Unsafe",
        "guard_categories": ["Violent"],
        "guard_refusal": True,
        "guard_p_safe": 0.05,
        "guard_p_controversial": 0.15,
        "guard_p_unsafe": 0.8,
        "guard_refusal_probability": 0.9,
        "guard_verdict_text": "Safety: Unsafe",
        "guard_reason": None,
    }
    assert [row["guard_outcome"] for row in results] == ["scored", "scored", "scored", "no_verdict", "empty"]
    assert summary.outcomes == {"scored": 3, "empty": 1, "no_verdict": 1, "guard_error": 0, "timeout": 0, "too_long": 0}
    assert summary.severities == {"Safe": 2, "Controversial": 0, "Unsafe": 1}
    assert (summary.rows, summary.judged_rows, summary.resumed_rows, summary.failed_rows) == (5, 5, 0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]  # no journal, no part


@pytest.mark.parametrize(
    ("row", "outcome", "reason"),
    [
        ({"prompt": "Q?", "response": "A."}, "scored", None),
        ({"prompt": "Q?", "response": ""}, "empty", "column 'response' has no letter and no digit"),
        ({"prompt": "Q?", "response": " .\n"}, "empty", "column 'response' has no letter and no digit"),
        ({"prompt": "Q?", "response": None}, "empty", "column 'response' is null"),
        ({"prompt": "Q?"}, "empty", "column 'response' is missing"),
        ({"prompt": None, "response": "A."}, "guard_error", "column 'prompt' is null"),
        ({"prompt": " ", "response": "A."}, "guard_error", "column 'prompt' is blank"),
        (
            {"prompt": "Q?", "response": 7},
            "guard_error",
            "column 'response' should be text or a list of messages, found int",
        ),
        ({"prompt": GOOD[:1], "response": GOOD[1:]}, "scored", None),
        ({"prompt": "Q?", "response": "half a \ud83d pair"}, "guard_error", "not Unicode"),
        ({"prompt": "Q?", "response": "mumble"}, "no_verdict", "the script says mumble"),
        ({"prompt": "Q?", "response": "oversize"}, "too_long", "the script says oversize"),
        ({"prompt": "Q?", "response": "endless"}, "too_long", "the worst of 3 windows"),
    ],
)
def test_a_row_that_cannot_be_judged_says_why(tmp_path: Path, row: Any, outcome: str, reason: str | None) -> None:
    result = judge_one(tmp_path, row)
    assert {key: result.get(key) for key in row} == row
    assert result["guard_outcome"] == outcome
    assert (result["guard_reason"] is None) if reason is None else (reason in result["guard_reason"])


@pytest.mark.parametrize(
    ("messages", "outcome", "reason"),
    [
        (GOOD, "scored", None),
        (json.dumps(GOOD), "scored", None),  # as CSV has to carry it
        ([{"role": "user", "content": [{"type": "text", "text": "Q?"}]}], "scored", None),
        (GOOD[:1], "scored", None),
        (None, "empty", "holds no messages"),
        ([], "empty", "holds no messages"),
        ([*GOOD[:1], {"role": "assistant", "content": None}], "empty", "the last message has no letter"),
        ("not JSON", "guard_error", "text, but not JSON"),
        (5, "guard_error", "should be a list of messages, found int"),
        ({"role": "user"}, "guard_error", "should be a list of messages, found dict"),
        (["hello"], "guard_error", "message 0: should be a mapping with 'role' and 'content', found str"),
        ([{"role": "villain", "content": "Q?"}], "guard_error", "message 0: 'role'"),
        ([{"role": "user", "content": 7}], "guard_error", "message 0: 'content'"),
    ],
)
def test_messages(tmp_path: Path, messages: Any, outcome: str, reason: str | None) -> None:
    result = judge_one(tmp_path, {"messages": messages}, messages_column="messages")
    assert result["messages"] == messages
    assert result["guard_outcome"] == outcome
    assert (result["guard_reason"] is None) if reason is None else (reason in result["guard_reason"])


@pytest.mark.parametrize(
    ("columns", "options", "roles"),
    [
        (["prompt", "response"], {}, ["user", "assistant"]),
        (["prompt"], {}, ["user"]),
        (["prompt", "response"], {"judge": "prompt"}, ["user"]),
        (["q", "a"], {"prompt_column": "q", "response_column": "a"}, ["user", "assistant"]),
        (["q", "a"], {"prompt_column": "q"}, ["user"]),
        (["messages"], {}, ["user", "assistant"]),
        (["prompt", "messages"], {"judge": "prompt"}, ["user"]),
        (["prompt", "messages"], {"messages_column": "messages"}, ["user", "assistant"]),
        (["prompt", "completion"], {}, ["user", "assistant"]),
    ],
)
def test_what_is_judged(tmp_path: Path, columns: list[str], options: dict[str, Any], roles: list[str]) -> None:
    row = {column: GOOD if column == "messages" else f"text of {column}" for column in columns}
    guard = ScriptedGuard()
    moderate(write_jsonl(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl", guard=guard, **options)
    assert [message["role"] for message in guard.asked[0]] == roles


def test_probabilities_have_six_decimals_or_are_null(tmp_path: Path) -> None:
    class Thirds(ScriptedGuard):
        def _judge(self, text: str) -> Any:
            return replace(super()._judge(text), probabilities=Probabilities(2 / 3, 1 / 3, 1e-9))

    source = write_jsonl(tmp_path / "in.jsonl", ROWS[:1])
    moderate(source, tmp_path / "thirds.jsonl", guard=Thirds())
    moderate(source, tmp_path / "none.jsonl", guard=ScriptedGuard(with_probabilities=False))
    names = ["guard_p_safe", "guard_p_controversial", "guard_p_unsafe"]
    assert [read_jsonl(tmp_path / "thirds.jsonl")[0][name] for name in names] == [0.666667, 0.333333, 0.0]
    assert [read_jsonl(tmp_path / "none.jsonl")[0][name] for name in names] == [None, None, None]


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ("none.jsonl", "out.jsonl", {}, "input file '.*none.jsonl' does not exist"),
        ("in.txt", "out.jsonl", {}, "unknown suffix '.txt'; use one of .jsonl, .csv, .parquet"),
        ("in.json", "out.jsonl", {}, "unknown suffix '.json'"),
        ("in.jsonl", "out.parquet", {}, ".jsonl input is written as .jsonl; convert the output afterwards"),
        ("in.jsonl", "out.csv", {}, ".jsonl input is written as .jsonl; convert the output afterwards"),
        ("twice.csv", "out.parquet", {}, ".csv input is written as .jsonl or .csv; convert the output afterwards"),
        ("in.jsonl", "out", {}, "unknown suffix ''"),
        ("in.jsonl", "in.jsonl", {"overwrite": True}, "both input and output"),
        ("in.jsonl", "old.jsonl", {}, "exists: use --overwrite"),
        (
            "in.jsonl",
            "out.jsonl",
            {"prompt_column": "q"},
            "no prompt column 'q'; the input has 'prompt', 'resp",
        ),
        ("in.jsonl", "out.jsonl", {"response_column": "a"}, "no response column 'a'"),
        ("in.jsonl", "out.jsonl", {"messages_column": "m"}, "no messages column 'm'"),
        ("in.jsonl", "out.jsonl", {"messages_column": "m", "prompt_column": "q"}, "not both"),
        ("in.jsonl", "out.jsonl", {"messages_column": "m", "judge": "prompt"}, "the role of the last one decides"),
        ("in.jsonl", "out.jsonl", {"response_column": "response", "judge": "prompt"}, "leave one of them out"),
        ("in.jsonl", "out.jsonl", {"prefix": "g_"}, "column 'g_severity' already: choose another --prefix"),
        ("in.jsonl", "out.jsonl", {"chunk_rows": 0}, "chunk_rows should be at least 1"),
        ("array.jsonl", "out.jsonl", {}, "a JSON array, not JSON lines: convert it with"),
        ("latin.csv", "out.jsonl", {}, "is not UTF-8"),
        ("prose.jsonl", "out.jsonl", {}, "holds no JSON lines: line 1 is not a JSON object"),
        ("empty.csv", "out.jsonl", {}, "needs a header line"),
        ("twice.csv", "out.jsonl", {}, "more than one column 'prompt'"),
        ("fake.parquet", "out.jsonl", {}, "is not Parquet"),
    ],
)
def test_what_cannot_work_is_said_before_a_guard_is_loaded(
    tmp_path: Path, source: str, target: str, options: dict[str, Any], message: str
) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Q?", "response": "A.", "g_severity": 1}])
    (tmp_path / "old.jsonl").write_text("old")
    (tmp_path / "array.jsonl").write_text('[\n{"prompt": "Q?"}\n]')
    (tmp_path / "prose.jsonl").write_text("Once upon a time\nthere was a file.")
    (tmp_path / "latin.csv").write_bytes("prompt\ncafé\n".encode("latin-1"))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "twice.csv").write_text("prompt,prompt\na,b\n")
    (tmp_path / "fake.parquet").write_text("no")

    def load() -> Any:
        raise AssertionError("the guard was loaded")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        moderate_file(tmp_path / source, tmp_path / target, guard=load, **options)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "old.jsonl").read_text() == "old"


def test_overwrite_replaces_and_folders_are_made(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    target = tmp_path / "new" / "folder" / "out.jsonl"
    moderate(source, target)
    first = target.read_bytes()
    target.write_text("old")
    moderate(source, target, overwrite=True)
    assert target.read_bytes() == first
