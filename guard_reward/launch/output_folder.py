"""A run has its output folder for itself, and says in one line when there is no room left in it.

    with launch.own_output(args):
        train(…)

Two runs in one folder would overwrite each other's checkpoints. The lock is the system's: a killed run holds it no
longer. Temporary files that a killed run has left are removed.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from guard_reward.errors import UserError
from guard_reward.files import remove_leftovers

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["LOCK_FILE", "is_out_of_space", "own_output"]

LOCK_FILE = ".run.lock"
_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# torch.save and safetensors have no error number.
_SAID = re.compile(r"no space left on device|disk quota exceeded|file too large|os error (28|122|27)\b", re.IGNORECASE)
_TORCH_SAVE = re.compile(r"inline_container\.cc.*unexpected pos|PytorchStreamWriter failed")


@contextmanager
def own_output(args: TrainingArguments) -> Iterator[None]:
    """Keep other runs out of ``output_dir``; the main process does, for all.

    Args:
        args: the trainer's settings.

    Raises:
        UserError: another run writes there, and which; the folder cannot be written; the disk is full, and what was
            written last.

    Example:
        >>> with own_output(GRPOConfig(output_dir="runs/first")):  # doctest: +SKIP
        ...     trainer.train()
    """
    folder = Path(args.output_dir)
    with ExitStack() as stack:
        if args.process_index == 0:
            stack.enter_context(_locked(folder))
        try:
            yield
        except Exception as error:
            if not is_out_of_space(error):
                raise
            raise UserError(
                f"output_dir: no space left {_where(error, folder)}. The checkpoints before it are whole: make room "
                "and give the same command again with --resume_from_checkpoint auto"
            ) from error


def is_out_of_space(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the disk, a quota or the longest file's size is reached.

    >>> is_out_of_space(OSError(28, "No space left on device")), is_out_of_space(OSError(2, "No such file"))
    (True, False)
    """
    while error is not None:
        text = str(error)
        if isinstance(error, OSError) and error.errno in _OUT_OF_SPACE:
            return True
        if not isinstance(error, OSError) and (_SAID.search(text) or _TORCH_SAVE.search(text)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock(folder)
    except OSError as error:
        raise UserError(f"output_dir: '{folder}' cannot be written: {error.strerror or error}") from error
    try:
        for path in {path.with_suffix("").with_suffix("") for path in folder.glob("*.part")}:
            remove_leftovers(path)
        yield
    finally:
        (folder / LOCK_FILE).unlink(missing_ok=True)
        file.close()
        if is_new:  # a mistake in the settings leaves no folder
            with suppress(OSError):  # there is something in it
                folder.rmdir()


def _lock(folder: Path) -> FileIO:
    """The lock file, locked until it is closed (not on Windows)."""
    path = folder / LOCK_FILE
    while True:
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            _try_to_lock(file, folder)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the run that had locked it has ended and removed it


def _try_to_lock(file: FileIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: a fork would keep it when this process is killed
    except (BlockingIOError, PermissionError):
        owner = file.read().decode(errors="replace") or "process unknown"
        raise UserError(
            f"output_dir: another run ({owner}) writes to '{folder}': wait for it, or give another --output_dir"
        ) from None
    except OSError:  # a file system without locks
        return


def _where(error: BaseException | None, folder: Path) -> str:
    """The file that could not be written, if an error names it, or the one that was written last."""
    while error is not None:
        if isinstance(error, OSError) and error.filename is not None:
            return f"for '{error.filename}'"
        error = error.__cause__ or error.__context__
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    found = max(files, key=lambda path: path.stat().st_mtime_ns, default=folder)
    return f"in '{folder}', where '{found.relative_to(folder)}' was written last"
