"""Where a served guard is, and how long it may take."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["API_KEY_VARIABLE", "EndpointName", "ServerSettings", "checked_urls"]

API_KEY_VARIABLE = "GUARD_REWARD_API_KEY"
"""The environment variable with the servers' API key."""

EndpointName = Literal["auto", "completions", "generate", "chat"]

_BASE_SECONDS, _SECONDS_PER_ROW = 120.0, 1.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How servers are asked. The API key is not among the settings: it stays in the environment.

    Attributes:
        urls: of the replicas, such as ``http://127.0.0.1:8000/v1``.
        model: the name that the servers know the guard by; None for the first one that they list.
        endpoint: see `guard_reward.guards.served_guard.ServedGuard`.
        deadline: seconds that one call of ``moderate`` may take; None for 120 and one more per row.
        connect_timeout: seconds until a connection must stand.
        request_timeout: seconds from a request's first byte to its answer's last one.
        max_concurrency: requests at a time, over all replicas and calls.

    Raises:
        ValueError: names the setting and what it should be.
    """

    urls: tuple[str, ...]
    model: str | None = None
    endpoint: EndpointName = "auto"
    deadline: float | None = None
    connect_timeout: float = 5.0
    request_timeout: float = 120.0
    max_concurrency: int = 64

    def __post_init__(self) -> None:
        for name in ("deadline", "connect_timeout", "request_timeout"):
            seconds = getattr(self, name)
            is_default = name == "deadline" and seconds is None
            is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not is_default and not (is_number and 0 < seconds < math.inf):
                raise ValueError(f"{name} should be a positive number of seconds, found {seconds!r}")
        if not isinstance(self.max_concurrency, int) or self.max_concurrency < 1:
            raise ValueError(f"max_concurrency should be at least 1, found {self.max_concurrency!r}")
        if self.endpoint not in ("auto", "completions", "generate", "chat"):
            raise ValueError(f"endpoint should be 'auto', 'completions', 'generate' or 'chat', found {self.endpoint!r}")

    def seconds_for(self, rows: int) -> float:
        """The deadline of a call with so many rows, from its start.

        >>> ServerSettings(("http://127.0.0.1:8000/v1",)).seconds_for(256)
        376.0
        """
        return _BASE_SECONDS + _SECONDS_PER_ROW * rows if self.deadline is None else self.deadline

    @staticmethod
    def api_key() -> str | None:
        """The servers' key, as the environment has it now.

        Raises:
            ValueError: one that cannot stand in a header; it is not shown.
        """
        key = os.environ.get(API_KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError(f"the environment variable {API_KEY_VARIABLE} should be one line of printable ASCII")
        return key or None


def checked_urls(urls: str | Sequence[str]) -> tuple[str, ...]:
    """The replicas' addresses, without a slash at the end. Several in one text are separated by commas.

    Raises:
        ValueError: no URL, one without a host, one with a password, or one that stands there twice.

    >>> checked_urls("http://a:8000/v1/, http://b:8000/v1")
    ('http://a:8000/v1', 'http://b:8000/v1')
    """
    texts = urls.split(",") if isinstance(urls, str) else list(urls)
    found = tuple(_checked_url(text) for text in texts)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"a served guard needs one URL, or several different ones, found {', '.join(found) or 'none'}")
    return found


def _checked_url(text: str) -> str:
    url = text.strip().rstrip("/") if isinstance(text, str) else ""
    parts = urlsplit(url)
    try:
        has_host = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        has_host = False
    if not has_host or parts.query or parts.fragment:
        raise ValueError(f"should be a server's URL such as 'http://127.0.0.1:8000/v1', found {_shown(text)}")
    if parts.username is not None:
        raise ValueError(
            "a URL with a user or password ends up in logs: put the server's key into the environment variable "
            f"{API_KEY_VARIABLE}"
        )
    return url


def _shown(text: object) -> str:
    """What was given; not if it may hold a password."""
    shown = repr(text)
    return "a URL with '@' in it" if "@" in shown else shown
