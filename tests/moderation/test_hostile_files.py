"""Hostile files: a row has a named outcome, or the file is refused before the guard is asked.

Each is tried twice, because a second try must not end otherwise than the first.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guard_reward import Outcome, Unjudged, Verdict
from guard_reward.moderation.tables.arrow_values import TimeValue, python_values
from tests.moderation.files import judged, moderate, read_any, read_jsonl, refused_unloaded, write_any, write_jsonl
from tests.scripted_guard import ScriptedGuard

HEADER = "id,prompt\n"
ROWS_BEHIND = "".join(f"{number},a bomb {number}\n" for number in range(2, 6))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        f'{HEADER}1,"never closed\n{ROWS_BEHIND}',
        f'{HEADER}"1,never closed\n{ROWS_BEHIND}',
        f'{HEADER}1,"closed" in the middle\n{ROWS_BEHIND}',
        f'{HEADER}1,"a quote "not" doubled"\n{ROWS_BEHIND}',
        f'{HEADER}1,fine\n{ROWS_BEHIND}6,"',
        f'{HEADER}1,"ends with a doubled one""\n{ROWS_BEHIND}',
        f'id,"prompt\n1,fine\n{ROWS_BEHIND}',
        f'{HEADER}1,"one\n{ROWS_BEHIND}6,"two\n',  # two of them: the second one closes the first one's cell
    ],
)
def test_a_quote_that_is_not_closed(tmp_path: Path, text: str, suffix: str) -> None:
    (tmp_path / "in.csv").write_text(text)
    message = r"in\.csv' is not CSV \(.+, in the row that begins in line \d\): is a quote not closed or not doubled\?"
    refused_unloaded(tmp_path / "in.csv", tmp_path / f"out{suffix}", message)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_quotes_that_are_closed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in.csv").write_text(f'{HEADER}1,"a ""quote"", and\na line"\n2,6" of rain\n')
    rows, asked = judged(tmp_path / "in.csv", tmp_path / f"out{suffix}")
    assert asked == [row["prompt"] for row in rows] == ['a "quote", and\na line', '6" of rain']


HALF = "x\ud800y"


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"prompt": HALF}, "guard_error"),
        ({"prompt": "Q?", "response": HALF}, "guard_error"),
        ({"prompt": HALF, "response": "A."}, "guard_error"),
        ({"prompt": [{"role": "user", "content": HALF}]}, "guard_error"),
        ({"prompt": "hi 😀"}, "scored"),  # which is written as two halves
        ({"prompt": "Q?", "note": HALF}, "scored"),
        ({"prompt": "Q?", "note": {"deep": [[HALF], {"deeper": "\udfff"}]}}, "scored"),
        ({"prompt": "Q?", "note": {HALF: 1}}, "scored"),
        ({"prompt": "Q?", HALF: 1}, "scored"),
        ({"prompt": [{"role": "user", "content": "Q?", "name": HALF}]}, "guard_error"),
    ],
)
def test_half_a_surrogate_pair_in_json_lines(tmp_path: Path, row: dict[str, Any], outcome: str) -> None:
    others = [{"prompt": "first", "response": "first"}, {"prompt": "a bomb", "response": "a bomb"}]
    if "response" not in row:
        others = [{"prompt": other["prompt"]} for other in others]
    source = write_jsonl(tmp_path / "in.jsonl", [others[0], row, others[1]])
    rows, asked = judged(source, tmp_path / "out.jsonl")
    assert [result["guard_outcome"] for result in rows] == ["scored", outcome, "scored"]
    assert {key: rows[1][key] for key in row} == row
    assert list(rows[1])[: len(row)] == list(row)
    assert len(asked) == 2 + (outcome == "scored")
    assert rows[1]["guard_reason"] == (
        None if outcome == "scored" else "the text is not Unicode: surrogates not allowed"
    )
    (tmp_path / "out.jsonl").read_bytes().decode()  # the file itself is UTF-8
    for suffix in (".csv", ".parquet"):
        refused_unloaded(source, tmp_path / f"out2{suffix}", r"\.jsonl input is written as \.jsonl")


@pytest.mark.parametrize(
    ("source", "target"), [(".csv", ".csv"), (".csv", ".jsonl"), (".parquet", ".parquet"), (".parquet", ".jsonl")]
)
def test_half_a_surrogate_pair_in_json_within_a_cell(tmp_path: Path, source: str, target: str) -> None:
    """The other formats hold text in UTF-8, but JSON within it may have such an escape."""
    cells = [json.dumps([{"role": "user", "content": text}]) for text in ("first", HALF, "a bomb")]
    if source == ".parquet":
        pq.write_table(pa.table({"messages": cells}), tmp_path / "in.parquet")
    else:
        (tmp_path / "in.csv").write_text(
            "messages\n" + "".join(f'"{cell.replace(chr(34), chr(34) * 2)}"\n' for cell in cells)
        )
    rows, asked = judged(tmp_path / f"in{source}", tmp_path / f"out{target}")
    assert [row["guard_outcome"] for row in rows] == ["scored", "guard_error", "scored"]
    assert [row["messages"] for row in rows] == cells
    assert asked == ["first", "a bomb"]


class HalfSpeakingGuard(ScriptedGuard):
    """What it says has half a surrogate pair."""

    def _judge(self, text: str) -> Verdict | Unjudged:
        if text == "mumble":
            return Unjudged(Outcome.NO_VERDICT, text=HALF, reason=HALF)
        return replace(super()._judge(text), text=HALF, categories=(HALF,))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_half_a_surrogate_pair_in_what_the_guard_says(tmp_path: Path, suffix: str) -> None:
    source = write_any(tmp_path / f"in{suffix}", [{"prompt": "a bomb"}, {"prompt": "mumble"}])
    moderate(source, tmp_path / f"out{suffix}", guard=HalfSpeakingGuard())
    first, second = read_any(tmp_path / f"out{suffix}")
    shown = HALF if suffix == ".jsonl" else "x\\ud800y"
    assert (first["guard_severity"], first["guard_verdict_text"]) == ("Unsafe", shown)
    categories = json.loads(first["guard_categories"]) if suffix == ".csv" else first["guard_categories"]
    assert categories == [shown if suffix == ".parquet" else HALF]
    assert (second["guard_verdict_text"], second["guard_reason"]) == (shown, shown)


def test_half_a_surrogate_pair_in_the_name_of_a_judged_column(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Q?", HALF: "a bomb", "other": "A."}])
    rows, asked = judged(source, tmp_path / "out.jsonl", response_column=[HALF, "other"])
    assert asked == ["a bomb", "A."]
    assert (rows[0][f"guard_{HALF}_severity"], rows[0]["guard_other_severity"]) == ("Unsafe", "Safe")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_text_in_which_half_a_pair_is_written_in_bytes(tmp_path: Path, suffix: str) -> None:
    """As some programs write it, against the rules of UTF-8."""
    half = HALF.encode(errors="surrogatepass")
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    if suffix == ".csv":
        source.write_bytes(b"prompt\nfirst\n" + half + b"\n")
        refused_unloaded(source, target, r"in\.csv' is not UTF-8 \(.*\): save it as UTF-8")
        return
    if suffix == ".jsonl":
        source.write_bytes(b'{"prompt": "first"}\n{"prompt": "' + half + b'"}\n')
    else:
        pq.write_table(pa.table({"prompt": pa.array([b"first", half]).view(pa.string())}), source)
    guard = ScriptedGuard()
    moderate(source, target, guard=guard)
    assert guard.asked_about == ["first"]
    results = read_jsonl(target) if suffix == ".jsonl" else pq.read_table(target, columns=["guard_outcome"]).to_pylist()
    assert [row["guard_outcome"] for row in results] == ["scored", "guard_error"]


FAR = [
    (pa.timestamp("ms"), 2**60, "36536598-01-28T21:54:06.976"),
    (pa.timestamp("us"), -(2**62), "-144169-06-28T09:59:32.612096"),
    (pa.timestamp("ms", tz="UTC"), 2**60, "36536598-01-28T21:54:06.976"),
    (pa.timestamp("ns", tz="Foo/Bar"), 1, "1970-01-01T00:00:00.000000001"),
    (pa.date32(), 2**31 - 1, "5881580-07-11"),
    (pa.date32(), -(2**31), "-5877641-06-23"),
    (pa.date64(), 86_400_000 * 2**30, "2941775-04-07"),
    (pa.date64(), 2**55, "1143677-02-15"),
    (pa.time64("ns"), 1, "00:00:00.000000001"),
    (pa.duration("s"), 2**62, "PT4611686018427387904S"),
]


@pytest.mark.parametrize("target", [".parquet", ".jsonl"])
@pytest.mark.parametrize("column", ["prompt", "when", "nested"])
@pytest.mark.parametrize(("kind", "number", "text"), FAR)
def test_times_that_python_does_not_have(
    tmp_path: Path, kind: pa.DataType, number: int, text: str, column: str, target: str
) -> None:
    values = pa.array([number, None, 0], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    prompts = pa.array(["a bomb", "Q?", "R?"])
    nested = pa.StructArray.from_arrays([values], ["in"])
    table = pa.table(
        {"prompt": values}
        if column == "prompt"
        else {"prompt": prompts, column: values if column == "when" else nested}
    )
    pq.write_table(table, tmp_path / "in.parquet")
    source, output = tmp_path / "in.parquet", tmp_path / f"out{target}"
    guard = ScriptedGuard()
    moderate(source, output, guard=guard)
    first = output.read_bytes()
    moderate(source, output, overwrite=True)
    assert output.read_bytes() == first
    assert guard.asked_about == ([] if column == "prompt" else ["a bomb", "Q?", "R?"])
    before = pq.read_table(source)
    if target == ".parquet":
        results = pq.read_table(output)
        assert results.select(before.column_names).equals(before)
        outcomes = results["guard_outcome"].to_pylist()
    else:
        rows = read_jsonl(output)
        outcomes = [row["guard_outcome"] for row in rows]
        found = [row[column]["in"] if column == "nested" else row[column] for row in rows]
        zone = "+00:00" if getattr(kind, "tz", None) else ""
        assert found[:2] == [f"{text}{zone}", None]
    assert outcomes == (["guard_error", "empty", "guard_error"] if column == "prompt" else ["scored"] * 3)


def test_a_date_in_milliseconds_keeps_its_time_of_day() -> None:
    """Parquet holds whole days, Arrow's own type need not."""
    values = pa.array([2**55, -1, None], pa.int64()).view(pa.date64())
    texts = ["1143677-02-15T11:56:03.968", "1969-12-31T23:59:59.999"]
    assert python_values(values) == [*map(TimeValue, texts), None]


