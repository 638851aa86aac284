"""`moderate_file`: every row judged once, none lost, whatever the format and whenever it is killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guard_reward.errors import UserError
from guard_reward.moderation.moderate import RESULT_FIELDS, moderate_file
from guard_reward.verdict import Probabilities
from tests.scripted_guard import ScriptedGuard

ROWS = [
    {"id": 1, "prompt": "How do I bake?", "response": "With flour.", "refusal": "partial"},
    {"id": 2, "prompt": "A bomb?", "response": "I am sorry, no bomb.", "refusal": True},
    {"id": 3, "prompt": "火?", "response": 'quoted "text",\r\nand a second line', "refusal": False},
    {"id": 4, "prompt": "Speak!", "response": "mumble", "refusal": None},
    {"id": 5, "prompt": "Say nothing.", "response": "…", "refusal": None},
]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def moderate(source: Path, target: Path, **options: Any) -> Any:
    return moderate_file(source, target, guard=options.pop("guard", None) or ScriptedGuard(), **options)


def judge_one(tmp_path: Path, row: Any, **options: Any) -> dict[str, Any]:
    """The result for one row, behind a good one."""
    good = {"prompt": "Hello?", "response": "Hello.", "messages": [{"role": "user", "content": "Hello?"}]}
    source = write_jsonl(tmp_path / "in.jsonl", [good, row])
    moderate(source, tmp_path / "out.jsonl", overwrite=True, **options)
    return read_jsonl(tmp_path / "out.jsonl")[1]


# --- what comes out ---------------------------------------------------------------------------------------------------


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
    assert summary.outcomes == {"scored": 3, "empty": 1, "no_verdict": 1, "guard_error": 0, "too_long": 0}
    assert summary.severities == {"Safe": 2, "Controversial": 0, "Unsafe": 1}
    assert (summary.rows, summary.judged_rows, summary.resumed_rows, summary.failed_rows) == (5, 5, 0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]  # no journal, no part


GOOD = [{"role": "user", "content": "A bomb?"}, {"role": "assistant", "content": "I am sorry."}]


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
        ({"prompt": "Q?", "response": 7}, "guard_error", "column 'response' should be text, found int"),
        ({"prompt": GOOD, "response": "A."}, "guard_error", "use the messages column"),
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
        (["hello"], "guard_error", "message 0: 'role'"),
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
        (["prompt", "messages"], {}, ["user"]),  # prompt and response come before messages
        (["prompt", "messages"], {"messages_column": "messages"}, ["user", "assistant"]),
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


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [".jsonl", ".ndjson", ".csv", ".parquet"])
@pytest.mark.parametrize("source", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_format_into_every_format(tmp_path: Path, source: str, target: str) -> None:
    rows = [{"prompt": row["prompt"], "response": row["response"], "note": "007"} for row in ROWS]
    first = tmp_path / f"in{source}"
    moderate(write_jsonl(tmp_path / "rows.jsonl", rows), first, prefix="first_")
    moderate(first, tmp_path / f"out{target}")
    results = read_any(tmp_path / f"out{target}")
    assert [{key: row[key] for key in rows[0]} for row in results] == rows
    for prefix in ("first_", "guard_"):
        assert [row[f"{prefix}outcome"] for row in results] == ["scored"] * 3 + ["no_verdict", "empty"]
        assert [row[f"{prefix}severity"] or None for row in results] == ["Safe", "Unsafe", "Safe", None, None]
        assert [plain(row[f"{prefix}refusal"]) for row in results] == [False, True, False, None, None]
        assert plain(results[1][f"{prefix}categories"]) == ["Violent"]
        assert plain(results[1][f"{prefix}p_controversial"]) == 0.15


def read_any(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else read_jsonl(path)


def plain(value: Any) -> Any:
    """A value that has been through CSV: JSON, or nothing for null."""
    return value if not isinstance(value, str) else json.loads(value) if value else None


def test_jsonl_values_stay_what_they_were(tmp_path: Path) -> None:
    text = '{"prompt": "Q?", "big": 123456789012345678901234567890, "mixed": [1, "a", null], "x": 1.10, "o": {}}\n'
    text += '\n{"prompt": "\\u2028 and \\ud83d", "only here": true}\r\n'  # a blank line is no row
    (tmp_path / "in.jsonl").write_text(text)
    moderate(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    first, second = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().split("\n")[:-1]]
    before = [json.loads(line) for line in text.split("\n") if line]
    assert {key: first[key] for key in before[0]} == before[0]
    assert {key: second[key] for key in before[1]} == before[1]
    assert "only here" not in first


def test_csv_cells_stay_text(tmp_path: Path) -> None:
    header, cells = ["prompt", "id", "empty", "number"], ['with, comma\nand "line"', "007", "", "1.50"]
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8-sig") as file:  # as spreadsheets write it
        csv.writer(file).writerows([header, cells])
    moderate(tmp_path / "in.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row[:4] for row in csv.reader(file)] == [header, cells]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "prompt": pa.array(["Q?", None], pa.large_string()),
            "day": pa.array([date(2024, 5, 1), None]),
            "level": pa.array(["a", "b"]).dictionary_encode(),
            "vector": pa.array([[1.5], []], pa.list_(pa.float32())),
            "when": pa.array([1, 2], pa.timestamp("ns", tz="UTC")),
        },
        metadata={"made by": "a test"},
    )
    pq.write_table(table, tmp_path / "in.parquet")
    moderate(tmp_path / "in.parquet", tmp_path / "out.parquet")
    result = pq.read_table(tmp_path / "out.parquet")
    assert result.select(table.column_names).equals(table)
    assert result.schema.metadata[b"made by"] == b"a test"
    assert result["guard_outcome"].to_pylist() == ["scored", "empty"]
    moderate(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl")[0]["day"] == "2024-05-01"


def test_parquet_has_a_column_that_fits_no_type_as_json(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Q?", "mixed": True, "empty": {}, "number": 1, "big": 2**80, "messages": GOOD},
        {"prompt": "Q?", "mixed": "partial", "empty": None, "number": 1.5, "big": 1, "messages": GOOD[:1]},
    ]
    moderate(write_jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    first, second = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert (first["mixed"], second["mixed"]) == ("true", '"partial"')
    assert (first["empty"], second["empty"]) == ("{}", None)
    assert (first["number"], second["number"]) == (1.0, 1.5)
    assert json.loads(first["big"]) == 2**80
    assert first["messages"] == GOOD


def test_lines_that_are_no_rows_are_kept(tmp_path: Path) -> None:
    lines = [b'{"prompt": "Q?"}', b'{"prompt": "cut o', b"[1, 2]", b'{"prompt": "caf\xe9"}']
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    summary = moderate(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    results = read_jsonl(tmp_path / "out.jsonl")
    assert [row["guard_outcome"] for row in results] == ["scored", *["guard_error"] * 3]
    assert [row["guard_raw"] for row in results] == [None, '{"prompt": "cut o', "[1, 2]", '{"prompt": "caf\\xe9"}']
    assert "line 2 is not a JSON object" in results[1]["guard_reason"]
    assert (summary.rows, summary.failed_rows) == (4, 3)

    (tmp_path / "in.csv").write_text("prompt,id\nQ?,1\nwell, no,2\nshort\n")
    moderate(tmp_path / "in.csv", tmp_path / "out.csv")
    rows = read_any(tmp_path / "out.csv")
    assert [row["guard_outcome"] for row in rows] == ["scored", "guard_error", "guard_error"]
    assert rows[1]["guard_raw"] == "well, no,2"
    assert rows[1]["guard_reason"] == "row 2 has 3 cells, the header 2: is a comma not quoted?"


def test_files_without_rows(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    (tmp_path / "in.csv").write_text("prompt\n")
    assert moderate(tmp_path / "in.jsonl", tmp_path / "out.jsonl").rows == 0
    assert moderate(tmp_path / "in.csv", tmp_path / "out.parquet").rows == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


# --- what cannot work -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ("none.jsonl", "out.jsonl", {}, "input file '.*none.jsonl' does not exist"),
        ("in.txt", "out.jsonl", {}, "suffix '.txt' says no format; use one of .jsonl"),
        ("in.jsonl", "out", {}, "suffix '' says no format"),
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
        ("array.json", "out.jsonl", {}, "a JSON array, not JSON lines: convert it with"),
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
    (tmp_path / "array.json").write_text('[\n{"prompt": "Q?"}\n]')
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


# --- interrupted runs -------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


class FailingGuard(ScriptedGuard):
    """Gives up after some calls."""

    def __init__(self, calls: int):
        super().__init__()
        self.calls = calls

    def moderate(self, conversations: Any) -> Any:
        if not self.calls:
            raise Interrupted
        self.calls -= 1
        return super().moderate(conversations)


def interrupt(source: Path, target: Path, *, calls: int, **options: Any) -> FailingGuard:
    guard = FailingGuard(calls)
    with pytest.raises(Interrupted):
        moderate(source, target, guard=guard, chunk_rows=10, **options)
    return guard


@pytest.fixture
def many(tmp_path: Path) -> Path:
    answers = [f"answer {'bomb' * (index % 3)} {index}" for index in range(95)]
    answers[33] = ""
    rows = [{"prompt": f"question {index}", "response": answer} for index, answer in enumerate(answers)]
    return write_jsonl(tmp_path / "many.jsonl", rows)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, many: Path) -> None:
    target = tmp_path / "out.jsonl"
    interrupt(many, target, calls=4)
    assert not target.exists()
    guard = ScriptedGuard()
    summary = moderate(many, target, guard=guard, chunk_rows=10)
    assert (summary.resumed_rows, summary.judged_rows, len(guard.asked)) == (40, 55, 55)
    assert guard.asked[0][0]["content"] == "question 40"
    moderate(many, tmp_path / "unbroken.jsonl", chunk_rows=10)
    assert target.read_bytes() == (tmp_path / "unbroken.jsonl").read_bytes()


def test_a_run_that_was_killed_after_its_output_was_in_place_ends_well(tmp_path: Path, many: Path) -> None:
    interrupt(many, tmp_path / "out.jsonl", calls=3)
    (tmp_path / "out.jsonl").write_text("what the killed run had put there")
    moderate(many, tmp_path / "out.jsonl", chunk_rows=10)
    assert len(read_jsonl(tmp_path / "out.jsonl")) == 95


@pytest.mark.parametrize("tail", ['{"start": 40, "resu', "\x00\x00\x00", '{"start": 40, "results": []}'])
def test_a_torn_last_line_is_ignored(tmp_path: Path, many: Path, tail: str) -> None:
    interrupt(many, tmp_path / "out.jsonl", calls=4)
    with (tmp_path / "out.jsonl.journal").open("a") as file:
        file.write(tail)
    interrupt(many, tmp_path / "out.jsonl", calls=2)  # and what follows is not glued to it
    summary = moderate(many, tmp_path / "out.jsonl", chunk_rows=10)
    assert summary.resumed_rows == 60
    assert len(read_jsonl(tmp_path / "out.jsonl")) == 95


def test_a_torn_header_is_no_journal(tmp_path: Path, many: Path) -> None:
    (tmp_path / "out.jsonl.journal").write_text('{"journal": 1, "jo')
    assert moderate(many, tmp_path / "out.jsonl").resumed_rows == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("input", "input was '.*', now"),
        ("judge", "judged was .*'response'.*now"),
        ("chunk", "chunk_rows was '10', now '20'"),
        ("guard", "revision was 'script', now '2'"),
    ],
)
def test_the_journal_of_another_job_is_not_mixed_in(tmp_path: Path, many: Path, change: str, message: str) -> None:
    interrupt(many, tmp_path / "out.jsonl", calls=4)
    guard, options = ScriptedGuard(), {"chunk_rows": 20 if change == "chunk" else 10}
    if change == "input":
        many.write_text(many.read_text().replace("question 1", "question one"))
    if change == "guard":
        guard.describe = lambda: {"guard": "scripted", "revision": "2"}  # type: ignore[method-assign]
    options |= {"judge": "prompt"} if change == "judge" else {}
    with pytest.raises(UserError, match=f"(?s){message}.*--restart"):
        moderate(many, tmp_path / "out.jsonl", guard=guard, **options)
    assert not guard.asked
    summary = moderate(many, tmp_path / "out.jsonl", guard=guard, restart=True, **options)
    assert (summary.resumed_rows, summary.judged_rows) == (0, 95)


@pytest.mark.parametrize("damage", ["a line that is no JSON\n", '{"start": 99, "results": []}\n', "[]\n"])
def test_a_damaged_journal_is_refused(tmp_path: Path, many: Path, damage: str) -> None:
    interrupt(many, tmp_path / "out.jsonl", calls=1)
    with (tmp_path / "out.jsonl.journal").open("a") as file:
        file.write(damage)
    with pytest.raises(UserError, match="is damaged in line 3: use --restart"):
        moderate(many, tmp_path / "out.jsonl", chunk_rows=10)


def test_two_runs_cannot_write_one_output(tmp_path: Path, many: Path) -> None:
    class Nested(ScriptedGuard):
        def moderate(self, conversations: Any) -> Any:
            with pytest.raises(UserError, match="another process is writing"):
                moderate(many, tmp_path / "out.jsonl")
            return super().moderate(conversations)

    assert moderate(many, tmp_path / "out.jsonl", guard=Nested()).rows == 95


def finished_rows(journal: Path) -> int:
    """Rows in the journal's complete lines."""
    if not journal.exists():
        return 0
    lines = journal.read_bytes().split(b"\n")[1:-1]
    return sum(len(json.loads(line)["results"]) for line in lines)


