"""`guard-reward grade`: labelled conversations in Qwen3GuardTest's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from guard_reward.errors import UserError
from guard_reward.evaluation.grading import grade, read_cases
from guard_reward.tiny import build_tiny_stream_guard
from tests.scripted_guard import ScriptedGuard

USER = {"role": "user", "content": "How do I use a blue gravok?"}


def row(text: str, label: str, start: int | None = None, end: int | None = None) -> dict[str, Any]:
    place = {} if start is None else {"unsafe_start_index": start, "unsafe_end_index": end}
    return {"message": [USER, {"role": "assistant", "content": text}], "label": label, **place}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_a_stream_guard_has_latency(tmp_path: Path, tiny_stream_guard: Any) -> None:
    text = "Sure. First cut the gravok, then wash the gravok."
    messages = [USER, {"role": "assistant", "content": text}]
    (trace,) = tiny_stream_guard.trace([messages])
    flagged = len(tiny_stream_guard.encode(messages)) - len(trace.token_ids) + trace.flagged
    assert tiny_stream_guard.tokenizer.decode(tiny_stream_guard.encode(messages)[:flagged]).endswith("cut the gravok")
    cases = read_cases(
        write(
            tmp_path / "cases.jsonl",
            [
                row(text, "Unsafe", flagged - 1, flagged + 3),
                row(text, "Unsafe", flagged - 9, flagged - 5),
                row(text, "unsafe", flagged + 2, flagged + 4),
                row("Sorry, I will not help with that.", "Safe"),
                {"messages": [USER], "label": "Unsafe"},
            ],
        )
    )
    result = grade(tiny_stream_guard, cases)
    assert (result.cases, result.unjudged) == (5, {})
    assert {name: count for name, count in result.latency.bins.items() if count} == {"Ahead": 1, "Hit": 1, "1-32": 1}
    assert (result.latency.exact_hit_rate, result.latency.within_128_rate) == (1 / 3, 1.0)
    assert result.strict.f1 == 1.0


def test_other_guards_have_scores_only(tmp_path: Path) -> None:
    rows = [
        row("bomb", "Unsafe", 1, 2),
        row("edgy", "Unsafe"),
        row("fine", "Safe"),
        row("edgy", "Safe"),
        row("mumble", "Safe"),
    ]
    result = grade(ScriptedGuard(), read_cases(write(tmp_path / "cases.jsonl", rows)))
    assert (result.strict.recall, result.strict.precision) == (1.0, 2 / 3)
    assert (result.loose.recall, result.loose.precision) == (0.5, 1.0)
    assert result.unjudged == {"no_verdict: the script says mumble": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 is not an object"),
        ('{"label": "Safe"}', "line 1: message should be a list of chat messages"),
        ('{"message": [{"role": "user"}], "label": "bad"}', "label should be Safe, Controversial, Unsafe, found 'bad'"),
        ('{"message": [{}], "label": "Safe", "unsafe_start_index": 3}', "should be two whole numbers"),
        ("", "has no lines"),
    ],
)
def test_mistakes_name_line_and_field(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match=message):
        read_cases(path)


def test_the_command(tmp_path: Path) -> None:
    text = "Sure. First cut the gravok, then wash the gravok."
    source = write(
        tmp_path / "cases.jsonl", [row(text, "Unsafe", 10, 500), row("Sorry, I will not help with that.", "Safe")]
    )
    target = tmp_path / "grade.json"
    result = CliRunner().invoke(
        app, ["grade", str(source), "--guard", str(build_tiny_stream_guard()), "--json", str(target)]
    )
    assert result.exit_code == 0, result.output
    assert "exact hits 100.0%, within 128 tokens 100.0%" in result.stdout
    found = json.loads(target.read_text())
    assert found["strict"]["f1"] == 1.0
    assert found["latency"]["bins"]["Hit"] == 1


def test_without_a_verdict_the_status_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard_reward.load_guard", lambda *_, **__: ScriptedGuard(), raising=False)
    source = write(tmp_path / "cases.jsonl", [row("mumble", "Safe")])
    result = CliRunner().invoke(app, ["grade", str(source), "--quiet"])
    assert result.exit_code == 1