def nested_lists(levels: int) -> str:
    return "[" * levels + "]" * levels


def nested_objects(levels: int) -> str:
    return '{"a": ' * levels + "1" + "}" * levels


@pytest.mark.parametrize("nested", [nested_lists, nested_objects])
@pytest.mark.parametrize("levels", [150, 300, 900, 5000])
def test_deeply_nested_json_lines(tmp_path: Path, levels: int, nested: Any) -> None:
    """A row within the limit comes out unchanged; another one is kept as text, and says why it is not judged."""
    source = tmp_path / "in.jsonl"
    lines = ['{"prompt": "first"}', f'{{"prompt": "a bomb", "deep": {nested(levels)}}}', '{"prompt": "last"}']
    source.write_text("\n".join(lines))
    rows, asked = judged(source, tmp_path / "out.jsonl")
    middle = (tmp_path / "out.jsonl").read_text().splitlines()[1]
    if levels == 150:
        assert asked == ["first", "a bomb", "last"]
        assert middle.startswith(lines[1].removesuffix("}") + ", ")
        assert rows[1]["guard_severity"] == "Unsafe"
    else:
        assert asked == ["first", "last"]
        assert rows[1]["guard_outcome"] == "guard_error"
        assert rows[1]["guard_reason"] == "line 2 has more than 200 levels of lists and objects"
        assert rows[1]["guard_raw"] == lines[1]
    refused_unloaded(source, tmp_path / "out.parquet", r"\.jsonl input is written as \.jsonl")


