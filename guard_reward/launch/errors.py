"""What a user got wrong, in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LaunchError", "clean_errors"]


class LaunchError(ValueError):
    """A mistake in a config file, on the command line or in the data; the message names the field and the fix."""


@contextmanager
def clean_errors() -> Iterator[None]:
    """End the program with one line where the user made a mistake; any other error keeps its traceback.

    All ranks make the same mistake; the first one of each machine says it.
    """
    try:
        yield
    except LaunchError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
