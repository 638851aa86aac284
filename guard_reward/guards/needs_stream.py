"""One message for all who need a stream guard and are given something else."""

from __future__ import annotations

from typing import Any

__all__ = ["check_stream_guard"]


def check_stream_guard(guard: Any, who: str) -> None:
    """Refuse what is not a stream guard.

    Args:
        guard: what was given.
        who: needs it.

    Raises:
        ValueError: says what to do.

    >>> check_stream_guard("Qwen/Qwen3Guard-Stream-0.6B", "StreamReward")
    Traceback (most recent call last):
    ValueError: StreamReward needs a stream guard that is loaded: pass load_guard('Qwen/Qwen3Guard-Stream-0.6B')
    """
    if isinstance(guard, str):
        raise ValueError(f"{who} needs a stream guard that is loaded: pass load_guard({guard!r})")
    if not all(callable(getattr(guard, name, None)) for name in ("trace", "feed_many")):
        raise ValueError(f"{who} needs a stream guard, such as a Qwen3Guard-Stream, and {guard!r} is none")
