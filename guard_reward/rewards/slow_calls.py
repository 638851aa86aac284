"""Log, every five minutes, that a guard or a helpfulness function has not returned yet.

It is not stopped: a thread cannot be, and would go on using the model. A function that may hang needs a time limit of
its own, as served guards have.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["said_if_slow"]

logger = logging.getLogger(__name__)
SECONDS = 300.0  # between two lines


@contextmanager
def said_if_slow(what: str, rows: int) -> Iterator[None]:
    """Log a line every five minutes until the block ends.

    Args:
        what: the function that is waited for, for the log.
        rows: how many it was given.
    """
    done = threading.Event()
    thread = threading.Thread(target=_say, args=(what, rows, done), daemon=True, name="said_if_slow")
    thread.start()
    try:
        yield
    finally:
        done.set()


def _say(what: str, rows: int, done: threading.Event) -> None:
    waited = 0.0
    while not done.wait(SECONDS):
        waited += SECONDS
        logger.warning(
            "waiting for %s for %.0f s (%d rows): if it hangs, give it a time limit of its own", what, waited, rows
        )
