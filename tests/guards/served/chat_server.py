"""A small HTTP server with a chat endpoint whose answers a test scripts; for guards that are any instructed model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[dict[str, Any], int], Any]
"""(request's body, how many came before) → the answer's text, an HTTP status of a failure, or seconds to wait."""


class ChatServer(ThreadingHTTPServer):
    """The server.

    Args:
        script: what it answers.
    """

    daemon_threads = True

    def __init__(self, script: Script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.bodies)
            self.server.bodies.append(body)
        if self.path != "/v1/chat/completions":
            self.send(404, {"detail": "Not Found"})
            return
        answer = self.server.script(body, number)
        if isinstance(answer, float):
            time.sleep(answer)
            answer = "too late"
        if isinstance(answer, int):
            self.send(answer, {"error": {"message": "scripted"}})
            return
        self.send(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}]})

    def send(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # who asked has gone
            pass


@contextmanager
def chat_server(script: Script) -> Iterator[ChatServer]:
    """The server, until it is left."""
    server = ChatServer(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
