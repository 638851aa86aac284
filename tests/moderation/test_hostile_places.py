"""Links and files of the user's beside the output, or at its own or its journal's place: none is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guard_reward.journal import Journal
from tests.moderation.files import content_of, judged, moderate, read_jsonl, refused, write_jsonl

JOB = b'{"journal": 1, "job": {}}\n'


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"restart": True}])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a private key without newline", "its content is something else"),
        (b"notes\nof the user's\n", "its content is something else"),
        (b"\x00\xff\x89PNG\r\n" * 9, "its content is something else"),
        (b"\n", "its content is something else"),
        (b'{"prompt": "rows of the user\'s"}\n', "its content is something else"),
        (b"-> victim", "it is a link"),
        (b"-> nothing", "it is a link"),
        (b"-> journal", "it is a link"),  # to a true journal
        (b"= victim", "it has a second name"),
    ],
)
def test_what_is_no_journal_stays_as_it_is(tmp_path: Path, content: bytes, why: str, options: dict[str, bool]) -> None:
    (tmp_path / "victim").write_bytes(b"a private key without newline")
    (tmp_path / "journal").write_bytes(JOB)
    journal = tmp_path / "out.jsonl.journal"
    if content.startswith(b"-> "):
        journal.symlink_to(content.decode().removeprefix("-> "))
    elif content.startswith(b"= "):
        journal.hardlink_to(tmp_path / content.decode().removeprefix("= "))
    else:
        journal.write_bytes(content)
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Q?"}])
    message = rf"out\.jsonl\.journal' is not a journal of guard-reward: {why}; move it away, or choose another output"
    refused(source, tmp_path / "out.jsonl", message, **options)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="Windows cannot refuse a link while it opens a file")
@pytest.mark.parametrize("goal", ["victim", "nothing"])
def test_a_link_that_appears_while_the_journal_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goal: str
) -> None:
    (tmp_path / "victim").write_bytes(b"a private key without newline")
    (tmp_path / "journal").symlink_to(goal)
    before, answers, is_symlink = content_of(tmp_path), [False], Path.is_symlink
    monkeypatch.setattr(Path, "is_symlink", lambda path: answers.pop() if answers else is_symlink(path))
    with pytest.raises(OSError, match="symbolic link"):
        Journal(tmp_path / "journal", {})
    assert content_of(tmp_path) == before


def test_a_pipe_of_the_journals_name_does_not_stop_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.jsonl.journal")
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Q?"}])
    refused(source, tmp_path / "out.jsonl", "not a journal of guard-reward: it is no regular file")


@pytest.mark.parametrize("name", ["out{}.part", "out.part", ".out{}.part"])
@pytest.mark.parametrize("kind", ["file", "link", "link to nothing"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_what_the_user_calls_part_stays_as_it_is(tmp_path: Path, suffix: str, name: str, kind: str) -> None:
    (tmp_path / "victim").write_text("the user's")
    part = tmp_path / name.format(suffix)
    if kind == "file":
        part.write_text("the user's")
    else:
        part.symlink_to("victim" if kind == "link" else "nothing")
    source = tmp_path / f"in{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"prompt": ["a bomb"]}), source)
    else:
        source.write_text("prompt\na bomb\n" if suffix == ".csv" else '{"prompt": "a bomb"}\n')
    rows, asked = judged(source, tmp_path / f"out{suffix}")  # which compares the folder
    assert asked == ["a bomb"]
    assert [row["guard_severity"] for row in rows] == ["Unsafe"]
    assert not (tmp_path / f"out{suffix}").is_symlink()


@pytest.mark.parametrize("links", [{"out.jsonl": "real.jsonl"}, {"out.jsonl": "second", "second": "real.jsonl"}])
def test_an_output_that_is_a_link(tmp_path: Path, links: dict[str, str]) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": "a bomb"}])
    (tmp_path / "real.jsonl").write_text("old")
    for name, goal in links.items():
        (tmp_path / name).symlink_to(goal)
    before = content_of(tmp_path)
    refused(source, tmp_path / "out.jsonl", r"output '.*real\.jsonl' exists: use --overwrite")
    moderate(source, tmp_path / "out.jsonl", overwrite=True)
    after = content_of(tmp_path)
    assert after == before | {"real.jsonl": after["real.jsonl"]}  # the links stay links
    assert read_jsonl(tmp_path / "real.jsonl")[0]["guard_severity"] == "Unsafe"


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ("in.jsonl", "is both input and output: write to another file"),
        ("out.jsonl", "is no regular file: name another one"),  # leads to itself
        ("/dev/null", "is no regular file: name another one"),
        (".", "is a folder: name a file in it"),
    ],
)
def test_an_output_that_is_a_link_to_what_cannot_be_written(tmp_path: Path, goal: str, message: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"prompt": "Q?"}])
    (tmp_path / "out.jsonl").symlink_to(goal)
    refused(source, tmp_path / "out.jsonl", message, overwrite=True)
