"""Interrupted runs: a killed job resumes and writes the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from guard_reward.errors import UserError
from guard_reward.journal import Journal
from tests.moderation.files import moderate, read_jsonl, write_any, write_jsonl
from tests.scripted_guard import ScriptedGuard


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


def test_another_choice_of_columns_is_not_mixed_in(tmp_path: Path) -> None:
    rows = [{"prompt": f"{index}?", "chosen": f"good {index}", "rejected": f"bomb {index}"} for index in range(30)]
    source, target = write_jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    interrupt(source, target, calls=2)
    for choice in ("chosen", "rejected", "rejected,chosen"):
        with pytest.raises(UserError, match=r"judged was \"'chosen' as .* 'rejected' as .*--restart"):
            moderate(source, target, response_column=choice, chunk_rows=10)
    with pytest.raises(UserError, match="judged was"):
        moderate(source, target, prompt_column="", chunk_rows=10)
    guard = ScriptedGuard()
    summary = moderate(source, target, response_column=["chosen", "rejected"], guard=guard, chunk_rows=10)
    assert (summary.resumed_rows, summary.judged_rows, len(guard.asked)) == (20, 10, 20)
    moderate(source, tmp_path / "unbroken.jsonl", chunk_rows=10)
    assert target.read_bytes() == (tmp_path / "unbroken.jsonl").read_bytes()


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


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_finishes_while_another_opens_its_journal(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """The other one holds a deleted file: its rows are neither taken for done nor written to it."""
    fcntl = pytest.importorskip("fcntl")
    target, begun, go_on = tmp_path / "out.jsonl", Event(), Event()

    class Waiting(ScriptedGuard):
        def moderate(self, conversations: Any) -> Any:
            begun.set()
            assert go_on.wait(60)
            return super().moderate(conversations)

    first = Thread(target=moderate, args=(many, target), kwargs={"guard": Waiting(), "overwrite": True})
    first.start()
    assert begun.wait(60)
    flock = fcntl.flock

    def flock_after_the_first_run(*args: Any) -> None:
        go_on.set()
        first.join()
        flock(*args)

    monkeypatch.setattr(fcntl, "flock", flock_after_the_first_run)
    guard = ScriptedGuard()
    if overwrite:
        assert moderate(many, target, guard=guard, overwrite=True).judged_rows == 95
    else:
        with pytest.raises(UserError, match=r"output '.*' exists: use --overwrite"):
            moderate(many, target, guard=guard)
        assert not guard.asked
    assert len(read_jsonl(target)) == 95
    assert sorted(tmp_path.iterdir()) == sorted([many, target])


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
    source = write_any(tmp_path / f"in{suffix}", read_jsonl(many))

    def command(out: Path, log: str, seconds: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "tests.moderation.scripted",
            str(source),
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
    tmp_path: Path, repository: Path, shared_dir: Path, tiny_guard: Any, whole_tables: bool
) -> None:
    """250 public responses (``make test-whole``: 750), a real guard, the real command: 0 rows lost."""
    rows_there, chunk_rows = (750, 128) if whole_tables else (250, 32)
    folder, source = tmp_path / "guard", tmp_path / "in.jsonl"
    lines = (shared_dir / "data" / "xstest_responses.jsonl").read_text().splitlines(keepends=True)
    source.write_text("".join(lines[:: len(lines) // rows_there]))
    tiny_guard.model.save_pretrained(folder)
    tiny_guard.tokenizer.save_pretrained(folder)

    def command(target: Path) -> list[str]:
        arguments = [str(source), str(target), "--guard", str(folder), "--device", "cpu", "--quiet"]
        arguments += ["--chunk-rows", str(chunk_rows)]
        return [sys.executable, "-m", "guard_reward.cli", "moderate", *arguments]

    target, unbroken = tmp_path / "out.jsonl", tmp_path / "unbroken.jsonl"
    journal = tmp_path / "out.jsonl.journal"
    first = kill_after(command(target), journal, rows_there // 8, repository)
    kill_after(command(target), journal, first + rows_there // 5, repository)
    subprocess.run(command(target), cwd=repository, check=True, timeout=500)
    subprocess.run(command(unbroken), cwd=repository, check=True, timeout=500)
    assert target.read_bytes() == unbroken.read_bytes()
    rows, results = read_jsonl(source), read_jsonl(target)
    assert [{key: result[key] for key in row} for row, result in zip(rows, results, strict=True)] == rows
    # Real English is nonsense to this guard, and often no verdict comes of it: a named outcome, with the guard's words.
    outcomes = {result["guard_outcome"] for result in results}
    assert outcomes == {"scored", "no_verdict"}
    assert all(result["guard_reason"] for result in results if result["guard_outcome"] == "no_verdict")
    assert len(results) == rows_there


def test_the_journal_is_on_the_disk_before_the_next_chunk(tmp_path: Path, many: Path, monkeypatch: Any) -> None:
    """Power may fail as well: every finished chunk is synced."""
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor))[1])
    moderate(many, tmp_path / "out.jsonl", chunk_rows=10)
    assert len(synced) == 1 + 10 + 1  # header, chunks, output


def test_a_journal_of_version_0_1_is_resumed(tmp_path: Path) -> None:
    """It does not name the guard's specification, which was Qwen3Guard's."""
    job = {"guard": "some/guard", "judged": "'prompt'"}
    with Journal(tmp_path / "journal", job) as old:
        old.append([["scored"]])
    with Journal(tmp_path / "journal", {**job, "spec": "qwen3guard"}) as journal:
        assert journal.row_count == 1
    with pytest.raises(UserError, match="spec was 'qwen3guard', now 'other'"):
        Journal(tmp_path / "journal", {**job, "spec": "other"})
