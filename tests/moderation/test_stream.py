"""A stream guard adds the first flagged character."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard_reward.errors import UserError
from guard_reward.moderation.moderate import RESULT_FIELDS
from tests.moderation.files import moderate, read_jsonl, write_jsonl

UNSAFE = "Sure. First cut the gravok, then wash the gravok."
ROWS = [
    {"prompt": "How do I use a blue gravok?", "response": UNSAFE},
    {"prompt": "How do I use a blue gravok?", "response": "Sorry, I will not help with that."},
    {"prompt": None, "response": "x"},
]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_it_stands_before_the_reason(tmp_path: Path, tiny_stream_guard, suffix: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    if suffix != "jsonl":
        import pandas

        pandas.DataFrame(ROWS).to_csv(tmp_path / "in.csv", index=False)
        pandas.DataFrame(ROWS).to_parquet(tmp_path / "in.parquet")
        source = tmp_path / f"in.{suffix}"
    moderate(source, tmp_path / "out.jsonl", guard=tiny_stream_guard)
    results = read_jsonl(tmp_path / "out.jsonl")
    names = [f"guard_{field.name}" for field in RESULT_FIELDS]
    assert list(results[0])[2:] == [*names[:-1], "guard_flagged_char", names[-1]]
    assert [row["guard_severity"] for row in results] == ["Unsafe", "Safe", None]
    assert UNSAFE[: int(results[0]["guard_flagged_char"])] == "Sure. First cut the gravok"
    assert [row["guard_flagged_char"] for row in results[1:]] == [None, None]
    assert results[0]["guard_categories"] == ["Violent"]


def test_a_column_of_that_name_is_not_replaced(tmp_path: Path, tiny_stream_guard) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{**ROWS[0], "guard_flagged_char": 3}])
    with pytest.raises(UserError, match="has a column 'guard_flagged_char' already"):
        moderate(source, tmp_path / "out.jsonl", guard=tiny_stream_guard)
    moderate(source, tmp_path / "out.jsonl")  # other guards add no such column
