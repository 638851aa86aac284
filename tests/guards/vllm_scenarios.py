"""What a guard in vLLM does, for `test_vllm_guard`; run by the interpreter that has vLLM, with a scenario and files.

    python tests/guards/vllm_scenarios.py SCENARIO CHECKPOINT IN.json OUT.json

This script has no ``if __name__ == "__main__"``, as many training scripts: an engine's process must not run it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import psutil

from guard_reward import GuardReward, load_guard
from guard_reward.guards.vllm_start import _LAUNCHER_PREFIXES
from tests.guards.verdict_facts import ROLLOUTS, verdict_facts

CHECKPOINT, EAGER = sys.argv[2], {"enforce_eager": True}
ROWS: list[Any] = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
BAD: list[Any] = [5, [], None]
CONTEXT = 256


def facts(guard: Any, rows: list[Any]) -> list[Any]:
    return verdict_facts(guard.moderate(rows))


def children() -> list[str]:
    """The processes below this one, without those that have ended and Python's own, which ends at exit."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in line:
                found.append(line)
    return found


def left() -> list[str]:
    """What is below this process once an engine was closed; the kernel needs a moment to end processes."""
    end = time.monotonic() + 10
    while (found := children()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def kill_children() -> None:
    for process in psutil.Process().children(recursive=True):
        process.kill()


def error_of(function: Any) -> str:
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def whole_life() -> dict[str, Any]:
    """Everything with an engine in a process of its own; then a second engine, which is killed."""
    guard = load_guard(f"vllm:{CHECKPOINT}", max_model_len=CONTEXT, seed=3, **EAGER)
    found: dict[str, Any] = {"describe": guard.describe(), "context": guard.context_length}
    found["ids"] = guard.encode(ROWS[0])
    found["arguments"] = {
        "prefix caching": guard._engine._llm.vllm_config.cache_config.enable_prefix_caching,
        "seed": guard._engine._llm.vllm_config.model_config.seed,
        "context": guard._engine._llm.vllm_config.model_config.max_model_len,
    }
    found["verdicts"] = facts(guard, ROWS)
    found["among bad rows"] = facts(guard, [*BAD, ROWS[0], *BAD])
    found["refused"] = refused_among(guard)
    found["threads"] = in_threads(guard)
    guard.sleep()
    found["after sleep"] = facts(guard, ROWS[:5])
    guard.wake()
    found["reward"] = GuardReward(guard, "soft", sleep=True)(**ROLLOUTS)
    found["children"] = [children()]
    guard.close()
    found["children"].append(left())
    arrived = pickle.loads(pickle.dumps(guard))
    found["children"].append(left())
    found["after pickling"] = facts(arrived, ROWS[:5])
    # In the middle of a call, as the kernel does it if memory runs out: vLLM's client alone would wait for ever.
    threading.Timer(0.3, kill_children).start()
    found["killed"] = [row for _ in range(3) for row in facts(arrived, ROWS) if row.get("outcome") == "guard_error"]
    found["killed again"] = facts(arrived, ROWS[:5])
    arrived.sleep()
    arrived.close()
    found["children"].append(left())
    return found


def refused_among(guard: Any) -> list[Any]:
    """One input that the engine does not take, in the middle."""
    codec, engine = guard._loaded().codec, guard._engine
    rows = [[{"role": "user", "content": word}] for word in ("How?", "Why?", "Who?")]
    first, second, third = (reading[0] for [reading] in codec.encoder(CONTEXT).encode(rows))
    second.ids[5] = 10**6  # no token
    with engine.requests() as requests:
        requests.add([first, second, third])
        requests.wait()
        answers = [requests.answer(window) for window in (first, second, third)]
    return [str(answer) if isinstance(answer, Exception) else "answered" for answer in answers]


def in_threads(guard: Any) -> list[Any]:
    found: dict[int, Any] = {}

    def judge(part: int) -> None:
        found[part] = facts(guard, ROWS[part * 20 : part * 20 + 40])

    threads = [threading.Thread(target=judge, args=(part,)) for part in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[0], found[1]]


def in_this_process() -> dict[str, Any]:
    """With ``VLLM_ENABLE_V1_MULTIPROCESSING=0``; left open."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    global left_open
    left_open = load_guard(f"vllm:{CHECKPOINT}", max_model_len=CONTEXT, **EAGER)
    return {"verdicts": facts(left_open, ROWS)}


def rank() -> dict[str, Any]:
    """One of two ranks, each with an engine beside the trainer's process group; left open."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    before = dict(os.environ)
    refused = error_of(lambda: load_guard(f"vllm:{CHECKPOINT}", tensor_parallel_size=2))
    global left_open
    left_open = load_guard(f"vllm:{CHECKPOINT}", max_model_len=CONTEXT, **EAGER)
    found = {"verdicts": facts(left_open, ROWS), "refused": refused, "ranks": dist.get_world_size()}
    changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
    # New ones that are no launcher's are set by what vLLM imports.
    found["changed"] = sorted(name for name in changed if name in before or name.startswith(_LAUNCHER_PREFIXES))
    dist.barrier()
    return found


def mistakes() -> dict[str, Any]:
    """What is refused, and why."""
    name = f"vllm:{CHECKPOINT}"
    return {
        "unknown": error_of(lambda: load_guard(name, gpu_memory_utilisation=0.3)),
        "dtype": error_of(lambda: load_guard(name, dtype="bfloat61", **EAGER)),
        "tokenizer": error_of(lambda: load_guard(name, tokenizer="other")),
        "launcher": error_of(lambda: load_guard(name, distributed_executor_backend="external_launcher")),
        "context": error_of(lambda: load_guard(name, max_model_len=10**6, **EAGER)),
        "children": left(),
    }


def killed() -> dict[str, Any]:
    """A process that is killed with its engine running, and says before which processes that are."""
    guard = load_guard(f"vllm:{CHECKPOINT}", max_model_len=CONTEXT, **EAGER)
    guard.moderate(ROWS)
    Path(sys.argv[4]).write_text(json.dumps([one.pid for one in psutil.Process().children(recursive=True)]))
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


scenario = {one.__name__: one for one in (whole_life, in_this_process, rank, mistakes, killed)}[sys.argv[1]]
try:
    Path(sys.argv[4]).write_text(json.dumps(scenario()), encoding="utf-8")
except Exception:
    traceback.print_exc()
    sys.exit(1)
