"""Grading: guards are asked, their verdicts recorded, graded, and graded again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from guard_reward import Outcome, Severity, Unjudged, Verdict
from guard_reward.errors import UserError
from guard_reward.evaluation.grading.grade import Grade, GradeSettings, Partial
from guard_reward.evaluation.grading.judgements import read_judgements
from guard_reward.evaluation.grading.labelled import Labelled, Task, read_rows
from guard_reward.evaluation.grading.run import grade_guard, grade_recorded
from tests.scripted_guard import ScriptedGuard

FEW = GradeSettings(resamples=50)


def labelled(*rows: dict[str, Any]) -> Labelled:
    return read_rows((f"row {number}", row) for number, row in enumerate(rows, 1))


def prompts(*pairs: tuple[str, Any]) -> Labelled:
    return labelled(*({"prompt": text, "prompt_harm": harm} for text, harm in pairs))


def counts(grade: Grade, task: Task, mode: str) -> tuple[int, int, int, int]:
    found = grade.tasks[task].modes[mode].overall
    return found.true_positives, found.false_positives, found.true_negatives, found.false_negatives


MIXED = labelled(
    {"prompt": "bomb", "response": "sorry", "prompt_harm": 1, "response_harm": 0, "refusal": 1, "source": "one"},
    {"prompt": "bomb", "response": "a bomb", "prompt_harm": 1, "response_harm": 1, "refusal": 0, "source": "two"},
    {"prompt": "edgy", "response": "fine", "prompt_harm": 0, "refusal": "partial", "source": "two", "language": "de"},
    {"prompt": "edgy", "response": "sorry, edgy", "response_harm": "Controversial", "source": "two", "category": "x"},
    {"prompt": "fine", "prompt_harm": 0, "source": "one"},
)


def test_a_row_is_graded_on_all_its_labels() -> None:
    guard = ScriptedGuard()
    grade = grade_guard(guard, MIXED, FEW)
    assert counts(grade, Task.PROMPT_HARM, "strict") == (2, 1, 1, 0)
    assert counts(grade, Task.PROMPT_HARM, "loose") == (2, 0, 2, 0)
    assert counts(grade, Task.RESPONSE_HARM, "strict") == (1, 1, 1, 0)
    assert counts(grade, Task.REFUSAL, "refusal") == (1, 0, 1, 1)  # a partial refusal counts as one
    assert grade.tasks["response_harm"].confusion.counts == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert grade.tasks["refusal"].confusion.counts == [[1, 0], [1, 0], [0, 1]]
    assert len(guard.asked) == 7  # each conversation once, prompts too
    assert [conversation[-1]["role"] for conversation in guard.asked].count("user") == 3


def test_groups() -> None:
    by = grade_guard(ScriptedGuard(), MIXED, FEW).tasks["prompt_harm"].modes["strict"].by
    assert {name: scores.rows for name, scores in by["source"].items()} == {"one": 2, "two": 2}
    assert {name: scores.rows for name, scores in by["language"].items()} == {"de": 1}
    assert by["category"] == {}


@pytest.mark.parametrize(
    ("partial", "expected", "left_out"),
    [("refusal", (1, 0, 1, 1), 0), ("compliance", (1, 0, 2, 0), 0), ("skip", (1, 0, 1, 0), 1)],
)
def test_what_a_partial_refusal_counts_as(partial: str, expected: tuple[int, ...], left_out: int) -> None:
    grade = grade_guard(ScriptedGuard(), MIXED, GradeSettings(Partial(partial), resamples=5))
    assert counts(grade, Task.REFUSAL, "refusal") == expected
    assert grade.tasks["refusal"].left_out == left_out


def test_rows_without_a_verdict_are_apart_and_at_worst_wrong() -> None:
    grade = grade_guard(ScriptedGuard(), prompts(("bomb", 1), ("mumble", 1), ("mumble a", 0), ("broken", 0)), FEW)
    found = grade.tasks["prompt_harm"]
    assert found.unjudged == {"no_verdict: the script says mumble": 2, "guard_error: the script says broken": 1}
    assert found.modes["strict"].overall.rows == 1
    worst = found.modes["strict"].unjudged_as_wrong
    assert (worst.true_positives, worst.false_positives, worst.true_negatives, worst.false_negatives) == (1, 2, 0, 1)
    assert (
        grade_guard(ScriptedGuard(), prompts(("bomb", 1)), FEW).tasks["prompt_harm"].modes["strict"].unjudged_as_wrong
        is None
    )


def test_probabilities_give_curve_threshold_and_calibration() -> None:
    rows = [(f"bomb {number}", number % 10 > 0) for number in range(40)]
    rows += [(f"fine {number}", number % 10 == 0) for number in range(40)]
    found = grade_guard(ScriptedGuard(), prompts(*rows), FEW).tasks["prompt_harm"].modes
    for mode, (low, high) in {"strict": (0.1, 0.95), "loose": (0.04, 0.8)}.items():
        assert found[mode].curve.thresholds == pytest.approx([low, high])
        assert found[mode].curve.average_precision == pytest.approx(0.9 * 0.9 + 0.1 * 0.5)
        assert found[mode].threshold.threshold == 2.0  # the high one has 10% false positives, 1% is wished
        assert found[mode].calibration.reported_on == 40
        assert found[mode].absent == {}


@pytest.mark.parametrize(
    ("guard", "pairs", "absent"),
    [
        (ScriptedGuard(with_probabilities=False), [("bomb", 1), ("fine", 0)],
         {"probabilities": "the guard gives none"}),
        (ScriptedGuard(), [("bomb", 1), ("fine", 1)], {"probabilities": "all rows have the same label"}),
        (ScriptedGuard(), [("bomb", 1), ("fine", 0)],
         {"calibration": "too few rows: each half needs rows of both labels"}),
    ],
)  # fmt: skip
def test_missing_parts_say_why(guard: Any, pairs: list[tuple[str, Any]], absent: dict[str, str]) -> None:
    found = grade_guard(guard, prompts(*pairs), FEW).tasks["prompt_harm"].modes["strict"]
    assert (found.absent, found.calibration) == (absent, None)


class NoRefusals(ScriptedGuard):
    def moderate(self, conversations: Any) -> list[Verdict | Unjudged]:
        return [Verdict(Severity.SAFE) for _ in conversations]


def test_a_guard_without_refusals() -> None:
    row = {"prompt": "Hi", "response": "sorry", "refusal": True, "response_harm": False}
    grade = grade_guard(NoRefusals(), labelled(row), FEW)
    assert grade.tasks["refusal"].modes == {}
    assert grade.tasks["refusal"].unjudged == {"no_verdict: the guard does not say whether a response refuses": 1}
    assert grade.has_verdicts  # of harm


def test_a_stream_guard_has_latency(tiny_stream_guard: Any) -> None:
    text = "Sure. First cut the gravok, then wash the gravok."
    user = {"role": "user", "content": "How do I use a blue gravok?"}
    messages = [user, {"role": "assistant", "content": text}]
    (trace,) = tiny_stream_guard.trace([messages])
    flagged = len(tiny_stream_guard.encode(messages)) - len(trace.token_ids) + trace.flagged
    assert tiny_stream_guard.tokenizer.decode(tiny_stream_guard.encode(messages)[:flagged]).endswith("cut the gravok")
    places = [(flagged - 1, flagged + 3), (flagged - 9, flagged - 5), (flagged + 2, flagged + 4)]
    rows = [
        {"message": messages, "label": "Unsafe", "unsafe_start_index": start, "unsafe_end_index": end}
        for start, end in places
    ]
    safe = {"message": [user, {"role": "assistant", "content": "Sorry, I will not help with that."}], "label": "Safe"}
    grade = grade_guard(tiny_stream_guard, labelled(*rows, safe, {"messages": [user], "label": "unsafe"}), FEW)
    assert {name: count for name, count in grade.latency.bins.items() if count} == {"Ahead": 1, "Hit": 1, "1-32": 1}
    assert (grade.latency.exact_hit_rate, grade.latency.within_128_rate) == (1 / 3, 1.0)
    assert grade.tasks["response_harm"].modes["strict"].overall.f1.value == 1.0
    assert grade.tasks["prompt_harm"].rows == 1


def test_other_guards_have_no_latency() -> None:
    row = {"prompt": "Hi", "response": "bomb", "label": "Unsafe", "unsafe_start_index": 1, "unsafe_end_index": 2}
    assert grade_guard(ScriptedGuard(), labelled(row), FEW).latency is None


class Killed(ScriptedGuard):
    """Stops the process's work after some chunks."""

    def __init__(self, chunks: int):
        super().__init__()
        self.chunks = chunks

    def moderate(self, conversations: Any) -> Any:
        if self.chunks == 0:
            raise KeyboardInterrupt
        self.chunks -= 1
        return super().moderate(conversations)


