"""The next item of an iterator is made in a thread while the caller uses the present one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
_END: Final = object()


def ahead(items: Iterable[Item]) -> Generator[Item]:
    """The same items in the same order, each made in another thread, one ahead of the caller.

    The thread ends with the iteration, also if the caller leaves early; what was begun is finished first. While the
    interpreter exits there are no more threads: the caller then makes the items itself.

    Raises:
        Exception: what making an item raised, when its turn has come.

    >>> list(ahead(number**2 for number in range(4)))
    [0, 1, 4, 9]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="guard_reward_ahead") as thread:
        following = _started(thread, iterator)
        while (item := following()) is not _END:
            following = _started(thread, iterator)
            yield item  # type: ignore[misc]  # not the end mark


def _started(thread: ThreadPoolExecutor, iterator: Iterator[Item]) -> Callable[[], Item | object]:
    """Let the thread make the next item; what is returned waits for it."""
    try:
        return thread.submit(next, iterator, _END).result
    except RuntimeError:  # of `submit` alone: the interpreter is exiting
        return partial(next, iterator, _END)
