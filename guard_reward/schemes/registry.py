"""Schemes by their plain names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from typing import Any

from guard_reward.schemes.appropriate_refusal import AppropriateRefusal
from guard_reward.schemes.base import Controversial, Scheme
from guard_reward.schemes.boundary import Boundary
from guard_reward.schemes.lagrangian import Lagrangian
from guard_reward.schemes.qwen3guard_report import GuardOnly, Hybrid
from guard_reward.schemes.safe_completion import SafeCompletion
from guard_reward.schemes.severity import SeverityTable
from guard_reward.schemes.soft import Soft

__all__ = ["SCHEMES", "make_scheme"]

SCHEMES: Mapping[str, Callable[[], Any]] = {
    "guard_only": GuardOnly,
    "hybrid": Hybrid,
    "severity": SeverityTable,
    "soft": Soft,
    "appropriate_refusal": AppropriateRefusal,
    "lagrangian": Lagrangian,
    "safe_completion": SafeCompletion,
    "boundary": Boundary,
}
"""Plain names of the schemes with their defaults."""


def make_scheme(scheme: str | Scheme, controversial: Controversial | None = None) -> Scheme:
    """A scheme from its plain name or itself, with its treatment of Controversial replaced where that is given.

    Raises:
        ValueError: an unknown name, or `controversial` for a callable that has no such field.

    >>> make_scheme("guard_only", controversial="safe")
    GuardOnly(controversial='safe')
    """
    if isinstance(scheme, str) and scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}, or pass an instance")
    made: Any = SCHEMES[scheme]() if isinstance(scheme, str) else scheme
    if isinstance(made, type):
        raise ValueError(f"scheme is a class, not an instance: pass {made.__name__}()")
    if not callable(made):
        raise ValueError(f"scheme should be a name or a callable from Assessment to float, found {made!r}")
    if controversial is None:
        return made
    if isinstance(made, Soft):
        return replace(made, scheme=make_scheme(made.scheme, controversial))
    can_be_replaced = is_dataclass(made) and hasattr(made, "controversial")
    if not can_be_replaced:
        raise ValueError(f"{type(made).__name__} has no 'controversial'; set it inside the scheme instead")
    return replace(made, controversial=controversial)
