"""Whether a model has the weights that were trained: none of them random, left over, or lost on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check_weights", "first_not_finite"]

_SAMPLE = 1024  # numbers that are looked at first


def check_weights(name: str, model: PreTrainedModel, loading: Any) -> None:
    """Refuse a model that would judge with other weights than were trained.

    Args:
        name: of the checkpoint.
        model: as it was loaded.
        loading: what ``from_pretrained`` says of the weights.

    Raises:
        ValueError: names the first weight, and what is wrong with it.
    """
    kind = type(model).__name__
    if missing := sorted(loading["missing_keys"]):
        more = ", …" if len(missing) > 3 else ""
        raise ValueError(
            f"{name} lacks weights that {kind} needs ({', '.join(missing[:3])}{more}), which would be random"
        )
    if mismatched := sorted(loading["mismatched_keys"]):
        key, found, needed = mismatched[0]
        raise ValueError(
            f"{name} has {key} with the shape {tuple(found)}, and {kind} with its config needs {tuple(needed)}"
        )
    if left_over := _of_more_layers(model, loading["unexpected_keys"]):
        raise ValueError(
            f"{name} has {left_over}, and its config.json says fewer layers: take both from the same checkpoint"
        )
    if zero := _first_all_zero(model):
        raise ValueError(f"{name}: all numbers of {zero} are 0, as in a file that was not downloaded whole")


def _of_more_layers(model: PreTrainedModel, unexpected: Any) -> str | None:
    """A weight that the model has in other layers, and in this one not; others may be left over with good reason."""
    kinds = {re.sub(r"\d+", "#", key) for key in model.state_dict()}
    return next((key for key in sorted(unexpected) if re.sub(r"\d+", "#", key) in kinds), None)


def _first_all_zero(model: PreTrainedModel) -> str | None:
    """The first matrix that is all zeros. Vectors may be, and quantized weights have other forms."""
    for name, parameter in model.named_parameters():
        weights = parameter.data
        if type(weights) is not torch.Tensor or weights.dim() < 2 or not weights.is_floating_point():
            continue
        if not weights.is_meta and not weights.flatten()[:_SAMPLE].any() and not weights.any():
            return name
    return None


def first_not_finite(model: PreTrainedModel) -> str | None:
    """The first weight that is not finite everywhere; None if all are."""
    floats = ((name, one.data) for name, one in model.named_parameters() if one.is_floating_point())
    return next((name for name, weights in floats if not weights.isfinite().all()), None)
