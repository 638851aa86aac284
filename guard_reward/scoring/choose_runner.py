"""Which runner a model gets: the fastest one that reproduces the model's own logits in a short trial."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guard_reward.models.weights import first_not_finite
from guard_reward.scoring.draft import ROOT, Draft
from guard_reward.scoring.kv_cache import KVCache
from guard_reward.scoring.memory import is_out_of_memory
from guard_reward.scoring.model_runner import FastRunner, GenericRunner, ModelRunner, is_close
from guard_reward.scoring.onednn import fast_products
from guard_reward.scoring.packing import Segment, pack, rounding_on
from guard_reward.scoring.prefixes import share_prefixes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["RunnerMismatch", "check_attention", "check_runner", "check_tokens_are_independent", "choose_runner"]

logger = logging.getLogger(__name__)


class RunnerMismatch(Exception):
    """A runner failed on a model, or its logits are not the model's."""


def choose_runner(model: PreTrainedModel, *, compile: bool = False) -> ModelRunner:
    """The fastest runner that works for `model`: its logits in a short trial are the model's own.

    Args:
        model: the guard.
        compile: use the compiled `FastRunner`; compiling takes time once.

    Raises:
        ValueError: no runner works for the model (sliding windows, recurrent state, its own attention code, one
            quantization scale for all tokens), or it cannot be compiled.
    """
    check_attention(model)
    name = type(model).__name__
    if len({parameter.device for parameter in model.parameters()}) > 1:
        raise ValueError(f"{name} is spread over several devices; load the guard whole on one (device=, no device_map)")
    # A trainer may have switched autocast on; the guard keeps its own precision.
    with torch.autocast(model.device.type, enabled=False), fast_products(model):
        check_tokens_are_independent(model)
        runner: ModelRunner = _compiled_runner(model) if compile else _first_that_works(model)
    logger.info("scoring %s with the %s runner%s", name, runner.name, ", compiled" if compile else "")
    return runner


def _compiled_runner(model: PreTrainedModel) -> FastRunner:
    name = type(model).__name__
    if not FastRunner.supports(model):
        raise ValueError(
            f"compile=True needs a guard of the Llama family's shape ({', '.join(FastRunner.architectures)}) in "
            f"plain weights; {name} here is scored through its own forward. Leave compile off"
        )
    runner = FastRunner(model, compile=True)
    try:
        check_runner(runner, model)
    except RunnerMismatch as error:
        raise ValueError(
            f"{name} could not be compiled: {error.__cause__ or error}. Compiling needs a C++ compiler on a CPU and "
            "Triton on a GPU; leave compile off"
        ) from error
    return runner


def _first_that_works(model: PreTrainedModel) -> ModelRunner:
    candidates = [FastRunner, GenericRunner] if FastRunner.supports(model) else [GenericRunner]
    for candidate in candidates:
        runner: ModelRunner = candidate(model)
        try:
            check_runner(runner, model)
        except RunnerMismatch as error:
            logger.info("the %s runner does not work for %s: %s", runner.name, type(model).__name__, error)
            mismatch = error
        else:
            return runner
    raise ValueError(
        f"{type(model).__name__} does not compute attention through transformers' attention interface alone "
        f"({mismatch}), so its verdicts cannot be scored in one pass; guards of the Llama, Qwen, Mistral or Granite "
        "families can"
    ) from mismatch


