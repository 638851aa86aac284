"""The packages of the extra ``evaluation``, imported when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from guard_reward.errors import UserError

__all__ = ["evaluation_module"]


def evaluation_module(name: str) -> Any:
    """Import a module of scikit-learn or scipy.

    Raises:
        UserError: it is not installed; names the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is missing: pip install 'guard-reward[evaluation]'") from error
