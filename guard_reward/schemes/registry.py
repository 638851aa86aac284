"""The plain names of the schemes, and `make_scheme`."""

from __future__ import annotations

from guard_reward.schemes.appropriate_refusal import AppropriateRefusal
from guard_reward.schemes.base import SCHEMES, Scheme, SchemeFunction, as_scheme, named_scheme
from guard_reward.schemes.boundary import Boundary
from guard_reward.schemes.lagrangian import Lagrangian
from guard_reward.schemes.qwen3guard_report import GuardOnly, Hybrid
from guard_reward.schemes.response_policy import ResponsePolicy
from guard_reward.schemes.safe_completion import SafeCompletion
from guard_reward.schemes.severity import SeverityTable
from guard_reward.schemes.soft import Soft
from guard_reward.schemes.token_score import TokenScore
from guard_reward.schemes.values import Controversial

__all__ = ["SCHEMES", "make_scheme"]

SCHEMES.update(
    guard_only=GuardOnly,
    hybrid=Hybrid,
    severity=SeverityTable,
    soft=Soft,
    appropriate_refusal=AppropriateRefusal,
    lagrangian=Lagrangian,
    safe_completion=SafeCompletion,
    boundary=Boundary,
    token_score=TokenScore,
    response_policy=ResponsePolicy,
)


def make_scheme(scheme: str | Scheme | SchemeFunction, controversial: Controversial | None = None) -> Scheme:
    """A scheme from its plain name, from an instance, or from a plain callable.

    Args:
        scheme: a name in `SCHEMES`, an instance (returned as it is), or a callable (in a `CallableScheme`).
        controversial: how Controversial counts instead; None keeps the scheme's own treatment.

    Raises:
        ValueError: an unknown name, or `controversial` for a callable that has no such field.

    >>> make_scheme("guard_only", controversial="safe")
    GuardOnly(controversial='safe')
    """
    made = named_scheme(scheme) if isinstance(scheme, str) else as_scheme(scheme)
    return made if controversial is None else made.with_controversial(controversial)
