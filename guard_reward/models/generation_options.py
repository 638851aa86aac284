"""Options of a checkpoint's generation config that make greedy ``generate`` differ from a plain arg-max.

A guard is scored by the arg-max of its logits. A checkpoint may ask ``generate`` for more: suppressed tokens, a
repetition penalty, beams. Which options do so is not listed here but asked of transformers, so that options of later
versions are found too: ``generate`` runs with a decoding loop of ours, which only looks at what it is given.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ignored_options", "warn_of_ignored_options"]

logger = logging.getLogger(__name__)
_SHARED = ("bos_token_id", "eos_token_id", "pad_token_id", "do_sample")  # what the meaning of others depends on
# What keeps the arg-max in its place, or what the engine does itself.
_PLAIN_MODES = ("greedy_search", "assisted_generation")
_PLAIN_PROCESSORS = ("LogitNormalization", "InfNanRemoveLogitsProcessor")
_PLAIN_CRITERIA = ("MaxLengthCriteria", "EosTokenCriteria")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what transformers says about options that greedy decoding does not read, or that cannot be met."""
    transformers = logging.getLogger("transformers.generation")
    before = transformers.level
    transformers.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.setLevel(before)


def warn_of_ignored_options(name: str, model: PreTrainedModel, max_new_tokens: int) -> str:
    """What `ignored_options` found, as text for the run's record: empty if nothing, else also logged as a warning.

    Args:
        name: the guard's, for the warning.
        model: a causal LM.
        max_new_tokens: the longest answer.
    """
    options = ", ".join(f"{option}={value!r}" for option, value in ignored_options(model, max_new_tokens).items())
    if options:
        logger.warning(
            "%s: generate would apply %s of the generation_config; scoring takes the plain arg-max, so verdicts may "
            "differ from those of generate. Without these options in generation_config.json they are the same",
            name,
            options,
        )
    return options


@_quietly()
def ignored_options(model: PreTrainedModel, max_new_tokens: int) -> dict[str, Any]:
    """Option → value, for the options of the model's generation config that greedy ``generate`` would apply.

    Sampling settings and limits of length are not among them: ``generate(do_sample=False, max_new_tokens=…)`` does not
    read them. An option that makes ``generate`` fail is.

    Args:
        model: a causal LM.
        max_new_tokens: the longest answer.
    """
    from transformers import GenerationConfig

    config = model.generation_config
    if config is None:
        return {}
    options = {name: value for name, value in config.to_diff_dict().items() if value is not None}
    shared = {name: options.pop(name) for name in _SHARED if name in options}
    if not options or _is_plain(model, max_new_tokens):
        return {}

    def counts(name: str) -> bool:
        """Whether the option alone makes a difference."""
        try:
            model.generation_config = GenerationConfig(**shared, **{name: options[name]})
        except ValueError:  # it contradicts the rest of a greedy configuration
            return True
        return not _is_plain(model, max_new_tokens)

    try:
        alone = {name: value for name, value in options.items() if counts(name)}
    finally:
        model.generation_config = config
    return alone or options  # if none does it alone, it is some of them together


def _is_plain(model: PreTrainedModel, max_new_tokens: int) -> bool:
    """Whether greedy ``generate`` takes nothing but the arg-max until the end token."""
    given: dict[str, Any] = {}

    def loop(
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **options: Any,
    ) -> torch.Tensor:
        given.update(
            processors={type(processor).__name__ for processor in logits_processor},
            criteria={type(criterion).__name__ for criterion in stopping_criteria},
            mode=generation_config.get_generation_mode(),
            inputs=input_ids,
            cache=type(options.get("past_key_values")).__name__,
        )
        return input_ids

    ids = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    try:
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            custom_generate=loop,
        )
    except Exception:  # generate itself refuses the options, in whichever way
        return False
    return (
        given["mode"] in _PLAIN_MODES
        and given["processors"] <= set(_PLAIN_PROCESSORS)
        and given["criteria"] <= set(_PLAIN_CRITERIA)
        and torch.equal(given["inputs"], ids)
        and "Quantized" not in given["cache"]
    )
