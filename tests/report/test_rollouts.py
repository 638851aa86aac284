"""Rollouts tables: what a page shows of a row, which rows it shows, and files that are broken or hostile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guard_reward.report.rollouts import MAX_TEXT, Cache, Reading, Rollouts, read_rollouts, shown_row
from guard_reward.report.run import Alarm
from guard_reward.report.sampling import choose
from guard_reward.report.tables import Facts, Table, tables_of
from tests.report.run_folders import rollout_row, write_completions, write_lines

GUARD = {"guard": 1.0}


def read(run: Path, notes: list[str] | None = None, *, limit: int = 3000, **more: Any) -> Rollouts:
    cache = more.pop("cache", None) or Cache()
    return read_rollouts(tables_of(run, 99), GUARD, Reading(limit, cache), [] if notes is None else notes, **more)


def said(content: str | None, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": content, **more}]


# completion → thinking, answer
REPLIES = [
    ("A", None, "A"),
    ("<think>Hm.</think>\nA", "Hm.", "A"),
    ("<think>never closed", "never closed", ""),
    ("t</think>A", None, "t</think>A"),  # a stray tag hides nothing
    (said("A"), None, "A"),
    (said("<think>Hm.</think>A"), "Hm.", "A"),
    (said("A", reasoning_content="Hm."), "Hm.", "A"),
    (said("<think>b</think>A", reasoning_content="a"), "a\n\nb", "A"),
    (said([{"type": "text", "text": "A"}, {"type": "image"}]), None, "A\n[image]"),
    ([*said("A"), {"role": "tool", "content": "42"}, *said("B")], None, "assistant: A\n\ntool: 42\n\nassistant: B"),
    (said(None, tool_calls=[{"name": "f"}]), None, "[tool calls: [{'name': 'f'}]]"),
    (None, None, ""),
    ("half \ud800", None, "half \ufffd"),
]


@pytest.mark.parametrize(("completion", "thinking", "answer"), REPLIES)
def test_thinking_and_answer_are_apart(completion: Any, thinking: str | None, answer: str) -> None:
    row = shown_row(rollout_row(completion=completion), 1, 0, GUARD)
    assert (row["thinking"], row["completion"]) == (thinking, answer)


def test_a_prompt_that_ends_inside_the_thinking() -> None:
    row = shown_row(rollout_row("Q<think>\n", "Hm.</think>A"), 1, 0, GUARD)
    assert (row["thinking"], row["completion"]) == ("Hm.", "A")


def test_prompts_are_texts() -> None:
    user, system = {"role": "user", "content": "Q"}, {"role": "system", "content": "S"}
    assert shown_row({"prompt": [user]}, 1, 0, {})["prompt"] == "Q"
    assert shown_row({"prompt": [system, user]}, 1, 0, {})["prompt"] == "system: S\n\nuser: Q"


# rewards' weights, row → reward, other columns
REWARDS = [
    ({"guard": 1.0}, {"guard": -5.0}, -5.0, {}),
    ({"guard": 1.0, "length": 0.5}, {"guard": 1.0, "length": -4.0}, -1.0, {"guard": 1.0, "length": -4.0}),
    ({"guard": 1.0, "length": 0.5}, {"guard": None, "length": 2.0}, 1.0, {"guard": None, "length": 2.0}),
    ({"guard": 1.0}, {"guard": float("nan")}, None, {}),
    ({}, {"score": float("inf")}, None, {"score": None}),
]


@pytest.mark.parametrize(("weights", "raw", "reward", "others"), REWARDS)
def test_the_reward_is_the_trainers_sum(weights: Any, raw: Any, reward: float | None, others: dict[str, Any]) -> None:
    row = shown_row(raw, 1, 0, weights)
    assert row.pop("reward") == reward
    assert {name: row[name] for name in row if name not in ("id", "step", "prompt", "thinking", "completion")} == others


def test_columns_of_a_table_do_not_replace_the_pages_own(tmp_path: Path) -> None:
    hostile = {"id": "x", "thinking": "y", "<b>": "z", "a.b": 1, "completion.text": 2, "__index_level_0__": 3}
    write_completions(tmp_path, 5, [rollout_row(completion="<think>t</think>A", **hostile)])
    [row] = read(tmp_path).rows
    assert (row["id"], row["thinking"], row["completion"]) == ("5-0", "t", "A")
    assert (row["<b>"], row["a.b"], row["completion.text"]) == ("z", 1, 2)
    assert "__index_level_0__" not in row


def test_a_table_as_trl_writes_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    prompts = [[{"role": "user", "content": "Q"}]] * 2
    frame = pandas.DataFrame(
        {"step": [7, 7], "prompt": prompts, "completion": [said("A"), said("B")], "guard": [1.0, None]}
    )
    (tmp_path / "completions").mkdir()
    frame.to_parquet(tmp_path / "completions" / "completions_00007.parquet")
    rows = read(tmp_path).rows
    assert [(row["id"], row["step"], row["prompt"], row["completion"], row["reward"]) for row in rows] == [
        ("7-0", 7, "Q", "A", 1.0),
        ("7-1", 7, "Q", "B", None),
    ]


def test_broken_tables_become_one_note(tmp_path: Path) -> None:
    whole = write_completions(tmp_path, 1, [rollout_row()])
    cut = write_completions(tmp_path, 2, [rollout_row()])
    cut.write_bytes(cut.read_bytes()[:-20])
    (whole.parent / "completions_00003.parquet").write_bytes(b"")
    (whole.parent / "completions_00004.parquet").mkdir()
    (whole.parent / "completions_00005.parquet").symlink_to(whole.parent / "completions_00005.parquet")
    notes: list[str] = []
    found = read(tmp_path, notes)
    assert (found.total, len(found.rows)) == (1, 1)
    assert len(notes) == 1
    assert notes[0].startswith("2 of 3 rollouts tables could not be read, such as completions_00002.parquet: ")


def test_texts_that_are_not_utf8(tmp_path: Path) -> None:
    texts = pa.array([b"bad \xff"], pa.binary()).view(pa.string())
    (tmp_path / "completions").mkdir()
    table = pa.table({"completion": texts, "guard_severity": texts, "prompt": ["Q"]})
    pq.write_table(table, tmp_path / "completions" / "completions_00001.parquet")
    [row] = read(tmp_path).rows
    assert (row["prompt"], row["completion"]) == ("Q", "bad \ufffd")


def test_columns_of_other_types_than_trls(tmp_path: Path) -> None:
    row = {"step": "one", "guard_severity": ["Unsafe"], "guard_outcome": 5, "guard_refusal": "no", "guard": "x"}
    (tmp_path / "completions").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "completions" / "completions_00012.parquet")
    [shown] = read(tmp_path).rows
    assert (shown["id"], shown["reward"], shown["guard_severity"]) == ("12-0", None, "Unsafe")


def test_long_texts_are_cut_and_say_so() -> None:
    row = shown_row(rollout_row(completion="x" * (MAX_TEXT + 1000)), 1, 0, GUARD)
    assert row["completion"].endswith("x… (1,000 more characters)")


def test_rows_in_json_lines_have_the_last_step(tmp_path: Path) -> None:
    write_lines(tmp_path / "rollouts.jsonl", [rollout_row(), {"step": 4, **rollout_row()}, "{broken\n"])
    assert [row["id"] for row in read(tmp_path).rows] == ["99-0", "4-1"]


def sample(steps: int, rows: int, limit: int, unsafe: set[tuple[int, int]] = frozenset()) -> list[tuple[int, int]]:
    """Which rows of `steps` tables with `rows` rows each are chosen."""
    tables = []
    for step in range(steps):
        facts = Facts()
        facts.steps.extend([step] * rows)
        facts.concerns.extend([3 * ((step, row) in unsafe) for row in range(rows)])
        facts.rewards.extend([0.0] * rows)
        tables.append(facts)
    return choose(tables, limit)


@pytest.mark.parametrize(
    ("steps", "rows", "limit"), [(10, 10, 99), (1000, 10, 300), (3, 1000, 100), (50, 2, 1), (5, 5, 0)]
)
def test_a_sample_is_as_large_as_it_may_be_and_always_the_same(steps: int, rows: int, limit: int) -> None:
    chosen = sample(steps, rows, limit)
    assert len(set(chosen)) == len(chosen) == min(limit, steps * rows)
    assert chosen == sorted(chosen) == sample(steps, rows, limit)


def test_a_sample_has_all_of_training_and_all_unsafe_rows() -> None:
    unsafe = {(step, 3) for step in range(0, 100, 5)}
    chosen = sample(100, 50, 400, unsafe)
    assert unsafe <= set(chosen)
    by_step = Counter(step for step, _ in chosen)
    assert min(by_step[step] for step in range(100)) >= 2


def test_many_unsafe_rows_at_the_start_do_not_hide_the_rest_of_training() -> None:
    chosen = sample(100, 50, 400, {(step, row) for step in range(10) for row in range(50)})
    assert {step for step, _ in chosen} == set(range(100))


def test_unsafe_prompts_are_what_a_training_is_about(tmp_path: Path) -> None:
    rows = [rollout_row(str(number), guard_prompt_severity="Unsafe") for number in range(100)]
    rows[50] |= {"prompt": "odd", "guard_injection_attempts": 1}
    write_completions(tmp_path, 1, rows)
    assert "odd" in {row["prompt"] for row in read(tmp_path, limit=2).rows}


def test_unsafe_rows_of_a_sample_are_of_all_of_training() -> None:
    everything = {(step, row) for step in range(100) for row in range(20)}
    by_tenth = Counter(step // 10 for step, _ in sample(100, 20, 400, everything))
    assert min(by_tenth[tenth] for tenth in range(10)) >= 30


def test_what_people_look_for_is_shown(tmp_path: Path) -> None:
    dull = [rollout_row(completion=f"dull {number}") for number in range(200)]
    dull[10] |= rollout_row(completion="unsafe", severity="Unsafe")
    dull[20] |= rollout_row(completion="unjudged", severity=None)
    dull[30] |= rollout_row(completion="typed", guard_injection_attempts=2)
    dull[40] |= rollout_row(completion="worst", guard=-50.0)
    dull[50] |= rollout_row(completion=said("alarming")[0]["content"])
    write_completions(tmp_path, 10, dull)
    notes: list[str] = []
    alarm = Alarm(9, "repetition", "", [{"prompt": "Q", "completion": "alarming", "value": 1.0}])
    found = read(tmp_path, notes, limit=20, alarms=[alarm])
    assert {"unsafe", "unjudged", "typed", "worst", "alarming"} <= {row["completion"] for row in found.rows}
    assert (found.total, len(found.rows)) == (200, 20)
    assert notes[0].startswith("20 of 200 rollouts are shown")


def test_a_page_that_is_written_again_reads_new_tables_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    for name in ("scan", "rows"):
        original = getattr(Table, name)

        def counted(table: Table, argument: Any, original: Any = original, name: str = name) -> Any:
            opened.append(f"{name} {table.path.stem[-1]}")
            return original(table, argument)

        monkeypatch.setattr(Table, name, counted)
    cache = Cache()
    write_completions(tmp_path, 1, [rollout_row()])
    read(tmp_path, cache=cache)
    write_completions(tmp_path, 2, [rollout_row()])
    assert [row["id"] for row in read(tmp_path, cache=cache).rows] == ["1-0", "2-0"]
    assert opened == ["scan 1", "rows 1", "scan 2", "rows 2"]


def test_two_tables_of_one_step_have_rows_of_different_names(tmp_path: Path) -> None:
    path = write_completions(tmp_path, 3, [rollout_row()])
    path.with_name("more_00003.parquet").write_bytes(path.read_bytes())
    assert [row["id"] for row in read(tmp_path).rows] == ["3-0", "3-0-2"]