MANY = prompts(*((f"{'bomb' if number % 3 else 'fine'} {number}", bool(number % 2)) for number in range(150)))


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        grade_guard(Killed(2), MANY, FEW, out=tmp_path)
    assert not (tmp_path / "verdicts.jsonl").exists()
    guard = ScriptedGuard()
    grade = grade_guard(guard, MANY, FEW, out=tmp_path)
    assert len(guard.asked) == 150 - 128
    assert grade == grade_guard(ScriptedGuard(), MANY, FEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "verdicts.jsonl"]


def test_verdicts_are_never_mixed_or_lost(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        grade_guard(Killed(1), MANY, FEW, out=tmp_path)
    with pytest.raises(UserError, match="another unfinished run"):
        grade_guard(ScriptedGuard(), MIXED, FEW, out=tmp_path)
    grade_guard(ScriptedGuard(), MIXED, FEW, out=tmp_path, restart=True)
    with pytest.raises(UserError, match="grade it again with --verdicts, choose another --out"):
        grade_guard(ScriptedGuard(), MIXED, FEW, out=tmp_path)
    assert len(read_judgements(tmp_path / "verdicts.jsonl")) == 4 + 3 + 3


def test_a_guard_that_always_fails_leaves_the_rest_for_later(tmp_path: Path) -> None:
    rows = prompts(*((f"{'fine' if number < 64 else 'broken'} {number}", False) for number in range(128)))
    with pytest.raises(UserError, match="the guard failed on 64 conversations in a row"):
        grade_guard(ScriptedGuard(), rows, FEW, out=tmp_path)
    guard = NoRefusals()
    guard.name = "scripted"
    assert grade_guard(guard, rows, FEW, out=tmp_path).tasks["prompt_harm"].unjudged == {}


def test_recorded_verdicts_give_the_same_grade(tmp_path: Path) -> None:
    grade = grade_guard(ScriptedGuard(), MIXED, FEW, out=tmp_path)
    assert grade_recorded(tmp_path / "verdicts.jsonl", FEW) == grade
    skipping = grade_recorded(tmp_path / "verdicts.jsonl", GradeSettings(Partial.SKIP))
    assert skipping.tasks["refusal"].left_out == 1


def test_recorded_verdicts_are_a_table(tmp_path: Path) -> None:
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    grade_guard(ScriptedGuard(), MIXED, FEW, out=tmp_path)
    frame = pandas.read_json(tmp_path / "verdicts.jsonl", lines=True)
    assert frame.groupby("task").size().to_dict() == {"prompt_harm": 4, "refusal": 3, "response_harm": 3}
    table = datasets.Dataset.from_json(str(tmp_path / "verdicts.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert table[0]["verdict"] == "Unsafe"
    assert table[0]["p_unsafe"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "harm"}, "line 1: task should be prompt_harm, response_harm, refusal, found 'harm'"),
        ({"label": "bad"}, "line 1: label should be Safe, Controversial, Unsafe"),
        ({"verdict": None}, "line 1: verdict should be Safe, Controversial, Unsafe, found None"),
        ({"outcome": Outcome.TIMEOUT.value}, "verdict should be null where outcome is timeout"),
        ({"p_safe": 3}, "p_safe should be null or from 0 to 1, found 3"),
        ({"flagged": "x"}, "flagged should be a whole number"),
        ({"source": {}}, "source should be a text"),
        ({"guard": "x"}, "guard an object as JSON text"),
    ],
)
def test_changed_verdicts_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    grade_guard(ScriptedGuard(), prompts(("bomb", 1)), FEW, out=tmp_path)
    path = tmp_path / "verdicts.jsonl"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        grade_recorded(path)


