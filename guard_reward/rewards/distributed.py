"""Exchange of small objects between the ranks of a run."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["gather_objects"]

Thing = TypeVar("Thing")


def gather_objects(thing: Thing) -> list[Thing]:
    """The `thing` of every rank, in rank order; only this process's if there is no process group.

    Every rank must call it, at the same point: if one does not, the others wait forever.

    Args:
        thing: anything that pickles; small, because every rank gets all of them.

    >>> gather_objects({"rows": 4})
    [{'rows': 4}]
    """
    import torch.distributed as distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return [thing]
    gathered: list[Thing] = [thing] * distributed.get_world_size()
    distributed.all_gather_object(gathered, thing)
    return gathered
