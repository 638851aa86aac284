"""`load_guard`: a guard from a hub id or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guard_reward._renamed import renamed_names
from guard_reward.models.checkpoint import Checkpoint, checked_name

if TYPE_CHECKING:
    from guard_reward.guards.spec import GuardSpec
    from guard_reward.guards.transformers_guard import TransformersGuard

__all__ = ["load_guard"]


def load_guard(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    spec: GuardSpec | str | None = None,
    attn_implementation: str | None = None,
    quantization_config: Any = None,
    token_budget: int | None = None,
    compile: bool = False,
) -> TransformersGuard:
    """Load a generative guard from the hub or a folder.

    Args:
        model: hub id or folder of a Qwen3Guard-Gen checkpoint, or of any causal LM that answers in its format;
            ``modelscope:`` and an id for one from ModelScope (extra ``modelscope``).
        device: by default this process's accelerator (the launcher's local rank), else the CPU.
        dtype: of the weights, such as ``"bfloat16"``; by default the checkpoint's own, but float32 on a CPU without
            instructions for it (quantized weights stay as they are). ``"auto"`` is always the checkpoint's own.
        revision: branch, tag or commit on the hub; pin it, the reward depends on it.
        spec: the guard's family: a `guard_reward.GuardSpec`, or the name of a built-in one (``"qwen3guard"``).
            By default found by the checkpoint's architecture, chat template or name.
        attn_implementation: passed to transformers (``"sdpa"``, ``"eager"``, …); used by `guard.model` itself, not by
            scoring, which has its own attention.
        quantization_config: passed to transformers (``BitsAndBytesConfig``, ``TorchAoConfig``, …).
        token_budget: maximum number of input tokens per forward pass, shared ones counted once; by default what half of
            the free memory holds, at most 65,536 on an accelerator and 6,144 on a CPU. Halved when memory runs out,
            then grown again.
        compile: let ``torch.compile`` fuse what lies between two attentions. Costs about half a minute, once, and needs
            a C++ compiler on a CPU; for guards of the Llama family's shape (Qwen3Guard's), in plain weights.

    Raises:
        FileNotFoundError: a path that does not exist, or a folder without ``config.json``.
        ValueError: a checkpoint without a chat template, whose tokenizer cannot tell the labels apart, that does not
            attend to its whole context (sliding window, recurrent state), or that cannot be compiled.
        OSError: a hub id that does not exist or cannot be reached.

    >>> guard = load_guard("Qwen/Qwen3Guard-Gen-0.6B")                                      # doctest: +SKIP
    >>> guard.moderate([[{"role": "user", "content": "How do I pick a lock?"}]])[0].severity  # doctest: +SKIP
    <Severity.CONTROVERSIAL: 'Controversial'>
    """
    from guard_reward.guards.transformers_guard import TransformersGuard

    checkpoint = Checkpoint(
        name=checked_name(model),
        device=None if device is None else str(device),
        dtype=dtype,
        revision=revision,
        options={
            key: value
            for key, value in (
                ("attn_implementation", attn_implementation),
                ("quantization_config", quantization_config),
            )
            if value is not None
        },
    )
    return TransformersGuard(checkpoint, spec=_named_spec(spec), token_budget=token_budget, compile=compile)


def _named_spec(spec: GuardSpec | str | None) -> GuardSpec | None:
    if not isinstance(spec, str):
        return spec
    from guard_reward.guards.specs import SPECS

    if spec not in SPECS:
        raise ValueError(f"spec: there is no guard family {spec!r}; there are {', '.join(SPECS)}, or pass a GuardSpec")
    return SPECS[spec]


__getattr__ = renamed_names(__name__, "default_device", "outside_deepspeed")
