"""The next item of an iterator is made in a thread while the caller uses the present one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
_END: Final = object()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items in the same order, each made in another thread, one ahead of the caller.

    The thread ends with the iteration, also if the caller leaves early; what was begun is finished first.

    Raises:
        Exception: what making an item raised, when its turn has come.

    >>> list(ahead(number**2 for number in range(4)))
    [0, 1, 4, 9]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="guard_reward_ahead") as thread:
        pending = thread.submit(next, iterator, _END)
        while (item := pending.result()) is not _END:
            pending = thread.submit(next, iterator, _END)
            yield item  # type: ignore[misc]  # not the end mark
