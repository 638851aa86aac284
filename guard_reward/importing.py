"""What a dotted path that a user typed points to."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from guard_reward.errors import UserError, first_paragraph

__all__ = ["imported"]


def imported(path: str, field: str) -> Any:
    """The object.

    Args:
        path: such as ``my_attacks.shout``; the working directory is searched too.
        field: the option's name, for errors.

    Raises:
        UserError: it cannot be imported.

    >>> imported("json.dumps", "judge")({})
    '{}'
    """
    module, _, name = path.rpartition(".")
    sys.path.insert(0, "")  # the script's folder is on the path, the working directory is not
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{field}: {path!r} cannot be imported: {first_paragraph(error)}") from error
    finally:
        sys.path.remove("")
