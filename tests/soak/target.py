"""What a soak target is: where its inputs come from, and what must hold for each of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from random import Random
from typing import Any

__all__ = ["Target", "Unavailable", "load_targets", "require"]


class Unavailable(Exception):
    """The target cannot run here; says what is missing."""


@dataclass(frozen=True)
class Target:
    """A part of the package and a promise that it keeps for any input.

    Attributes:
        name: on the command line and in tables.
        make: a source of chance → one input. Equal sources make equal inputs.
        check: raises if the promise is broken for this input.
        share: how many inputs it gets for each one of a target with share 1.
        prepare: what is needed once per process, such as a tokenizer; raises `Unavailable` if it is not there.
    """

    name: str
    make: Callable[[Random], Any]
    check: Callable[[Any], None]
    share: int = 10
    prepare: Callable[[], object] = lambda: None

    def input(self, seed: int, index: int) -> Any:
        """Input number `index` of a run with this seed."""
        return self.make(Random(f"{seed}/{self.name}/{index}"))


def load_targets() -> dict[str, Target]:
    """All targets by name: those that the modules of `tests.soak.targets` list in ``TARGETS``."""
    from tests.soak import targets

    names = sorted(module.name for module in pkgutil.iter_modules(targets.__path__))
    modules = [import_module(f"{targets.__name__}.{name}") for name in names]
    return {target.name: target for module in modules for target in module.TARGETS}


def require(holds: object, promise: str, *shown: object) -> None:
    """Raise if the promise does not hold; what is shown goes into the message."""
    if not holds:
        raise AssertionError(": ".join([promise, *map(repr, shown)]))