def check_attention(model: PreTrainedModel) -> None:
    """Check that each token sees its whole context, and that nothing else counts: no other row, no place in a cache.

    Raises:
        ValueError: the model has a recurrent state, length-dependent rotary embeddings, or a sliding window.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if getattr(model, "_is_stateful", False) or kinds - {"full_attention", "sliding_attention"}:
        raise ValueError(f"{type(model).__name__} keeps a running state; guards need full attention: {sorted(kinds)}")
    rope = str(getattr(config, "rope_parameters", None) or "")  # some architectures have one for each kind of layer
    if "'dynamic'" in rope or "'longrope'" in rope:
        raise ValueError(
            f"{type(model).__name__} has rotary embeddings (dynamic or longrope) that depend on the longest row of a "
            "batch; use a guard with default, linear, llama3 or yarn rotary embeddings"
        )
    window = getattr(config, "sliding_window", None)
    if (not kinds or "sliding_attention" in kinds) and window and window < config.max_position_embeddings:
        raise ValueError(
            f"{type(model).__name__} attends to the last {window} tokens only, of a context of "
            f"{config.max_position_embeddings}; one-pass scoring is exact for full attention. If no text exceeds the "
            "window, set max_position_embeddings in the checkpoint's config.json to the window"
        )


@torch.inference_mode()
def check_tokens_are_independent(model: PreTrainedModel) -> None:
    """Check that a token's logits are the same whatever tokens are computed with it in one call.

    Raises:
        ValueError: they are not, as with activations that are quantized with one scale for all tokens of a call; or
            they are not finite numbers.
    """
    row = torch.arange(8, device=model.device)[None]
    together = model(input_ids=row, use_cache=False).logits[0]
    if not together.isfinite().all():
        _refuse_not_finite(model)
    for length in (1, 4):
        alone = model(input_ids=row[:, :length], use_cache=False).logits[0]
        if not is_close(alone, together[:length]):
            raise ValueError(
                f"{type(model).__name__} computes other logits for a token when other tokens are computed with it, as "
                "torch.ao.quantization.quantize_dynamic makes it, which has one scale for all tokens of a call; "
                "quantize the weights only, or with a scale for each token: "
                "load_guard(..., quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))"
            )


def _refuse_not_finite(model: PreTrainedModel) -> None:
    name = getattr(model.config, "_name_or_path", "") or type(model).__name__
    if weight := first_not_finite(model):
        raise ValueError(f"{name}: {weight} has NaN or infinite numbers: copy the weights from the checkpoint again")
    raise ValueError(
        f"{name} in {model.dtype} gives outputs that are not finite numbers, which is an overflow: load it with "
        "dtype='bfloat16' or dtype='float32'"
    )


@torch.inference_mode()
def check_runner(runner: ModelRunner, model: PreTrainedModel) -> None:
    """Compare a runner's logits with the model's own on the passes of `probe_batch`.

    Raises:
        RunnerMismatch: the runner fails, or its logits are not the model's.
        torch.OutOfMemoryError: memory ran out; that says nothing about the runner.
    """
    cache = KVCache()
    passes, contexts = probe_batch(cache)
    try:
        found = torch.cat([_logits(runner, model, segments, cache) for segments in passes])
        for context, ours in zip(contexts, found, strict=True):
            theirs = model(input_ids=torch.tensor([context], device=model.device), use_cache=False).logits[0, -1]
            if not is_close(ours, theirs):
                raise RunnerMismatch(f"the {runner.name} runner's logits are not the model's")
    except RunnerMismatch:
        raise
    except Exception as error:  # an architecture may fail in any way when its attention is replaced
        if is_out_of_memory(error):
            raise
        raise RunnerMismatch(repr(error)) from error


def probe_batch(cache: KVCache) -> tuple[list[list[Segment]], list[list[int]]]:
    """Two passes that use everything a runner must do: a shared beginning, a forked draft, a second pass.

    Returns:
        The passes, and for each kept place of them, in order, the tokens up to there.
    """
    fork, none = Draft(state=0), Draft(state=0)
    for token in (5, 6):
        fork.add(token, ROOT, 0)
    first, second = [0, 1, 2, 3, 1, 2], [0, 1, 2, 4]
    shared = share_prefixes([np.array(first), np.array(second)], [], 0)
    slots = cache.allocate(len(first) + 1)
    guesses = cache.allocate(2)
    after_second_guess = np.concatenate([slots[: len(first)], guesses[1:], cache.allocate(1)])
    passes = [
        [
            Segment(first, shared[0].slots, fork, guesses),
            Segment(second[shared[1].num_cached :], shared[1].slots, none, guesses[:0]),
        ],
        [Segment([7], after_second_guess, none, guesses[:0])],
    ]
    return passes, [first, [*first, 5], [*first, 6], second, [*first, 6, 7]]


def _logits(runner: ModelRunner, model: PreTrainedModel, segments: list[Segment], cache: KVCache) -> Tensor:
    packed = pack(segments, model.device, *rounding_on(model.device, max(map(len, segments))))
    return runner.logits(runner.forward(packed, cache))
