"""How a guard's vLLM engine is started: its arguments, and a process that belongs to no launcher.

A trainer's processes carry a launcher's environment (``RANK``, ``WORLD_SIZE``, ``MASTER_PORT``, …) and a process group.
An engine that ran inside such a process would join that group, and vLLM's sleep mode allows one engine per process,
which may be the one that generates for the policy. So an engine runs in a child process, which sees neither.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLMEngine

__all__ = ["check_arguments", "import_vllm", "start_engine"]

_REFUSED = {
    "model": "the guard's name says which",
    "tokenizer": "inputs and answers are the checkpoint's own tokens",
    "tokenizer_revision": "it is that of revision=",
    "skip_tokenizer_init": "vLLM needs the tokenizer's end token",
    "logprobs_mode": "the probabilities of verdicts are made of plain log-probabilities",
    "data_parallel_size": "make one guard per replica, or serve them (`guard-reward serve`)",
}
_PARALLEL = ("tensor_parallel_size", "pipeline_parallel_size")
_LAUNCHER_PREFIXES = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_",
    "GROUP_",
    "ROLE_",
    "TORCHELASTIC_",
)


def import_vllm(name: str) -> ModuleType:
    """vLLM.

    Args:
        name: of the guard, for the error.

    Raises:
        ModuleNotFoundError: it is not installed; says what to install.
    """
    try:
        import vllm
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise ModuleNotFoundError(f"{name} needs vLLM: pip install 'guard-reward[vllm]'", name=error.name) from error
    found: ModuleType = vllm
    return found


def check_arguments(options: Mapping[str, Any]) -> None:
    """Refuse engine arguments that vLLM does not have, or that a guard decides itself.

    Raises:
        ValueError: names the arguments.
    """
    from vllm import EngineArgs, __version__

    for name, reason in _REFUSED.items():
        if name in options:
            raise ValueError(f"{name}: a guard in vLLM has no such option; {reason}")
    known = {field.name for field in dataclasses.fields(EngineArgs)}
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"{', '.join(unknown)}: vLLM {__version__} has no such engine argument")
    if options.get("distributed_executor_backend") == "external_launcher":
        raise ValueError(
            "distributed_executor_backend: 'external_launcher' would join the trainer's process group; leave it out"
        )
    parallel = [name for name in _PARALLEL if (options.get(name) or 1) > 1]
    if parallel and int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise ValueError(
            f"{', '.join(parallel)}: each of the trainer's processes has a guard of its own, on its own device; "
            "a guard that needs several is served (`guard-reward serve`)"
        )


def start_engine(arguments: Mapping[str, Any]) -> LLMEngine:
    """An engine with these arguments of vLLM's ``EngineArgs``.

    It runs in a child process that belongs to no launcher and has this rank's device. Only a process that may not have
    children (a daemonic one, such as AsyncGRPO's worker) runs it itself, and one outside of training, if it is told so
    (``VLLM_ENABLE_V1_MULTIPROCESSING=0``).

    Raises:
        ValueError: an argument's value that vLLM refuses.
        RuntimeError: the engine does not start; its log says why.
    """
    from vllm import EngineArgs, LLMEngine

    has_process = _may_have_process()
    with _no_launcher(has_process=has_process), _no_main_module():
        return LLMEngine.from_engine_args(EngineArgs(**arguments), enable_multiprocessing=has_process)


def _may_have_process() -> bool:
    if multiprocessing.current_process().daemon:
        return False
    return "WORLD_SIZE" in os.environ or os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") != "0"


@contextmanager
def _no_launcher(*, has_process: bool) -> Iterator[None]:
    """An environment without a launcher's variables and with this rank's device alone, for as long as a child needs."""
    changes: dict[str, str | None] = {name: None for name in os.environ if name.startswith(_LAUNCHER_PREFIXES)}
    # A fork would copy the trainer's process group, threads and locks.
    changes["VLLM_WORKER_MULTIPROC_METHOD"] = os.environ.get("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    if has_process:
        changes |= _own_device()
    else:
        changes["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    before = {name: os.environ.get(name) for name in changes}
    _set_environment(changes)
    try:
        yield
    finally:
        # Those of vLLM go too: on a CPU it sets LOCAL_WORLD_SIZE.
        new = {name: None for name in os.environ if name.startswith(_LAUNCHER_PREFIXES)}
        _set_environment({**new, **before})


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _own_device() -> dict[str, str | None]:
    """The variable that shows a process its devices, with this rank's alone; vLLM would take the first one."""
    from vllm.platforms import current_platform

    local_rank = os.environ.get("LOCAL_RANK")
    if not local_rank or current_platform.is_cpu():
        return {}
    name = current_platform.device_control_env_var
    visible = [device for device in os.environ.get(name, "").split(",") if device]
    return {name: visible[int(local_rank) % len(visible)] if visible else local_rank}


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Let child processes not import the script: training scripts often train when they are imported."""
    main = sys.modules["__main__"]
    names = [name for name in ("__spec__", "__file__") if hasattr(main, name)]
    before = {name: getattr(main, name) for name in names}
    main.__spec__ = None
    main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        main.__dict__.update(before)
