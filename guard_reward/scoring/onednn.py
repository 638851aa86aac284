"""Large float32 matrix products by oneDNN on AMD's processors, where MKL, which PyTorch uses for float32, is slower."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["OneDNNProducts", "fast_products"]

MIN_MULTIPLICATIONS = 2**23  # a call of oneDNN takes 20 µs more, which smaller products do not gain
MIN_HIDDEN_SIZE = 512  # smaller models have few products of that size, but each call of PyTorch takes longer: 3 µs


def fast_products(model: PreTrainedModel) -> contextlib.AbstractContextManager[Any]:
    """While it is entered, `model` computes its products, in this thread, with the library that is faster here."""
    is_large = model.config.get_text_config().hidden_size >= MIN_HIDDEN_SIZE
    helps = is_large and model.dtype == torch.float32 and model.device.type == "cpu" and _is_faster()
    return OneDNNProducts() if helps else contextlib.nullcontext()


class OneDNNProducts(TorchFunctionMode):
    """While it is entered, oneDNN computes the large float32 products of this thread's linear layers.

    It has no gradients. Results differ from those of MKL by rounding, like those of MKL on another processor.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # The compiler chooses its products itself, and cannot translate this one.
        if func is linear and not kwargs and not torch.compiler.is_compiling() and _is_large(*args[:2]):
            return _product(*args)
        return func(*args, **(kwargs or {}))


def _is_large(states: Tensor, weight: Tensor) -> bool:
    """Whether (…, k) · (n, k)ᵀ is a plain float32 product that gains."""
    is_plain = all(
        type(factor.data) is Tensor and factor.dtype == torch.float32 and factor.device.type == "cpu"
        for factor in (states, weight)
    )
    return is_plain and states.numel() * weight.shape[0] >= MIN_MULTIPLICATIONS


def _product(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    bias = None if bias is None else bias.contiguous()  # the operator takes it to be
    return torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")


@cache
def _is_faster() -> bool:
    """Whether PyTorch has both libraries, and the processor is AMD's.

    It depends on the machine alone and not on a measurement, so that the same machine always rounds alike.
    """
    try:
        is_amd = "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False
    return is_amd and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available() and _has_operator()


def _has_operator() -> bool:
    """Whether this version of PyTorch has the operator, which is not of its public interface, as it is called here."""
    states, weight, bias = torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)
    try:
        return bool((_product(states, weight, bias) == 4).all())
    except (AttributeError, RuntimeError, TypeError):
        return False
