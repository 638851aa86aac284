"""What a user got wrong, in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LOADING_ERRORS", "UserError", "clean_errors", "first_paragraph"]

# What loading a model raises where its name, device or dtype is wrong: torch has an AssertionError for a device that it
# was not built for, and an AttributeError for an unknown dtype.
LOADING_ERRORS = (OSError, ValueError, RuntimeError, AssertionError, AttributeError)


class UserError(ValueError):
    """A mistake in a config file, on the command line or in the data; the message names the field and the fix."""


@contextmanager
def clean_errors() -> Iterator[None]:
    """End the program with one line where the user made a mistake; any other error keeps its traceback.

    Most mistakes are those of all ranks, but a GPU without memory is that of one: each rank says its own, and which it
    is.
    """
    try:
        yield
    except UserError as error:
        rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
        text = " ".join(str(error).split())
        # In one write: ranks share a terminal.
        sys.stderr.write(f"error: {text}\n" if rank == "0" else f"[rank {rank}] error: {text}\n")
        raise SystemExit(1) from error


def first_paragraph(error: BaseException) -> str:
    """What an error says first, in one line; its class where it says nothing.

    >>> first_paragraph(OSError("no such   model")), first_paragraph(AssertionError())
    ('no such model', 'AssertionError')
    """
    return " ".join(str(error).strip().split("\n\n")[0].split()) or type(error).__name__
