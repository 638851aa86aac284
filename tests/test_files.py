"""Whole-file writes: the old file or the new one, whatever links and files are around."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guard_reward.files import check_writable, replacing, without_link


class Failure(Exception):
    pass


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def content_of(folder: Path) -> dict[str, str]:
    """All that is in a folder: a file's text, or where a link leads to."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def write(target: Path, *, error: type[BaseException] | None = None) -> None:
    with replacing(target) as part:
        assert part.parent == without_link(target).parent
        part.write_text("new")
        if error:
            raise error


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_is_there_at_the_end_only(tmp_path: Path, before: str | None) -> None:
    target = tmp_path / "a" / "b" / "out.txt"
    if before:
        target.parent.mkdir(parents=True)
        target.write_text(before)
    with replacing(target) as part:
        part.write_text("new")
        assert part.parent == target.parent
        assert (target.read_text() if target.exists() else None) == before
    assert content_of(tmp_path) == {"a/b/out.txt": "new"}


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("error", [Failure, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("moment", ["before writing", "half-way", "the part is gone"])
def test_after_an_exception_all_is_as_it_was(
    tmp_path: Path, before: str | None, error: type[BaseException], moment: str
) -> None:
    target = tmp_path / "out.txt"
    if before:
        target.write_text(before)

    def fail() -> None:
        with replacing(target) as part:
            if moment == "half-way":
                part.write_text("ne")
            if moment == "the part is gone":
                part.unlink()
            raise error

    with pytest.raises(error):
        fail()
    assert content_of(tmp_path) == ({"out.txt": before} if before else {})


def test_a_part_that_somebody_has_deleted_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "out.txt") as part:
        part.unlink()
    assert content_of(tmp_path) == {"out.txt": "old"}


@pytest.mark.parametrize(
    ("links", "real"),
    [
        ({"link": "real/out.txt"}, "real/out.txt"),
        ({"link": "second", "second": "real/out.txt"}, "real/out.txt"),
        ({"link": "real/third", "real/third": "out.txt"}, "real/out.txt"),
        ({"link": "new folder/out.txt"}, "new folder/out.txt"),  # leads to nothing yet
    ],
)
def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced(
    tmp_path: Path, links: dict[str, str], real: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "out.txt").write_text("old")
    for name, goal in links.items():
        (tmp_path / name).symlink_to(goal)
    before = content_of(tmp_path)
    assert without_link(tmp_path / "link") == tmp_path / real
    with pytest.raises(Failure):
        write(tmp_path / "link", error=Failure)
    assert content_of(tmp_path) == before
    write(tmp_path / "link")
    assert content_of(tmp_path) == before | {real: "new"}


def test_without_link_changes_no_other_path(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path)
    for path in (Path("a/../b"), tmp_path / "none", tmp_path / "folder" / "none"):
        assert without_link(path) == path


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", ["out.txt.part", "out.part", ".out.txt.part"])
@pytest.mark.parametrize("kind", ["file", "link", "link to nothing"])
def test_what_the_user_calls_part_is_left_alone(tmp_path: Path, name: str, kind: str, fails: bool) -> None:
    (tmp_path / "victim").write_text("the user's")
    if kind == "file":
        (tmp_path / name).write_text("the user's")
    else:
        (tmp_path / name).symlink_to("victim" if kind == "link" else "nothing")
    before = content_of(tmp_path)
    if fails:
        with pytest.raises(Failure):
            write(tmp_path / "out.txt", error=Failure)
        assert content_of(tmp_path) == before
    else:
        write(tmp_path / "out.txt")
        assert content_of(tmp_path) == before | {"out.txt": "new"}


@pytest.mark.parametrize("kind", ["file", "link", "link to nothing"])
def test_a_part_of_the_very_same_name_is_never_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Even if the random name is taken, or guessed by somebody who has put a link there."""
    monkeypatch.setattr("secrets.token_hex", lambda size: "ab" * size)
    with replacing(tmp_path / "out.txt") as part:
        pass
    (tmp_path / "victim").write_text("the user's")
    if kind == "file":
        part.write_text("the user's")
    else:
        part.symlink_to("victim" if kind == "link" else "nothing")
    before = content_of(tmp_path)
    with pytest.raises(FileExistsError):
        write(tmp_path / "out.txt")
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(
    ("first_fails", "second_fails", "expected"),
    [(False, False, "first"), (True, False, "second"), (False, True, "first"), (True, True, "old")],
)
def test_two_writers_do_not_disturb_each_other(
    tmp_path: Path, first_fails: bool, second_fails: bool, expected: str
) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")

    def run(text: str, fails: bool, meanwhile: Any = lambda: None) -> None:
        try:
            with replacing(target) as part:
                part.write_text(text)
                meanwhile()
                assert part.read_text() == text
                if fails:
                    raise Failure
        except Failure:
            assert fails

    run("first", first_fails, lambda: run("second", second_fails))
    assert content_of(tmp_path) == {"out.txt": expected}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666, 0o444])
@pytest.mark.parametrize("by_link", [False, True])
def test_a_replaced_file_passes_on_its_permissions(tmp_path: Path, mode: int, by_link: bool) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    target.chmod(mode)
    (tmp_path / "link").symlink_to("out.txt")
    with replacing(tmp_path / ("link" if by_link else "out.txt")) as part:
        part.write_text("new")
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", mode)


@pytest.fixture
def other_group() -> int:
    """A group that the tests' files do not have of themselves, and that may be given to them."""
    if os.geteuid() == 0:
        return 1234
    groups = set(os.getgroups()) - {os.getegid()}
    return groups.pop() if groups else pytest.skip("only root gives files to groups that it is not in")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o604, 0o2640])
def test_a_replaced_file_passes_on_its_group(tmp_path: Path, other_group: int, mode: int) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    os.chown(target, -1, other_group)
    target.chmod(mode)
    write(target)
    after = target.stat()
    assert (target.read_text(), after.st_gid, stat.S_IMODE(after.st_mode)) == ("new", other_group, mode)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o600, 0o600),
        (0o640, 0o600),  # the new group could not read
        (0o604, 0o600),  # the old group could not read, and is among the others now
        (0o644, 0o644),
        (0o664, 0o644),
        (0o2775, 0o755),
    ],
)
def test_without_the_right_to_pass_on_the_group_nobody_gains(
    tmp_path: Path, other_group: int, monkeypatch: pytest.MonkeyPatch, mode: int, expected: int
) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    os.chown(target, -1, other_group)
    target.chmod(mode)

    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr("os.chown", refuse)
    write(target)
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", expected)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    os.umask(umask)
    write(tmp_path / "out.txt")
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == mode


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "火" * 85, "out"])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert content_of(tmp_path) == {name: "new"}


@pytest.mark.parametrize("existing", [False, True])
def test_checking_changes_nothing_but_makes_the_folder(tmp_path: Path, existing: bool) -> None:
    target = tmp_path / "folder" / "out.txt"
    if existing:
        target.parent.mkdir()
        target.write_text("old")
    check_writable(target)
    assert target.parent.is_dir()
    assert content_of(tmp_path) == ({"folder/out.txt": "old"} if existing else {})


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    for action in (check_writable, write):
        with pytest.raises(OSError, match="file"):
            action(tmp_path / "file" / "out.txt")
    assert content_of(tmp_path) == {"file": "a file"}
