"""A proxy between a client and a server that breaks what a test tells it to break."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

_CONNECTION = re.compile(rb"\r\nConnection:[^\r]*", re.IGNORECASE)
Fault = str | tuple[str, Any] | None
"""What is done to one request: None lets it pass; else a name, some with a value. See `FaultProxy._break`."""


class FaultProxy:
    """Passes requests on to a server, or breaks them.

    Args:
        upstream: the server's URL.
        fault: number of the request (from 0, only POST requests count) → what is done to it.
    """

    def __init__(self, upstream: str, fault: Callable[[int], Fault] = lambda number: None):
        self._upstream = urlsplit(upstream)
        self.fault = fault
        self.requests = 0
        self.port = 0
        self.hanging = 0  # requests that get no answer at present
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen; again at the same port after `kill`."""
        self._run(self._start())

    def kill(self) -> None:
        """Stop listening and break every connection, as a killed server does."""
        self._run(self._kill())

    def close(self) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _kill(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while request := await self._request(reader):
                await self._answer(request, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    @staticmethod
    async def _request(reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head + (await reader.readexactly(int(lengths[0])) if lengths else b"")

    async def _answer(self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault: Fault = None
        if request.startswith(b"POST"):
            fault = self.fault(self.requests)
            self.requests += 1
        if fault is not None:
            await self._break(fault, request, reader, writer)
            return
        writer.write(await self._upstream_answer(request))
        await writer.drain()

    async def _upstream_answer(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        head, _, body = request.partition(b"\r\n\r\n")
        writer.write(_CONNECTION.sub(b"", head) + b"\r\nConnection: close\r\n\r\n" + body)
        try:
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return _CONNECTION.sub(b"", head) + b"\r\n\r\n" + body

    async def _break(
        self, fault: Fault, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name, value = fault if isinstance(fault, tuple) else (fault, None)
        if name == "status":  # (code, headers, body)
            code, headers, body = value
            lines = "".join(f"{key}: {text}\r\n" for key, text in headers.items())
            writer.write(f"HTTP/1.1 {code} Fault\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        elif name == "hang":  # for so many seconds, or until the client leaves
            self.hanging += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), value)
            self.hanging -= 1
            writer.transport.abort()
        elif name == "reset":
            writer.transport.abort()
        elif name == "reset_mid_body":
            answer = await self._upstream_answer(request)
            writer.write(answer[: len(answer) - 20])
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.transport.abort()
        elif name == "drip":  # one byte per so many seconds
            for byte in await self._upstream_answer(request):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(value)
        elif name == "truncated":  # whole for HTTP, but not for JSON
            body = (await self._upstream_answer(request)).partition(b"\r\n\r\n")[2][:-30]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        else:
            raise AssertionError(f"no such fault: {fault}")
        await writer.drain()


@contextmanager
def faulty(upstream: str, fault: Callable[[int], Fault] = lambda number: None) -> Iterator[FaultProxy]:
    """A proxy, until it is left."""
    proxy = FaultProxy(upstream, fault)
    try:
        yield proxy
    finally:
        proxy.close()
