"""`load_guard`: a guard from a hub id or a folder, here or in vLLM, or from URLs. Importing it loads no torch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward._renamed import renamed_names

if TYPE_CHECKING:
    import torch

    from guard_reward.guards.served_guard import ServedGuard
    from guard_reward.guards.spec import GuardSpec
    from guard_reward.guards.stream_guard import StreamGuard
    from guard_reward.guards.transformers_guard import TransformersGuard
    from guard_reward.guards.vllm_guard import VLLMGuard
    from guard_reward.models.checkpoint import Checkpoint

__all__ = ["is_in_vllm", "is_served", "load_guard"]

_IN_VLLM = "vllm:"
_FROM_FILE = "file:"
_STREAM_ARCHITECTURE = "Qwen3ForGuardModel"


def load_guard(
    source: str | Path | Sequence[str],
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    spec: GuardSpec | str | None = None,
    policy: str | Path | None = None,
    attn_implementation: str | None = None,
    quantization_config: Any = None,
    token_budget: int | None = None,
    compile: bool = False,
    **options: Any,
) -> Any:
    """Load a guard from the hub or a folder, in this process or in vLLM, or connect to one that is served.

    Args:
        source: hub id or folder of a Qwen3Guard checkpoint (Gen or Stream), of another family's (docs/guards.md), or of
            any causal LM that answers as `spec` says; ``modelscope:`` and an id for one from ModelScope (extra
            ``modelscope``); ``vllm:`` in front of any of these to run it in vLLM (extra ``vllm``); or a server's URL
            (``"http://127.0.0.1:8000/v1"``), or several, in a list or with commas: replicas (extra ``served``).
        device: by default this process's accelerator (the launcher's local rank), else the CPU.
        dtype: of the weights, such as ``"bfloat16"``; by default the checkpoint's own, but float32 on a CPU without
            instructions for it (quantized weights stay as they are). ``"auto"`` is always the checkpoint's own.
        revision: branch, tag or commit on the hub; pin it, the reward depends on it (a served guard: its tokenizer's).
        spec: the guard's family: a `guard_reward.GuardSpec`, or the name of a built-in one (``"wildguard"``, …, or
            ``"rubric"`` for any instructed model). By default found by the architecture, chat template or name.
        policy: what is not allowed, in words (a `Path` or ``"file:…"``: a file of them), for a named family with one.
        attn_implementation: passed to transformers, such as ``"sdpa"``; scoring has its own attention.
        quantization_config: passed to transformers, such as a ``BitsAndBytesConfig``.
        token_budget: maximum number of input tokens per forward pass, shared ones counted once; by default what half of
            the free memory holds, at most 65,536 on an accelerator and 6,144 on a CPU. Halved when memory runs out,
            then grown again.
        compile: let ``torch.compile`` fuse what lies between two attentions. Costs about half a minute, once, and needs
            a C++ compiler on a CPU; for guards of the Llama family's shape (Qwen3Guard's), in plain weights.
        **options: the other arguments of `guard_reward.ServedGuard` (``model``, ``tokenizer``, ``deadline``, …), or of
            `guard_reward.VLLMGuard`: any of vLLM's engine arguments (``gpu_memory_utilization``, …).

    Returns:
        A `guard_reward.TransformersGuard`; for a stream checkpoint a `guard_reward.StreamGuard`; for URLs a
        `guard_reward.ServedGuard`, for ``vllm:`` a `VLLMGuard`.

    Raises:
        FileNotFoundError: a path that does not exist, or a folder without ``config.json``.
        ValueError: a checkpoint without a chat template, whose tokenizer cannot tell the labels apart, that does not
            attend to its whole context (sliding window, recurrent state), or that cannot be compiled; a URL that is
            none; an option that this kind of guard does not have.
        OSError: a hub id or server that cannot be reached.
        ModuleNotFoundError, RuntimeError: a package that the guard needs is missing; its engine does not start.

    >>> guard = load_guard("Qwen/Qwen3Guard-Gen-0.6B")                                      # doctest: +SKIP
    >>> guard.moderate([[{"role": "user", "content": "How do I pick a lock?"}]])[0].severity  # doctest: +SKIP
    <Severity.CONTROVERSIAL: 'Controversial'>
    >>> in_vllm = load_guard("vllm:Qwen/Qwen3Guard-Gen-4B", gpu_memory_utilization=0.3)     # doctest: +SKIP
    """
    local: dict[str, Any] = {"dtype": dtype, "token_budget": token_budget, "attn_implementation": attn_implementation}
    local |= {"quantization_config": quantization_config, "compile": compile or None, "device": device and str(device)}
    given = {name: value for name, value in local.items() if value is not None}
    return _loaded(source, given, options, spec=_named_spec(spec, policy), revision=revision)


def is_served(source: object) -> bool:
    """Whether a guard's name is one or several URLs.

    >>> is_served("http://127.0.0.1:8000/v1"), is_served("Qwen/Qwen3Guard-Gen-0.6B")
    (True, False)
    """
    if isinstance(source, str):
        return source.lstrip().startswith(("http://", "https://"))
    return isinstance(source, Sequence) and bool(source) and all(map(is_served, source))


def is_in_vllm(source: object) -> bool:
    """Whether a guard's name asks for vLLM.

    >>> is_in_vllm("vllm:Qwen/Qwen3Guard-Gen-0.6B"), is_in_vllm("Qwen/Qwen3Guard-Gen-0.6B")
    (True, False)
    """
    return isinstance(source, str) and source.startswith(_IN_VLLM)


def _loaded(source: Any, local: dict[str, Any], others: dict[str, Any], **common: Any) -> Any:
    """The guard, of the kind that its source says.

    Args:
        source: see `load_guard`.
        local: options of a guard in this process.
        others: options of other guards.
        common: options that all have.
    """
    if is_served(source):
        _refuse("a served guard", local, "its server decides that")
        return _served_guard(source, **common, **others)
    if not isinstance(source, str | Path):
        raise ValueError(f"a guard is a hub id, a folder, a URL or a list of URLs, found {source!r}")
    if is_in_vllm(source):
        engine = {name: local.pop(name) for name in ("dtype",) if name in local}
        _refuse("a guard in vLLM", local, "its engine decides that")
        return _vllm_guard(str(source), **common, **engine, **others)
    _refuse("a guard in this process", others, "they are for served guards and guards in vLLM")
    return _local_guard(source, **common, **local)


def _refuse(what: str, options: Iterable[str], reason: str) -> None:
    """Refuse options that this kind of guard does not have."""
    if names := ", ".join(options):
        raise ValueError(f"{names}: {what} has no such option; {reason}")


def _served_guard(source: Any, **options: Any) -> ServedGuard:
    try:
        import httpx  # noqa: F401  now: later it would be missing in the middle of a run
        import tenacity  # noqa: F401

        from guard_reward.guards.served_guard import ServedGuard
    except ModuleNotFoundError as error:
        message = f"a served guard needs {error.name}: pip install 'guard-reward[served]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    known = list(inspect.signature(ServedGuard).parameters)[1:]
    _refuse("a served guard", (name for name in options if name not in known), f"it has {', '.join(known)}")
    return ServedGuard(source, **options)


def _vllm_guard(source: str, **options: Any) -> VLLMGuard:
    from guard_reward.guards.vllm_guard import VLLMGuard
    from guard_reward.models.checkpoint import Checkpoint

    name = source.removeprefix(_IN_VLLM)
    if not name:
        raise ValueError(f"{source!r} names no guard: write a hub id or a folder behind it")
    is_stream = _is_stream(Checkpoint(name)) if Path(name).is_dir() else "qwen3guard-stream" in name.lower()
    if is_stream:
        raise ValueError(f"{name!r} is a stream guard, which runs in this process only: leave out {_IN_VLLM}")
    return VLLMGuard(name, **options)


def _local_guard(
    source: str | Path,
    *,
    spec: GuardSpec | None,
    revision: str | None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    token_budget: int | None = None,
    compile: bool = False,
    **model_options: Any,
) -> TransformersGuard | StreamGuard:
    from guard_reward.guards.transformers_guard import TransformersGuard
    from guard_reward.models.checkpoint import Checkpoint, checked_name

    checkpoint = Checkpoint(checked_name(source), device, dtype, revision, model_options)
    if _is_stream(checkpoint):
        from guard_reward.guards.stream_guard import StreamGuard

        _refuse("a stream guard", ["spec"] if spec is not None else [], "its format is fixed")
        return StreamGuard(checkpoint, token_budget=token_budget, compile=compile)
    return TransformersGuard(checkpoint, spec=spec, token_budget=token_budget, compile=compile)


def _is_stream(checkpoint: Checkpoint) -> bool:
    return _STREAM_ARCHITECTURE in checkpoint.architectures()


def _named_spec(spec: GuardSpec | str | None, policy: str | Path | None) -> GuardSpec | None:
    from guard_reward.guards.specs import SPECS, WITH_POLICY

    if policy is not None:
        if not isinstance(spec, str) or spec not in WITH_POLICY:
            taken = ", ".join(map(repr, WITH_POLICY))
            raise ValueError(f"policy: only some families take one, and spec= must name it: {taken}; found {spec!r}")
        return WITH_POLICY[spec](_read_policy(policy))
    if not isinstance(spec, str):
        return spec
    if spec not in SPECS:
        raise ValueError(f"spec: there is no guard family {spec!r}; there are {', '.join(SPECS)}, or pass a GuardSpec")
    return SPECS[spec]


def _read_policy(policy: str | Path) -> str:
    if isinstance(policy, str) and policy.startswith(_FROM_FILE):
        policy = Path(policy.removeprefix(_FROM_FILE).strip())
    text = policy.read_text(encoding="utf-8") if isinstance(policy, Path) else policy
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"policy: should be a text, or the Path of a file with one, found {policy!r}")
    if isinstance(policy, str) and _names_a_file(policy.strip()):
        raise ValueError(
            f"policy: {policy!r} is the name of a file, and would be the policy itself: pass Path({policy.strip()!r}), "
            f"or write '{_FROM_FILE}{policy.strip()}' in a recipe's file"
        )
    return text.strip()


def _names_a_file(text: str) -> bool:
    try:
        return "\n" not in text and (text.lower().endswith((".md", ".txt")) or Path(text).expanduser().is_file())
    except (OSError, ValueError, RuntimeError):  # too long for a name, or no name at all
        return False


__getattr__ = renamed_names(__name__, "default_device", "outside_deepspeed")
