"""Whole-file writes: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

__all__ = [
    "append_lines",
    "check_writable",
    "keep_aside",
    "naming",
    "remove_leftovers",
    "replacing",
    "without_link",
    "write_or_undo",
]

_NAME_KEPT = 40  # characters of the file's name in the temporary file's, which must not become too long


def without_link(path: Path) -> Path:
    """The path that a symbolic link leads to; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def keep_aside(path: Path) -> None:
    """Move a file of an earlier run out of the way: ``log.jsonl`` becomes ``log.1.jsonl``, or the first free number.

    Raises:
        OSError: it cannot be moved.
    """
    number = 1
    while (other := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(other)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path next to `target` to write to; on leaving without an error it replaces `target` in one step.

    If `target` is a link, the file that it leads to is replaced. The temporary file is a new one with a random name:
    no file of the user's is overwritten, and no link followed. A killed process leaves it behind, see
    `remove_leftovers`. A file that is replaced passes on its permissions and its group; until then only its owner can
    read the new one.

    Raises:
        OSError: the folder cannot be made or written to, or the disk is full; names the file.
    """
    target = without_link(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name[:_NAME_KEPT]}.{secrets.token_hex(8)}.part")
    # O_EXCL: fails if there is a file or a link of that name.
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if target.exists() else 0o666))
    try:
        with naming(target):
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            if target.exists():
                _pass_on_access(target.stat(), part)
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an `OSError` of a write the file's name, which the system does not tell: ``No space left on device: 'out'``.

    >>> with naming(Path("out.jsonl")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'out.jsonl'
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = os.fspath(path)
        raise


def remove_leftovers(target: Path) -> None:
    """Remove the temporary files that killed processes have left of `target`; no other process may be writing it."""
    name = re.compile(re.escape(without_link(target).name[:_NAME_KEPT]) + r"\.[0-9a-f]{16}\.part")
    folder = without_link(target).parent
    for path in folder.iterdir() if folder.is_dir() else ():
        if name.fullmatch(path.name):
            with suppress(OSError):  # it only wastes space
                path.unlink()


def _pass_on_access(old: os.stat_result, part: Path) -> None:
    """Give `part` the old file's group and permissions; without the right to give away the group, fewer permissions."""
    mode = stat.S_IMODE(old.st_mode)
    if part.stat().st_gid != old.st_gid:
        try:
            os.chown(part, -1, old.st_gid)
        except OSError:
            # Everybody but the owner may have been in the old group or not: what both could do remains.
            both = mode >> 3 & mode & 0o7
            mode = mode & 0o700 | both << 3 | both
    part.chmod(mode)  # behind chown, which takes bits away


class _NotNow(Exception):
    """Leaves `replacing` before it replaces anything."""


def check_writable(target: Path) -> None:
    """Make the folder of `target` and, for a moment, the temporary file of `replacing`; `target` stays as it is.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    try:
        with replacing(target):
            raise _NotNow
    except _NotNow:
        pass


def append_lines(path: Path, lines: str) -> None:
    """Add whole lines to a file, behind its last line break: what a killed process has left half written is removed.

    Raises:
        OSError: the file cannot be written, as on a full disk; no half line stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for each line: the file may be moved or removed while the run goes on.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with open(descriptor, "r+b", buffering=0) as file:
        end = _end_of_lines(file)
        file.truncate(end)
        file.seek(end)
        write_or_undo(file, lines.encode(), end)


def write_or_undo(file: FileIO, data: bytes, end: int, *, sync: bool = False) -> None:
    """Write all data at the end of a file, or, as on a full disk, none of it.

    Args:
        file: without a buffer, at its end.
        data: what is written.
        end: where that is.
        sync: wait until the disk has it.

    Raises:
        OSError: the file is as it was.
    """
    try:
        _write_all(file, data)
        if sync:
            os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def _write_all(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _end_of_lines(file: FileIO) -> int:
    """Behind the last line break: what follows was half written by a process that was killed."""
    end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - 2**16)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0
