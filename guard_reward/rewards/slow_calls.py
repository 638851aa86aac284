"""A guard or a helpfulness function that hangs is said so in the log, again and again, while the trainer waits.

It is not stopped: no thread can be, and a function that was given up would go on using the model. What is known to
hang needs a time limit of its own, as served guards have.
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
        what: is waited for.
        rows: that it was given.
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
