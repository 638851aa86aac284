"""Notices that a vLLM engine's process has ended, for which vLLM's own client would wait for ever.

It tells callers that come later, but a caller that already waits for an answer is told only by an engine that still can
(seen with vLLM 0.32; the kernel kills without asking when memory runs out).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLMEngine

__all__ = ["watched"]

_TRIES = 20  # of a quarter of a second: until vLLM itself refuses new calls


def watched(llm: LLMEngine) -> threading.Event:
    """An event that is set when the engine's process has ended; never for an engine in this process."""
    ended = threading.Event()
    core: Any = llm.engine_core
    manager = getattr(getattr(core, "resources", None), "engine_manager", None)
    processes = list(getattr(manager, "processes", []))
    if processes:
        # Without the client, which would live as long as this thread.
        waiting = getattr(core, "outputs_queue", None), getattr(core, "utility_results", {})
        threading.Thread(
            target=_watch, args=(processes, *waiting, ended), daemon=True, name="guard_reward_vllm_watch"
        ).start()
    return ended


def _watch(processes: Sequence[Any], outputs: Any, calls: Mapping[int, Future[Any]], ended: threading.Event) -> None:
    connection.wait([process.sentinel for process in processes])
    ended.set()
    error = RuntimeError("the engine's process has ended")
    if outputs is not None:
        outputs.put_nowait(error)
    for _ in range(_TRIES):
        for call in list(calls.values()):
            if not call.done():
                call.set_exception(error)
        time.sleep(0.25)
