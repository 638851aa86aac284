"""One HTTP request → the JSON of its answer, or a failure that says whether it may be tried again."""

from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from guard_reward.errors import one_line
from guard_reward.guards.served.failures import Garbled, Rejected, Retriable
from guard_reward.guards.served.settings import API_KEY_VARIABLE
from guard_reward.verdict import Outcome

if TYPE_CHECKING:
    import httpx

__all__ = ["MAX_ANSWER_BYTES", "request_json"]

MAX_ANSWER_BYTES = 2**24
MAX_RETRY_AFTER = 600.0  # seconds; a server that asks for more is tried again all the same
_SHOWN = 200  # characters of a server's message that a reason quotes
_BUSY, _TIMED_OUT, _NOT_IMPLEMENTED = 429, 408, 501
_TOO_LONG_WORDS = ("context length", "context window", "max_model_len", "maximum input length", "too long")
_HINTS = {
    401: f"the API key is missing or wrong: put it into the environment variable {API_KEY_VARIABLE}",
    403: f"the API key is not allowed this: check the environment variable {API_KEY_VARIABLE}",
    404: "the server has no such model or path: check model= (`guard-reward ping URL` lists its models) and the URL, "
    "which usually ends in /v1",
}


async def request_json(
    client: httpx.AsyncClient, method: str, url: str, *, body: Any = None, seconds: float, api_key: str | None = None
) -> Any:
    """What a server answers.

    Args:
        client: whose connect timeout is set; it does not follow redirects.
        method, url, body: of the request; the body is sent as JSON.
        seconds: until the last byte of the answer must have come.
        api_key: sent with the request.

    Raises:
        Retriable: nothing or nothing whole came in time, or the server is busy, broken or answers without JSON.
        Rejected: the server answers with another 3xx or 4xx.
    """
    import httpx

    # A compressed answer could be many times as long as what is read of it.
    headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
    try:
        async with asyncio.timeout(seconds), client.stream(method, url, json=body, headers=headers) as response:
            content = await _read(response)
    except (TimeoutError, httpx.TimeoutException) as error:
        what = "connection" if isinstance(error, httpx.ConnectTimeout) else "whole answer"
        raise Retriable(f"{url}: no {what} in time", Outcome.TIMEOUT) from error
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
        raise Retriable(f"{url}: {_description(error)}") from error
    if response.is_success:
        return _as_json(url, content)
    raise _failure(url, response, _message(content))


async def _read(response: httpx.Response) -> bytes:
    """The whole answer; more than any verdict needs is a fault of the server."""
    content = bytearray()
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Garbled(f"{response.url}: the answer is compressed, although that was refused")
    async for part in response.aiter_raw():
        content += part
        if len(content) > MAX_ANSWER_BYTES:
            raise Retriable(f"{response.url}: the answer is longer than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(content)


def _as_json(url: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"{url}: the answer is not JSON: {_shown(content)!r}") from error


def _failure(url: str, response: httpx.Response, message: str) -> Retriable | Rejected:
    status = response.status_code
    reason = f"{url}: HTTP {status} {response.reason_phrase}".rstrip()
    reason = f"{reason}: {message}" if message else reason
    if status in (_BUSY, _TIMED_OUT) or (status >= 500 and status != _NOT_IMPLEMENTED):
        return Retriable(reason, retry_after=_seconds(response.headers.get("Retry-After")), status=status)
    if status in (400, 413, 422) and any(words in message.lower() for words in _TOO_LONG_WORDS):
        return Rejected(reason, Outcome.TOO_LONG, status=status)
    hint = _HINTS.get(status)
    return Rejected(f"{reason} ({hint})" if hint else reason, status=status)


def _seconds(retry_after: str | None) -> float | None:
    """The header's value, which is a number of seconds or a date."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdigit():
            return min(float(retry_after), MAX_RETRY_AFTER)
        date = parsedate_to_datetime(retry_after)
        return min(max((date - type(date).now(date.tzinfo)).total_seconds(), 0.0), MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError):
        return None


def _message(content: bytes) -> str:
    """What the server says of its refusal, in one line."""
    try:
        found = json.loads(content)
        for key in ("error", "detail", "message"):
            if isinstance(found, dict) and key in found:
                found = found[key]
        text = found.get("message", found) if isinstance(found, dict) else found
    except (ValueError, RecursionError):
        text = content.decode("utf-8", "replace")
    return one_line(str(text))[:_SHOWN]


def _shown(content: bytes) -> str:
    return content[:_SHOWN].decode("utf-8", "replace")


def _description(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}" if str(error) else type(error).__name__
