"""A ModelScope hub on this machine: it answers what ModelScope's client asks to list and download a model."""

from __future__ import annotations

import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["COMMIT", "Hub", "files_of"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_NOT_FOUND = 10010205001


def files_of(folder: str | Path) -> dict[str, bytes]:
    """The files of a checkpoint's folder."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


class Hub:
    """The hub's server; a context manager that stops it.

    Attributes:
        models: files by id and revision.
        lists: the revisions that were listed.
        downloads: the files that were downloaded.
        seconds: how long a download takes.
        lost: a file that is listed, but not there.
        status: what every request is answered with, if it is an error.
    """

    def __init__(self, folder: Path):
        self.models: dict[str, dict[str, dict[str, bytes]]] = {}
        self.lists: list[str] = []
        self.downloads: list[str] = []
        self.seconds, self.lost, self.status = 0.0, "", 200
        self.cache = folder / "cache"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self.environment = {
            "MODELSCOPE_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "MODELSCOPE_CACHE": str(self.cache),
            "MODELSCOPE_HOME": str(folder / "home"),
            "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "0",
            "NO_PROXY": "127.0.0.1",
        }

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Be gone."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def add(self, name: str, files: dict[str, bytes], *revisions: str) -> None:
        """A model with these files; or other files for a revision of one."""
        self.models.setdefault(name, {}).update(dict.fromkeys(revisions or ("master", "v1", COMMIT), files))

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        """Status and body."""
        if self.status != 200:
            return self.status, b"not now"
        if path == "/api/v1/repos/internalAccelerationInfo":
            return 200, _json(Code=200, Data={}, Success=True)
        owner, name, *rest = path.removeprefix("/api/v1/models/").split("/")
        revisions = self.models.get(f"{owner}/{name}")
        if revisions is None:
            return 404, _json(Code=_NOT_FOUND, Message="模型不存在", Success=False)
        files = revisions.get(query["Revision"])
        if files is None:
            return 404, _json(Code=_NOT_FOUND, Message="revision not found", Success=False)
        if rest == ["repo", "files"]:
            self.lists.append(query["Revision"])
            return 200, _json(Code=200, Data={"Files": [_entry(*file) for file in files.items()]}, Success=True)
        assert rest == ["repo"], path
        self.downloads.append(query["FilePath"])
        time.sleep(self.seconds)
        if query["FilePath"] == self.lost:
            return 404, _json(Code=_NOT_FOUND, Message="file not found", Success=False)
        return 200, files[query["FilePath"]]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        status, body = self.hub.answer(url.path, {name: values[0] for name, values in parse_qs(url.query).items()})
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _entry(path: str, content: bytes) -> dict[str, Any]:
    return {
        "Path": path,
        "Name": Path(path).name,
        "Type": "blob",
        "Size": len(content),
        "Sha256": hashlib.sha256(content).hexdigest(),
    }


def _json(**body: Any) -> bytes:
    return json.dumps(body).encode()
