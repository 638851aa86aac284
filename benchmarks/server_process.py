"""Servers of guards as child processes, on this machine's CPU: for the benchmarks and the tests of served guards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["free_port", "serving", "transformers_command", "vllm_command"]

START_SECONDS = 300
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}


def vllm_command(python: Path, model: Path, port: int, context_length: int = 2048) -> list[str]:
    """vLLM's server in float32. Its console script is not used: `vllm-cpu` lacks the metadata that it reads."""
    options = {"--model": model, "--host": "127.0.0.1", "--port": port, "--max-model-len": context_length}
    words = [str(word) for option in options.items() for word in option]
    module = ["-m", "vllm.entrypoints.openai.api_server"]
    return [str(python), *module, *words, "--dtype", "float32", "--enforce-eager"]


def transformers_command(python: Path, model: Path, port: int) -> list[str]:
    """The server of transformers in float32."""
    options = {"--host": "127.0.0.1", "--port": port, "--dtype": "float32", "--device": "cpu"}
    words = [str(word) for option in options.items() for word in option]
    return [str(python), "-m", "transformers.cli.transformers", "serve", str(model), *words]


def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The URL of a server, as soon as it is healthy; its whole process group is killed in the end.

    Args:
        command: that starts it.
        port: at which it listens.
        folder: in which it runs; its log goes there.
        environment: variables, besides this process's own.

    Raises:
        RuntimeError: it ended, or was not healthy in time; with the end of its log.
    """
    log, hub = folder / "server.log", folder / "hub"
    hub.mkdir(exist_ok=True)  # without one, the server of transformers cannot list its models
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**inherited, **_ENVIRONMENT, "HF_HUB_CACHE": str(hub), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own
        )
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    status = process.poll()
    what = "is not healthy in time" if status is None else f"ended with exit status {status}"
    raise RuntimeError(f"the server {what}; its log ends with:\n{log.read_text(errors='replace')[-6000:]}")