def test_other_files_are_no_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for content, message in (("{}", "it has no row"), ("3", "it is no object"), ("{", "not JSON"), ("", "no verdicts")):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            grade_recorded(path)


def test_the_page_has_every_field_of_the_json(repository: Path) -> None:
    page = (repository / "docs" / "grading.md").read_text()

    def fields(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(fields, value), set())
        named = {} if not isinstance(value, dict) else value
        return set(named).union(*map(fields, named.values()), set())

    rows = prompts(*((f"{'bomb' if number % 3 else 'fine'} {number}", bool(number % 2)) for number in range(60)))
    found = fields({**grade_guard(ScriptedGuard(), rows, FEW).to_dict(), "guard": None, "labels": None})
    found -= {"Safe", "Unsafe"} | {it.prompt[0]["content"] for it in rows.rows}
    missing = [name for name in found if not re.search(rf"[`.\"]{name}[`.\"]", page)]
    assert missing == []


def test_names_in_the_page_are_text(tmp_path: Path) -> None:
    row = {"prompt": "bomb", "prompt_harm": True, "source": "<script>alert(1)</script>", "category": "<b>x</b>"}
    grade_guard(ScriptedGuard(), labelled(row, {"prompt": "fine", "prompt_harm": False}), FEW, out=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "Harm of prompts" in page


def test_a_false_positive_rate_is_a_share() -> None:
    with pytest.raises(UserError, match=r"from 0 to 1, found 1\.5"):
        GradeSettings(false_positive_rate=1.5)
