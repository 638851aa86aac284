"""A user's mistake is one line, not a traceback: the error class, the handler that shows it, and short texts for both.

    with clean_errors():                 # a training script
        main()

Standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

__all__ = ["LOADING_ERRORS", "UserError", "clean_errors", "first_paragraph", "one_line", "shortened"]

# What loading a model raises for a wrong name, device or dtype, or a package that it needs. Torch raises an
# AssertionError for a device that it was not built for, and an AttributeError for an unknown dtype.
LOADING_ERRORS = (OSError, ValueError, ImportError, RuntimeError, AssertionError, AttributeError, MemoryError)

# Which extra of this package installs a missing module.
_EXTRA_OF = {
    "accelerate": "trl",
    "datasets": "evaluation",
    "httpx": "served",
    "inspect_ai": "inspect",
    "modelscope_hub": "modelscope",
    "plotly": "report",
    "pydantic": "served",
    "scipy": "evaluation",
    "sklearn": "evaluation",
    "tenacity": "served",
    "trl": "trl",
    "vllm": "vllm",
}


class UserError(ValueError):
    """A mistake in a config file, on the command line or in the data; the message names the field and the fix."""


@contextmanager
def clean_errors(program: str = "", *, status: int = 1) -> Iterator[None]:
    """Report a `UserError` in one line on standard error and exit with `status`; bugs keep their traceback.

    Args:
        program: the name of a command-line program. It starts the line, and three more errors are reported in one
            line: a failed file operation, a missing package (with the extra to install) and an interrupt (status 130)
            or SIGTERM (143). Without a name this is a training script. Every rank reports its own error, since some
            (out of memory) happen on one rank only.
        status: the exit status; another than 1 for a program to which 1 means something else.
    """
    prefix = f"{program}: " if program else _rank_prefix()
    try:
        with _terminating() if program else nullcontext():
            yield
    except UserError as error:
        _exit(f"{prefix}error: {one_line(error)}", error, status)
    except BrokenPipeError:  # the reader of our output has gone: `guard-reward … | head`
        raise
    except (ModuleNotFoundError, OSError) as error:
        message = _message(error)
        if not program or message is None:
            raise
        _exit(f"{prefix}error: {message}", error, status)
    except KeyboardInterrupt as error:
        if not program:
            raise
        _exit(f"{prefix}stopped", error, status=143 if isinstance(error, _Terminated) else 130)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which then ends a program as an interrupt does: temporary files are removed, locks given back."""


@contextmanager
def _terminating() -> Iterator[None]:
    """Raise `_Terminated` on SIGTERM, unless somebody else handles it or this is not the main thread."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def terminate(*_: object) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(line: str, cause: BaseException, status: int = 1) -> None:
    sys.stderr.write(f"{line}\n")  # in one write, because ranks share a terminal
    raise SystemExit(status) from cause


def _rank_prefix() -> str:
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
    return "" if rank == "0" else f"[rank {rank}] "


def _message(error: ModuleNotFoundError | OSError) -> str | None:
    """The error in one line; None for a missing module that no extra installs, which is a bug."""
    if isinstance(error, OSError):
        return one_line(error)
    extra = _EXTRA_OF.get((error.name or "").split(".")[0])
    return extra and f"{error.name} is missing: pip install 'guard-reward[{extra}]'"


def one_line(text: object) -> str:
    """An error or text on one line: every run of white space becomes one space, and what is invisible its escape.

    Messages quote files, which may hold the control codes of a terminal.

    >>> one_line(ValueError("no such\\n  column"))
    'no such column'
    >>> print(one_line("\\x1b[2J"))
    \\x1b[2J
    """
    line = " ".join(str(text).split())
    return line if line.isprintable() else "".join(map(_printable, line))


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def first_paragraph(error: BaseException) -> str:
    """An error's first paragraph on one line, or its class if it has no text.

    >>> first_paragraph(OSError("no such   model\\n\\nSee the docs.")), first_paragraph(AssertionError())
    ('no such model', 'AssertionError')
    """
    return one_line(str(error).strip().split("\n\n")[0]) or type(error).__name__


def shortened(value: object, limit: int = 80) -> str:
    """A value's ``repr``, cut to `limit` characters with ``...`` at the end.

    >>> shortened("a long text", limit=9)
    "'a lon..."
    """
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
