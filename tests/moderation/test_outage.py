"""A guard that fails on most texts of a chunk stops the job; the same job goes on later."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard_reward import Outcome, Unjudged
from guard_reward.moderation.moderate import OutageError
from tests.moderation.files import moderate, read_jsonl, write_jsonl
from tests.scripted_guard import ScriptedGuard


class DyingGuard(ScriptedGuard):
    """Judges so many texts, then fails as a served guard whose server is gone."""

    def __init__(self, lasts: int):
        super().__init__()
        self.lasts = lasts

    def moderate(self, conversations):
        found = super().moderate(conversations)
        left = max(self.lasts - len(self.asked) + len(conversations), 0)
        gone = Unjudged(Outcome.TIMEOUT, reason="http://127.0.0.1:8000/v1: no whole answer in time")
        return [verdict if number < left else gone for number, verdict in enumerate(found)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Q?", "response": f"Answer {n}."} for n in range(200)])


def test_it_stops_and_the_same_job_goes_on(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(OutageError, match=r"failed on 38 of 50 texts \(http.*in time\)\. 100 rows are finished"):
        moderate(source, target, guard=DyingGuard(112), chunk_rows=50)
    assert not target.exists()
    assert moderate(source, target, chunk_rows=50).resumed_rows == 100
    moderate(source, tmp_path / "undisturbed.jsonl", chunk_rows=50)
    assert target.read_bytes() == (tmp_path / "undisturbed.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("chunk_rows", "lasts", "options"),
    [(50, 112, {"keep_going": True}), (50, 175, {}), (31, 0, {})],
    ids=["asked to go on", "half of a chunk", "small chunks"],
)
def test_it_goes_on(tmp_path: Path, source: Path, chunk_rows: int, lasts: int, options: dict[str, bool]) -> None:
    summary = moderate(source, tmp_path / "out.jsonl", guard=DyingGuard(lasts), chunk_rows=chunk_rows, **options)
    outcomes = [row["guard_outcome"] for row in read_jsonl(tmp_path / "out.jsonl")]
    assert outcomes == ["scored"] * lasts + ["timeout"] * (200 - lasts)
    assert summary.outcomes["timeout"] == 200 - lasts


def test_rows_that_the_guard_was_not_asked_about_are_no_outage(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": None, "response": "A."}] * 100)
    assert moderate(source, tmp_path / "out.jsonl").judged_nothing
