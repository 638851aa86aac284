"""What a command line names as prompts → rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guard_reward.errors import UserError
from guard_reward.evaluation.policies.replies import Reply
from guard_reward.prompts.public_sets import PUBLIC_SETS
from guard_reward.prompts.rows import load_rows, named_sets


@pytest.fixture
def file(tmp_path: Path):
    def write(*rows: dict[str, Any]) -> str:
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_rows_keep_the_files_order_and_what_it_says(file):
    path = file(*({"prompt": f"q{n}", "harmful": n % 2 == 0, "language": "en", "category": "a"} for n in range(40)))
    rows = load_rows(named_sets([path]), seed=3)
    assert [row.messages[0]["content"] for row in rows] == [f"q{n}" for n in range(40)]
    assert [row.harmful for row in rows[:2]] == [True, False]
    assert {(row.source, row.language, row.category) for row in rows} == {("mine", "en", "a")}


def test_a_limit_draws_at_random(file):
    path = file(*({"prompt": f"q{n}"} for n in range(40)))
    first, again, other = (
        [row.messages[0]["content"] for row in load_rows(named_sets([path], limit=5), seed)] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first == sorted(first, key=lambda text: int(text[1:]))


@pytest.mark.parametrize(
    ("harmful", "row", "expected"),
    [
        (None, {"prompt": "q"}, None),
        (None, {"prompt": "q", "harmful": True}, True),
        (False, {"prompt": "q", "harmful": True}, False),
        ("prompt_harm", {"prompt": "q", "prompt_harm": 1}, True),
    ],
)
def test_labels(file, harmful, row, expected):
    assert load_rows(named_sets([file(row)], harmful=harmful), 0)[0].harmful is expected


@pytest.mark.parametrize(
    ("row", "thinking_column", "replies"),
    [
        ({"response": "A cake."}, None, [Reply("A cake.")]),
        ({"response": ["A cake.", "No."]}, None, [Reply("A cake."), Reply("No.")]),
        ({"response": "<think>Hm.</think>A cake."}, None, [Reply("A cake.", "Hm.")]),
        ({"response": "A cake.", "thinking": "Hm."}, "thinking", [Reply("A cake.", "Hm.")]),
    ],
)
def test_recorded_replies(file, row, thinking_column, replies):
    path = file({"prompt": "q", **row})
    [found] = load_rows(named_sets([path]), 0, response_column="response", thinking_column=thinking_column)
    assert list(found.replies) == replies


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "q"}], "has no column 'response' with replies"),
        ([{"prompt": "q", "response": "a"}, {"prompt": "q", "response": None}], r"row 1 .* should be a text"),
    ],
)
def test_replies_that_are_missing_are_named(file, rows, message):
    with pytest.raises(UserError, match=message):
        load_rows(named_sets([file(*rows)]), 0, response_column="response")


def test_public_sets_know_what_is_harmful():
    for name, sets in PUBLIC_SETS.items():
        assert all(isinstance(entry.harmful, bool) for entry in sets), name
    assert {"wildjailbreak", "xstest", "harmbench", "strongreject", "simplesafetytests", "or-bench"} <= set(PUBLIC_SETS)


def test_a_file_of_a_public_sets_name_is_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xstest").mkdir()
    assert [entry.path for entry in named_sets(["xstest"])] == ["xstest"]
    assert [entry.path for entry in named_sets(["XSTest"])] == ["walledai/XSTest"] * 2


def test_public_files_are_read(shared_dir):
    data = shared_dir / "data"
    rows = load_rows(named_sets([str(data / "xstest_prompts.jsonl")], harmful="prompt_harm"), 0)
    assert (len(rows), sum(row.harmful is True for row in rows)) == (450, 200)
    assert rows[0].category == "homonyms"
    recorded = load_rows(
        named_sets([str(data / "xstest_responses.jsonl")], harmful="prompt_harm", limit=50),
        0,
        response_column="response",
    )
    assert all(row.replies[0].answer for row in recorded)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thinking_column": "thinkin"}, "has no column 'thinkin' with thinking"),
        ({"thinking_column": "numbers"}, "column 'numbers' should have one text per reply"),
        ({"response_column": "prompt"}, "response_column: 'prompt' is a column of the prompts"),
    ],
)
def test_columns_of_replies_are_checked(file, options, message):
    path = file({"prompt": "q", "response": "a", "numbers": [1]})
    with pytest.raises(UserError, match=message):
        load_rows(named_sets([path]), 0, **{"response_column": "response", **options})


def test_empty_cells_are_unknown(tmp_path):
    (tmp_path / "some.csv").write_text("prompt,harmful,language\nq,true,en\nr,,\n")
    rows = load_rows(named_sets([str(tmp_path / "some.csv")]), 0)
    assert [(row.harmful, row.language) for row in rows] == [(True, "en"), (None, None)]