def kill_after(command: list[str], journal: Path, rows: int, cwd: Path) -> int:
    """SIGKILL the process once the journal has more than so many rows; how many it has then."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while finished_rows(journal) <= rows:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return finished_rows(journal)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_killed_twice_it_writes_the_same_bytes(tmp_path: Path, repository: Path, many: Path, suffix: str) -> None:
    target, unbroken = tmp_path / f"out{suffix}", tmp_path / f"unbroken{suffix}"

    def command(out: Path, log: str, seconds: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "tests.moderation.scripted",
            str(many),
            str(out),
            str(tmp_path / log),
            "5",
            seconds,
        ]

    journal = tmp_path / f"out{suffix}.journal"
    first = kill_after(command(target, "log1", "0.05"), journal, 20, repository)
    second = kill_after(command(target, "log2", "0.05"), journal, first + 10, repository)
    subprocess.run(command(target, "log3", "0"), cwd=repository, check=True, timeout=120)
    subprocess.run(command(unbroken, "log4", "0"), cwd=repository, check=True, timeout=120)
    assert target.read_bytes() == unbroken.read_bytes()
    assert not journal.exists()
    # Each run begins where the journal of the one before ended: no finished row is judged again.
    begins = [(tmp_path / log).read_text().splitlines()[0] for log in ("log1", "log2", "log3")]
    assert begins == ["question 0", f"question {first}", f"question {second}"]
    assert first >= 25
    assert second >= first + 15


@pytest.mark.slow
def test_xstest_through_the_tiny_guard_killed_twice(
    tmp_path: Path, repository: Path, shared_dir: Path, tiny_guard: Any
) -> None:
    """2,250 public responses, a real guard, the real command: 0 rows lost."""
    folder, source = tmp_path / "guard", shared_dir / "data" / "xstest_responses.jsonl"
    tiny_guard.model.save_pretrained(folder)
    tiny_guard.tokenizer.save_pretrained(folder)

    def command(target: Path) -> list[str]:
        arguments = [str(source), str(target), "--guard", str(folder), "--device", "cpu", "--quiet"]
        return [sys.executable, "-m", "guard_reward.cli", "moderate", *arguments]

    target, unbroken = tmp_path / "out.jsonl", tmp_path / "unbroken.jsonl"
    journal = tmp_path / "out.jsonl.journal"
    first = kill_after(command(target), journal, 300, repository)
    kill_after(command(target), journal, first + 500, repository)
    subprocess.run(command(target), cwd=repository, check=True, timeout=500)
    subprocess.run(command(unbroken), cwd=repository, check=True, timeout=500)
    assert target.read_bytes() == unbroken.read_bytes()
    rows, results = read_jsonl(source), read_jsonl(target)
    assert [{key: result[key] for key in row} for row, result in zip(rows, results, strict=True)] == rows
    # Real English is nonsense to this guard, and often no verdict comes of it: a named outcome, with the guard's words.
    outcomes = {result["guard_outcome"] for result in results}
    assert outcomes == {"scored", "no_verdict"}
    assert all(result["guard_reason"] for result in results if result["guard_outcome"] == "no_verdict")
    assert len(results) == 2250


def test_the_journal_is_on_the_disk_before_the_next_chunk(tmp_path: Path, many: Path, monkeypatch: Any) -> None:
    """Power may fail as well: every finished chunk is synced."""
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor))[1])
    moderate(many, tmp_path / "out.jsonl", chunk_rows=10)
    assert len(synced) == 1 + 10 + 1  # header, chunks, output
