"""Exchange of small objects between the ranks of a run."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["gather_objects"]

Thing = TypeVar("Thing")


def gather_objects(thing: Thing, *, what: str) -> list[Thing]:
    """The `thing` of every rank, in rank order; only this process's if there is no process group.

    Every rank must call it, at the same point: if one does not, the others wait forever.

    Args:
        thing: anything that pickles; small, because every rank gets all of them.
        what: it is, the same on every rank.

    Raises:
        RuntimeError: a rank is at another point, and sent something else.

    >>> gather_objects({"rows": 4}, what="counts")
    [{'rows': 4}]
    """
    import torch.distributed as distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return [thing]
    gathered = [(what, thing)] * distributed.get_world_size()
    distributed.all_gather_object(gathered, (what, thing))
    if others := sorted({other for other, _ in gathered} - {what}):
        raise RuntimeError(
            f"rank {distributed.get_rank()} exchanges {what} while another one exchanges {', '.join(others)}: the "
            "ranks do not call the same rewards in the same order"
        )
    return [one for _, one in gathered]
