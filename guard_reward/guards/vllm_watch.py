"""What vLLM leaves open when a process ends unexpectedly: the engine's, or the one that it works for.

If the engine's process is killed, as the kernel does it when memory runs out, vLLM's client tells callers that come
later, but one that already waits for an answer waits for ever (seen with vLLM 0.32). If the process that it works for
is killed, as ``torchrun`` does it to the other ranks when one has failed, the engine goes on and keeps its memory.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLMEngine

__all__ = ["EngineWatch"]

logger = logging.getLogger(__name__)

_TRIES = 20  # of a quarter of a second: until vLLM itself refuses new calls
_END = 'read -r _; kill -TERM "$@"; for _ in 1 2 3 4 5 6 7 8 9; do sleep 1; kill -0 "$@" || exit; done; kill -KILL "$@"'


class EngineWatch:
    """Watches the process of an engine, if it has one of its own, and lets it end with this process.

    Args:
        llm: the engine.

    Attributes:
        ended: set when the engine's process has ended.
    """

    def __init__(self, llm: LLMEngine):
        self.ended = threading.Event()
        core: Any = llm.engine_core
        manager = getattr(getattr(core, "resources", None), "engine_manager", None)
        processes = list(getattr(manager, "processes", []))
        self._last_will = _last_will(processes) if processes else None
        if processes:
            # Without the client, which would live as long as this thread.
            waiting = getattr(core, "outputs_queue", None), getattr(core, "utility_results", {})
            threading.Thread(
                target=_watch, args=(processes, *waiting, self.ended), daemon=True, name="guard_reward_vllm_watch"
            ).start()

    def stop(self) -> None:
        """The engine has been ended."""
        if self._last_will is not None:
            self._last_will.kill()
            self._last_will.wait()
            self._last_will = None


def _last_will(processes: Sequence[Any]) -> subprocess.Popen[bytes] | None:
    """A shell that ends the engine when this process has ended in whatever way: then its input is closed."""
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _END, "sh", *(str(process.pid) for process in processes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # not interrupted at the terminal with this process
        )
    except OSError as error:
        logger.info("the engine will not notice if this process is killed: %s", error)
        return None


def _watch(processes: Sequence[Any], outputs: Any, calls: Mapping[int, Future[Any]], ended: threading.Event) -> None:
    """Wait until the engine has ended; then fail everything that waits for it."""
    connection.wait([process.sentinel for process in processes])
    ended.set()
    error = RuntimeError("the engine's process has ended")
    if outputs is not None:
        outputs.put_nowait(error)
    for _ in range(_TRIES):
        for call in list(calls.values()):
            with contextlib.suppress(InvalidStateError):
                call.set_exception(error)
        time.sleep(0.25)
