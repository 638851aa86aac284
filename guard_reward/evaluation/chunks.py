"""A long job over many items, chunk by chunk, with a journal: killed and started again, it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from guard_reward.errors import UserError
from guard_reward.files import check_writable, remove_leftovers
from guard_reward.journal import Journal, Result
from guard_reward.progress_bars import progress_bar

__all__ = ["fingerprint", "journal_of", "run_in_chunks", "seed_of_chunk"]

Item = TypeVar("Item")


@contextmanager
def journal_of(
    out: Path, files: Sequence[str], job: Mapping[str, str], *, overwrite: bool, restart: bool
) -> Iterator[Journal]:
    """The journal of a job whose results go to a folder; removed at the end, if there was no error.

    Args:
        out: the folder. It is made, and must be writable.
        files: names of the results' files; the journal stands beside the first one.
        job: what decides the results.
        overwrite: replace the first file if it exists.
        restart: begin anew, even if the journal has finished items.

    Raises:
        UserError: the first file exists; the journal is another job's, or of another process.
        OSError: the folder cannot be made or written to.
    """
    target = out / files[0]
    check_writable(target)
    with Journal(target.with_name(f"{target.name}.journal"), job, restart=restart) as journal:
        if journal.is_new and target.exists() and not overwrite:
            journal.remove()
            raise UserError(f"'{target}' exists: use --overwrite to replace it, or choose another folder")
        for name in files:
            remove_leftovers(out / name)
        yield journal
        journal.remove()


def run_in_chunks(
    journal: Journal,
    items: Sequence[Item],
    work: Callable[[Sequence[Item], int], list[Result]],
    *,
    size: int,
    label: str,
    progress: bool,
) -> None:
    """Do what the journal does not have yet.

    Args:
        journal: gets one result per item. Chunks begin at multiples of `size`, so a resumed job forms the same ones.
        items: all of them.
        work: a chunk and the number of its first item → one result per item.
        size: items per chunk; a kill loses at most so many.
        label: of the progress bar, which shows rate and remaining time.
        progress: whether it is shown, on standard error.
    """
    done = journal.row_count
    with progress_bar(len(items), label, "prompt", done=done, shown=progress) as bar:
        for begin in range(done, len(items), size):
            chunk = items[begin : begin + size]
            journal.append(work(chunk, begin))
            bar.update(len(chunk))


def seed_of_chunk(seed: int, begin: int) -> int:
    """The seed of the chunk that begins with item `begin`: the same whether the job was interrupted or not.

    >>> seed_of_chunk(0, 0) == seed_of_chunk(0, 0), seed_of_chunk(0, 0) == seed_of_chunk(0, 32)
    (True, False)
    """
    digest = hashlib.blake2b(f"{seed} {begin}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 2**31


def fingerprint(value: Any) -> str:
    """A short hash of JSON values, to recognise the same input.

    >>> fingerprint({"a": 1}) == fingerprint({"a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
