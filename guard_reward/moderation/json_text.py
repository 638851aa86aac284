"""JSON of the user's, read within fixed limits."""

from __future__ import annotations

import json
import sys
from typing import Any

__all__ = ["JsonLimitError", "parse_json"]

# Python reads a few hundred levels, depending on how deep the caller's own stack is. A fixed limit that is well below
# gives each row the same fate whoever reads it.
_DEEPEST = 200
_TOO_DEEP = f"has more than {_DEEPEST} levels of lists and objects"


class JsonLimitError(ValueError):
    """JSON with more of something than is read; the message goes on behind the name of the text."""


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    >>> parse_json("[" * 300 + "]" * 300)
    Traceback (most recent call last):
    guard_reward.moderation.json_text.JsonLimitError: has more than 200 levels of lists and objects

    Raises:
        JSONDecodeError: the text is not JSON.
        JsonLimitError: it has too many levels, or an integer with more digits than Python converts.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise JsonLimitError(_TOO_DEEP) from None
    except ValueError:  # the only other one that json raises
        digits = sys.get_int_max_str_digits()
        raise JsonLimitError(f"has an integer of more than {digits:,} digits") from None
    if text.count("[") + text.count("{") > _DEEPEST and _is_too_deep(value):
        raise JsonLimitError(_TOO_DEEP)
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
