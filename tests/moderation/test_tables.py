"""Formats: rows come out as they went in, and lines that are not rows are kept."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guard_reward.errors import UserError
from guard_reward.moderation.tables import open_table
from tests.moderation.files import ROWS, moderate, plain, read_any, read_jsonl, write_any


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (".jsonl", ".jsonl"),
        (".csv", ".csv"),
        (".parquet", ".parquet"),
        (".csv", ".jsonl"),
        (".parquet", ".jsonl"),
        (".JSONL", ".jsonl"),
    ],
)
def test_every_format_into_itself_and_into_json_lines(tmp_path: Path, source: str, target: str) -> None:
    rows = [{"prompt": row["prompt"], "response": row["response"], "note": "007"} for row in ROWS]
    moderate(write_any(tmp_path / f"in{source}", rows), tmp_path / f"first{target}", prefix="first_")
    moderate(tmp_path / f"first{target}", tmp_path / f"out{target}")
    results = read_any(tmp_path / f"out{target}")
    assert [{key: row[key] for key in rows[0]} for row in results] == rows
    for prefix in ("first_", "guard_"):
        assert [row[f"{prefix}outcome"] for row in results] == ["scored"] * 3 + ["no_verdict", "empty"]
        assert [row[f"{prefix}severity"] or None for row in results] == ["Safe", "Unsafe", "Safe", None, None]
        assert [plain(row[f"{prefix}refusal"]) for row in results] == [False, True, False, None, None]
        assert plain(results[1][f"{prefix}categories"]) == ["Violent"]
        assert plain(results[1][f"{prefix}p_controversial"]) == 0.15


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


@pytest.mark.parametrize("target", [".csv", ".jsonl"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        # one column: as the csv module reads them, and pandas with skip_blank_lines=False
        (["prompt", "hello", "", "bomb", ""], ["hello", "", "bomb"]),
        (["prompt", "hello", '""', "bomb", ""], ["hello", "", "bomb"]),
        (["prompt", "", "hello", ""], ["", "hello"]),
        (["prompt", "hello", "", "", ""], ["hello", "", ""]),  # also at the end: two cells are empty
        (["prompt", "hello"], ["hello"]),
        (["prompt", "", ""], [""]),
        (["", "prompt", "hello", ""], ["hello"]),  # what stands before the header is no row
        # several columns: as both read them
        (["prompt,id", "hello,1", "", "bomb,2", "", ""], ["hello", "bomb"]),
        (["prompt,id", "hello,1", ",", "bomb,2"], ["hello", "", "bomb"]),
    ],
)
def test_blank_lines_of_csv(tmp_path: Path, lines: list[str], rows: list[str], ending: str, target: str) -> None:
    (tmp_path / "in.csv").write_bytes(ending.join(lines).encode())
    assert moderate(tmp_path / "in.csv", tmp_path / f"out{target}").rows == len(rows)
    assert [row["prompt"] for row in read_any(tmp_path / f"out{target}")] == rows
    outcomes = [row["guard_outcome"] for row in read_any(tmp_path / f"out{target}")]
    assert outcomes == ["scored" if row else "empty" for row in rows]


def test_a_blank_row_counts_in_the_numbers_of_rows(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("prompt\nhello\n\none,two\n")
    *_, faulty = open_table(tmp_path / "in.csv").rows()
    assert faulty.fault == "row 3 has 2 cells, the header 1: is a comma not quoted?"


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


NAMES = pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.list_(NAMES), [["a", "b"], ["b"]]),
        (pa.struct([("a", NAMES)]), [{"a": "x"}, {"a": "y"}]),
        (pa.map_(pa.string(), NAMES), [[("k", "v")], [("k", "w")]]),
    ],
)
def test_dictionaries_within_lists_in_several_row_groups(tmp_path: Path, kind: pa.DataType, values: list[Any]) -> None:
    table = pa.table({"prompt": ["Q?", "R?"], "nested": pa.array(values, kind)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=1)
    moderate(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").select(["prompt", "nested"]).equals(table)


def test_a_page_that_is_not_what_its_checksum_says(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"prompt": ["How?", "Why?"]}), path, compression="none", write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"How?", b"Now?", 1))
    with pytest.raises(UserError, match=r"cannot be read and written again: .*checksum"):
        moderate(path, tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("said", "message"), [(3, "says 3 rows, and there are only 2"), (1, "says 1 rows, and there are more")]
)
def test_a_footer_that_says_another_number_of_rows(tmp_path: Path, said: int, message: str) -> None:
    pq.write_table(pa.table({"prompt": ["Q?", "R?"]}), tmp_path / "in.parquet")
    table = open_table(tmp_path / "in.parquet")
    table.row_count = said
    with pytest.raises(ValueError, match=message):
        list(table.rows())


def test_lines_that_are_not_rows_are_kept(tmp_path: Path) -> None:
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
    assert moderate(tmp_path / "in.csv", tmp_path / "out.csv").rows == 0
    assert read_any(tmp_path / "out.csv") == []
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "in.parquet")
    assert moderate(tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
