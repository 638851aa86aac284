"""The finished chunks of a long job, so that a killed run can resume.

A journal is a file of JSON lines next to the output. The first line describes the job (input, guard, options); every
other line is one finished chunk of results. A line counts if it ends in a newline and is on the disk, so a kill loses
at most the current chunk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

from guard_reward.errors import UserError

__all__ = ["Journal"]

Result = list[Any]
"""The values of the added columns for one row."""

_VERSION = 1
# What journals of version 0.1 do not say.
_NOT_IN_OLD_JOURNALS = {"spec": "qwen3guard"}


class Journal:
    """The finished rows of one job. It is a context manager; while it is open, no second run can open it.

    Attributes:
        row_count: number of finished rows, counted from the first row.
    """

    def __init__(self, path: Path, job: Mapping[str, str], *, restart: bool = False):
        """Open the journal of `job`, or create it.

        Raises:
            UserError: the journal belongs to another job, is damaged, or is being written by another process.
        """
        self.path = path
        self.row_count = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("a+b")
        try:
            _lock(self._file, path)
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
        """Record the next rows' results and sync them to the disk."""
        self._write({"start": self.row_count, "results": results})
        self.row_count += len(results)

    def results(self) -> Iterator[Result]:
        """All finished rows' results, in order."""
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                yield from json.loads(line)["results"]

    def remove(self) -> None:
        """Delete the journal of a finished job."""
        self.path.unlink(missing_ok=True)

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _recover(self, job: dict[str, str]) -> None:
        """Check the header, count the finished rows, and remove a last line that a kill left unfinished."""
        self._file.seek(0)
        whole = 0  # bytes of complete lines
        for number, line in enumerate(self._file):
            if not line.endswith(b"\n"):
                break
            record = self._parse(line, number)
            if number == 0:
                self._check_job(record.get("job", {}), job)
            elif record.get("start") != self.row_count or not isinstance(record.get("results"), list):
                raise self._damaged(number)
            else:
                self.row_count += len(record["results"])
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)
        if whole == 0:
            self._write({"journal": _VERSION, "job": job})

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise self._damaged(number) from error
        if not isinstance(record, dict) or (number == 0 and record.get("journal") != _VERSION):
            raise self._damaged(number)
        return record

    def _damaged(self, number: int) -> UserError:
        return UserError(f"journal '{self.path}' is damaged in line {number + 1}: use --restart to start over")

    def _check_job(self, found: dict[str, str], job: dict[str, str]) -> None:
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


def _lock(file: IO[bytes], path: Path) -> None:
    """Lock the file until it is closed (not on Windows)."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another process is writing '{path}': wait for it, or choose another output") from None