@pytest.mark.parametrize("levels", [150, 300, 900, 5000])
@pytest.mark.parametrize(
    ("source", "target"), [(".csv", ".csv"), (".csv", ".jsonl"), (".parquet", ".parquet"), (".parquet", ".jsonl")]
)
def test_deeply_nested_json_within_a_cell(tmp_path: Path, source: str, target: str, levels: int) -> None:
    cells = ['[{"role": "user", "content": "first"}]', nested_lists(levels)]
    if source == ".parquet":
        pq.write_table(pa.table({"messages": cells}), tmp_path / "in.parquet")
    else:
        (tmp_path / "in.csv").write_text(
            "messages\n" + "".join(f'"{cell.replace(chr(34), chr(34) * 2)}"\n' for cell in cells)
        )
    rows, asked = judged(tmp_path / f"in{source}", tmp_path / f"out{target}")
    assert [row["messages"] for row in rows] == cells
    assert asked == ["first"]
    assert rows[1]["guard_outcome"] == "guard_error"
    assert ("more than 200 levels" in rows[1]["guard_reason"]) == (levels > 200)


def test_parquet_that_arrow_itself_cannot_read(tmp_path: Path) -> None:
    kind = pa.string()
    for _ in range(150):
        kind = pa.list_(kind)
    pq.write_table(pa.table({"prompt": ["Q?"], "deep": pa.array([None], kind)}), tmp_path / "in.parquet")
    for suffix in (".parquet", ".jsonl"):
        refused_unloaded(tmp_path / "in.parquet", tmp_path / f"out{suffix}", r"in\.parquet' is not Parquet that can be")


