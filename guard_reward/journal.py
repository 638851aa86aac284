"""The finished chunks of a long job, so that a killed run can resume.

A journal is a file of JSON lines next to the output. The first line describes the job (input, guard, options); every
other line is one finished chunk of results. A line counts if it ends in a newline and is on the disk, so a kill loses
at most the current chunk. A file of that name that does not begin as a journal is somebody else's: it is never changed.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Self

from guard_reward.errors import UserError
from guard_reward.files import naming, write_or_undo

__all__ = ["Journal"]

Result = list[Any]
"""The values of the added columns for one row."""

_VERSION = 1
_BEGINNING = b'{"journal": '
# What journals of version 0.1 do not say.
_NOT_IN_OLD_JOURNALS = {"spec": "qwen3guard"}


class Journal:
    """The finished rows of one job. It is a context manager; while it is open, no second run can open it.

    Attributes:
        row_count: number of finished rows, counted from the first row.
        is_new: no run had begun this journal.
    """

    def __init__(self, path: Path, job: Mapping[str, str], *, restart: bool = False):
        """Open the journal of `job`, or create it.

        Raises:
            UserError: the journal belongs to another job, is damaged, or is being written by another process; or the
                file at `path` is not a journal.
            OSError: the file cannot be opened or written.
        """
        self.path = path
        self.row_count = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_locked(path)
        try:
            self.is_new = self._check_beginning()
            if restart:
                self._file.truncate(0)
            self._recover(dict(job))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, results: list[Result]) -> None:
        """Record the next rows' results and sync them to the disk.

        Raises:
            OSError: the disk is full; names the journal, in which no half line stays.
        """
        self._write({"start": self.row_count, "results": results})
        self.row_count += len(results)

    def results(self) -> Iterator[Result]:
        """All finished rows' results, in order. Do not append before the last one."""
        lines = self._lines()
        next(lines)
        for line in lines:
            yield from json.loads(line)["results"]

    def remove(self) -> None:
        """Delete the journal of a finished job."""
        self.path.unlink(missing_ok=True)

    def _write(self, record: dict[str, Any]) -> None:
        data = json.dumps(record).encode() + b"\n"
        with naming(self.path):
            write_or_undo(self._file, data, os.fstat(self._file.fileno()).st_size, sync=True)

    def _lines(self) -> Iterator[bytes]:
        """All lines, read from the beginning."""
        with os.fdopen(os.dup(self._file.fileno()), "rb") as file:
            file.seek(0)
            yield from file

    def _check_beginning(self) -> bool:
        """Whether the file is empty; a file with anything but (the begin of) a journal in it is refused."""
        self._file.seek(0)
        found = self._file.read(len(_BEGINNING))
        if not _BEGINNING.startswith(found):
            raise _not_a_journal(self.path, "its content is something else")
        return not found

    def _recover(self, job: dict[str, str]) -> None:
        """Check the header, count the finished rows, and remove a last line that a kill left unfinished."""
        whole = 0  # bytes of complete lines
        for number, line in enumerate(self._lines()):
            if not line.endswith(b"\n"):
                break
            record = self._parse(line, number)
            if number == 0:
                self._check_job(record.get("job", {}), job)
            elif record.get("start") != self.row_count or not _is_results(record.get("results")):
                raise self._damaged(number)
            else:
                self.row_count += len(record["results"])
            whole += len(line)
        self._file.truncate(whole)
        if whole == 0:
            self._write({"journal": _VERSION, "job": job})

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._damaged(number) from error
        if not isinstance(record, dict) or (number == 0 and record.get("journal") != _VERSION):
            raise self._damaged(number)
        return record

    def _damaged(self, number: int) -> UserError:
        return UserError(f"journal '{self.path}' is damaged in line {number + 1}: use --restart to start over")

    def _check_job(self, found: Any, job: dict[str, str]) -> None:
        if not isinstance(found, dict):
            raise self._damaged(0)
        found = {**{key: value for key, value in _NOT_IN_OLD_JOURNALS.items() if key in job}, **found}
        changed = [
            f"{key} was {found.get(key)!r}, now {job.get(key)!r}"
            for key in {**found, **job}
            if found.get(key) != job.get(key)
        ]
        if changed:
            raise UserError(
                f"'{self.path}' is the journal of another unfinished run ({'; '.join(changed)}); "
                "finish that run, write to another output, or use --restart to discard its work"
            )


def _is_results(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(result, list) for result in value)


def _not_a_journal(path: Path, why: str) -> UserError:
    return UserError(f"'{path}' is not a journal of guard-reward: {why}; move it away, or choose another output")


def _open_locked(path: Path) -> FileIO:
    """The journal at `path`, created if there is none, and locked until it is closed."""
    while True:
        file = _open_regular(path)
        try:
            _lock(file, path)
            if _is_still_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the run that had locked it has finished and deleted it


def _open_regular(path: Path) -> FileIO:
    """Open the file to read and append, without following a link: whatever a link leads to is no journal of ours."""
    if path.is_symlink():
        raise _not_a_journal(path, "it is a link")
    # O_NOFOLLOW: a link that appears just now. O_NONBLOCK: opening a pipe must not wait for its other end. Windows has
    # neither flag.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return FileIO(descriptor, "a+b")  # without a buffer, which would be written again on closing after a full disk
    os.close(descriptor)
    raise _not_a_journal(path, "it has a second name" if stat.S_ISREG(status.st_mode) else "it is no regular file")


def _is_still_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _lock(file: FileIO, path: Path) -> None:
    """Lock the file until it is closed (not on Windows)."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another process is writing '{path}': wait for it, or choose another output") from None
