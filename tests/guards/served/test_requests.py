"""One request: what is read, and for how long."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from guard_reward.guards.served import requests as module
from guard_reward.guards.served.failures import Rejected, Retriable
from guard_reward.guards.served.requests import request_json
from guard_reward.verdict import Outcome


@pytest.fixture
def answer():
    """Serves one connection with these bytes; returns the URL."""
    sockets = []

    def serve(content, forever=False):
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def run():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(content)
                    while forever:
                        connection.sendall(b"x" * 65536)
                except OSError:
                    pass

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1/x"

    yield serve
    for one in sockets:
        one.close()


def ask(url, seconds=5.0, **options):
    async def once():
        async with httpx.AsyncClient(timeout=httpx.Timeout(None, connect=1)) as client:
            return await request_json(client, "GET", url, seconds=seconds, **options)

    return asyncio.run(once())


def response(status, body, *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def test_json_is_read(answer):
    assert ask(answer(response("200 OK", '{"a": [1]}'))) == {"a": [1]}


def test_an_endless_answer_is_cut_off(answer, monkeypatch):
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 2**20)
    started = time.monotonic()
    with pytest.raises(Retriable, match="longer than 1,048,576 bytes"):
        ask(answer(b"HTTP/1.1 200 OK\r\n\r\n", forever=True))
    assert time.monotonic() - started < 4


def test_no_answer_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Retriable, match="no whole answer") as caught:
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.3)
    assert caught.value.outcome is Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("status", "body", "failure", "words"),
    [
        ("500 Internal Server Error", '{"error": {"message": "out of memory"}}', Retriable, "out of memory"),
        ("503 Busy", "<html>no</html>", Retriable, "<html>no</html>"),
        ("429 Too Many Requests", '{"detail": "slow\\ndown"}', Retriable, "slow down"),
        ("408 Request Timeout", "", Retriable, "HTTP 408"),
        ("401 Unauthorized", '{"error": "no"}', Rejected, "GUARD_REWARD_API_KEY"),
        ("404 Not Found", '{"error": {"message": "no model x"}}', Rejected, "no model x (the server has no such model"),
        ("400 Bad Request", '[1, 2]', Rejected, "[1, 2]"),
        ("307 Temporary Redirect", "", Rejected, "HTTP 307"),
        ("400 Bad Request", "\x1b[31mred", Rejected, "\\x1b[31mred"),
    ],
)  # fmt: skip
def test_failures_say_what_the_server_said(answer, status, body, failure, words):
    with pytest.raises(failure) as caught:
        ask(answer(response(status, body)))
    assert words in caught.value.reason
    assert "\n" not in caught.value.reason


def test_too_long_has_its_outcome(answer):
    body = '{"error": {"message": "This model\'s maximum context length is 2048 tokens"}}'
    with pytest.raises(Rejected) as caught:
        ask(answer(response("400 Bad Request", body)))
    assert caught.value.outcome is Outcome.TOO_LONG


def test_a_key_that_the_server_quotes_is_hidden(answer, monkeypatch):
    monkeypatch.setenv("GUARD_REWARD_API_KEY", "abc123")
    with pytest.raises(Rejected) as caught:
        ask(answer(response("401 Unauthorized", '{"error": "wrong key: abc123"}')), api_key="abc123")
    assert "abc123" not in str(caught.value)
    assert "wrong key: HIDDEN" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3),
        ("0", 0),
        ("in 100 seconds", 100),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("9" * 400, 600),
    ],
)
def test_retry_after(answer, header, seconds):
    header = header.replace("in 100 seconds", format_datetime(datetime.now(UTC) + timedelta(seconds=100)))
    with pytest.raises(Retriable) as caught:
        ask(answer(response("429 Too Many Requests", "", f"Retry-After: {header}")))
    assert caught.value.retry_after == (None if seconds is None else pytest.approx(seconds, abs=10))