@pytest.mark.parametrize(
    ("digits", "outcome", "reason"),
    [(4300, "scored", None), (4301, "guard_error", "line 2 has an integer of more than 4,300 digits")],
)
def test_an_integer_of_many_digits(tmp_path: Path, digits: int, outcome: str, reason: str | None) -> None:
    line = f'{{"prompt": "a bomb", "big": {"9" * digits}}}'
    (tmp_path / "in.jsonl").write_text(f'{{"prompt": "first"}}\n{line}\n')
    judged(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    result = read_jsonl(tmp_path / "out.jsonl")[1]
    assert (result["guard_outcome"], result["guard_reason"]) == (outcome, reason)
    kept = (tmp_path / "out.jsonl").read_text().splitlines()[1]
    assert result["guard_raw"] == line if reason else kept.startswith(line.removesuffix("}"))


def test_an_integer_of_many_digits_in_the_json_of_a_cell(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"messages\n[{'9' * 5000}]\n")
    rows, asked = judged(tmp_path / "in.csv", tmp_path / "out.csv")
    assert rows[0]["guard_reason"] == "column 'messages' has an integer of more than 4,300 digits"
    assert asked == []


@pytest.mark.parametrize(
    ("encoding", "fault"),
    [
        ("utf-16", "is not UTF-8"),
        ("utf-16-le", "has null bytes"),
        ("utf-16-be", "has null bytes"),
        ("utf-32", "is not UTF-8"),
        ("latin-1", "is not UTF-8"),
    ],
)
def test_json_lines_in_another_encoding(tmp_path: Path, encoding: str, fault: str) -> None:
    text = "café" if fault == "is not UTF-8" else "cafe"
    (tmp_path / "in.jsonl").write_text(f'{{"prompt": "{text}"}}\n' * 2, encoding=encoding)
    message = rf"in\.jsonl' holds no JSON lines: line 1 .*{fault}.* save (it|the file) as UTF-8$"
    refused_unloaded(tmp_path / "in.jsonl", tmp_path / "out.jsonl", message)


def test_one_line_in_another_encoding_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"prompt": "first"}\n{"prompt": "caf\xe9"}\n')
    rows, asked = judged(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert asked == ["first"]
    assert re.fullmatch(r"line 2 is not UTF-8 \(.+\): save the file as UTF-8", rows[1]["guard_reason"])
    assert rows[1]["guard_raw"] == '{"prompt": "caf\\xe9"}'
