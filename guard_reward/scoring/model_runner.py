"""Two roads through a causal LM for a packed pass, with one interface.

`GenericRoad` calls the model's own forward and only takes the place of its attention function: any architecture
that calls attention through transformers' attention interface, quantized or not. `FastRoad` walks the layers of the
Llama family (Qwen3's shape) itself, does in the last layer only what the verdict needs, and lets PyTorch compile what
lies between two attentions. Both see the same tokens, slots and attention plan, and give the same answers.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from guard_reward.scoring.attention import attend
from guard_reward.scoring.draft import ROOT, Draft
from guard_reward.scoring.kv_cache import KeyValueStore
from guard_reward.scoring.memory import is_out_of_memory
from guard_reward.scoring.packing import Layout, Segment, lay_out, rounding_on
from guard_reward.scoring.prefixes import share_prefixes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FastRoad", "GenericRoad", "Road", "choose_road"]

logger = logging.getLogger(__name__)


class Road(Protocol):
    """A way through the model."""

    name: str

    def forward(self, layout: Layout, store: KeyValueStore) -> Tensor:
        """What the model has computed at the V verdict positions, for `logits` to turn into logits, shape (V, …).

        Keys and values of all the pass's tokens are in the store afterwards.
        """
        ...

    def logits(self, output: Tensor) -> Tensor:
        """Logits, shape (n, vocabulary), for n of the rows that `forward` gave."""
        ...


_NAME = "guard_reward_packed"
_running: ContextVar[tuple[Layout, KeyValueStore]] = ContextVar("the packed pass that a model is computing")


def _packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers' models call for attention while `GenericRoad` runs them.

    Args:
        module: the attention layer, which knows its number.
        query: shape (1, heads, T, head size); `key` and `value` with their heads.
        attention_mask: None; the layout knows who sees whom.
        scaling: of the scores.
        options: what some architectures add to attention; refused unless it is nothing.
    """
    refused = sorted(name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None)
    if refused:
        raise NotImplementedError(f"attention with {', '.join(refused)}")
    layout, store = _running.get()
    stored = store.write(module.layer_idx, layout.slots, key[0].transpose(0, 1), value[0].transpose(0, 1))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend(query[0].transpose(0, 1), stored, layout.attention, scale)[None], None


AttentionInterface.register(_NAME, _packed_attention)


class GenericRoad:
    """Through the model's own forward, with attention replaced.

    Args:
        model: whose attention goes through transformers' attention interface.
    """

    name = "generic"

    def __init__(self, model: PreTrainedModel):
        self.model = model
        self._head = _head_behind_the_decoder(model)
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def forward(self, layout: Layout, store: KeyValueStore) -> Tensor:
        """Hidden states, shape (V, hidden); logits where the architecture does more than apply a head to them."""
        inputs: dict[str, Any] = {
            "input_ids": layout.tokens[None],
            "position_ids": layout.positions[None],
            "use_cache": False,
        }
        with self._attention(layout, store):
            if self._head is not None:
                return self.model.get_decoder()(**inputs).last_hidden_state[0].index_select(0, layout.verdicts)
            if self._keeps_logits:
                return self.model(**inputs, logits_to_keep=layout.verdicts).logits[0]
            return self.model(**inputs).logits[0].index_select(0, layout.verdicts)

    def logits(self, output: Tensor) -> Tensor:
        """The head, where it was not applied yet."""
        return output if self._head is None else self._head(output)

    @contextlib.contextmanager
    def _attention(self, layout: Layout, store: KeyValueStore) -> Iterator[None]:
        """Have the model attend as `layout` says; afterwards it is as it was.

        Not for two threads at once: the engine sees to that.
        """
        config = self.model.config.get_text_config()
        before, token = config._attn_implementation, _running.set((layout, store))
        config._attn_implementation = _NAME
        try:
            yield
        finally:
            config._attn_implementation = before
            _running.reset(token)


class FastRoad:
    """Layer by layer through a model of the Llama family: Llama, Mistral, Qwen2, Qwen3.

    Args:
        model: one for which `is_passable`.
        compile: let PyTorch fuse what lies between two attentions.
    """

    name = "fast"
    architectures = ("llama", "mistral", "qwen2", "qwen3")

    def __init__(self, model: PreTrainedModel, *, compile: bool = False):
        self.decoder: Any = model.get_decoder()
        self.head = model.get_output_embeddings()
        self._before: Callable[..., Any] = _before_attention
        self._after: Callable[..., Any] = _after_attention
        if compile:
            self._before = torch.compile(_before_attention, dynamic=True)
            self._after = torch.compile(_after_attention, dynamic=True)

    @classmethod
    def is_passable(cls, model: PreTrainedModel) -> bool:
        """Whether the model has the shape that this road knows, in plain weights: no adapters, not quantized."""
        if model.config.model_type not in cls.architectures or _head_behind_the_decoder(model) is None:
            return False
        linear = [
            module
            for layer in model.get_decoder().layers
            for name, module in layer.named_modules()
            if name.endswith("_proj") or isinstance(module, nn.Linear)
        ]
        # Quantization libraries replace the layer or, like torchao, its weight; adapters replace the layer.
        return all(type(module) is nn.Linear and type(module.weight.data) is Tensor for module in linear)

    def forward(self, layout: Layout, store: KeyValueStore) -> Tensor:
        """Hidden states behind the last norm, shape (V, hidden)."""
        hidden = self.decoder.embed_tokens(layout.tokens)  # (T, hidden)
        cosine, sine = self.decoder.rotary_emb(hidden, layout.positions[None])
        rotation = (cosine[0, :, None], sine[0, :, None])  # (T, 1, head size) each
        *layers, last = self.decoder.layers
        for number, layer in enumerate(layers):
            query, key, value = self._before(layer, hidden, *rotation)  # (T, heads, head size) each
            stored = store.write(number, layout.slots, key, value)
            context = attend(query, stored, layout.attention, layer.self_attn.scaling)
            hidden = self._after(layer, hidden, context)  # (T, hidden)
        # Of the last layer nobody needs more than the keys and values of all tokens and the output at the verdict
        # positions.
        query, key, value = self._before(last, hidden, *rotation)
        stored = store.write(len(layers), layout.slots, key, value)
        query, hidden = query.index_select(0, layout.verdicts), hidden.index_select(0, layout.verdicts)  # (V, …)
        context = attend(query, stored, layout.verdict_attention, last.self_attn.scaling)
        return self.decoder.norm(self._after(last, hidden, context))

    def logits(self, output: Tensor) -> Tensor:
        """The head."""
        return self.head(output)


def _before_attention(layer: Any, hidden: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(T, hidden) → queries, keys, values of shape (T, their heads, head size), rotated to their positions."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    query, key, value = (
        projection(normed).unflatten(-1, (-1, attention.head_dim))
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm(query), attention.k_norm(key)
    return _rotated(query, cosine, sine), _rotated(key, cosine, sine), value


def _rotated(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864), with the two halves of a head as its planes."""
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat((-second, first), dim=-1) * sine


def _after_attention(layer: Any, hidden: Tensor, context: Tensor) -> Tensor:
    """Add what attention found, (T, heads, head size), and what the MLP makes of it, to (T, hidden)."""
    hidden = hidden + layer.self_attn.o_proj(context.flatten(1))
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def _head_behind_the_decoder(model: PreTrainedModel) -> nn.Module | None:
    """The output head, if logits are nothing but the head applied to the decoder's hidden states.

    Some architectures scale or cap the logits behind the head; for them None.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    if decoder is None or head is None or decoder is model:
        return None
    probe = torch.arange(4, device=model.device)[None]
    with torch.inference_mode():
        logits = model(input_ids=probe, use_cache=False).logits
        hidden = decoder(input_ids=probe, use_cache=False).last_hidden_state
        return head if _close(head(hidden), logits) else None


def choose_road(model: PreTrainedModel, *, compile: bool = False) -> Road:
    """The fastest road that `model` allows and on which a short trial gives the model's own logits.

    Args:
        model: the guard.
        compile: compile the road; costs time once, see `FastRoad`.

    Raises:
        ValueError: no road is right for the model (sliding windows, running states, an attention of its own), or it
            was to be compiled and cannot be.
    """
    check_attention(model)
    name = type(model).__name__
    if len({parameter.device for parameter in model.parameters()}) > 1:
        raise ValueError(f"{name} is spread over several devices; load the guard whole on one (device=, no device_map)")
    # A trainer may have switched autocast on; the guard keeps its own precision.
    with torch.autocast(model.device.type, enabled=False):
        passable = FastRoad.is_passable(model)
        if compile and not passable:
            raise ValueError(
                f"compile=True needs a guard of the Llama family's shape ({', '.join(FastRoad.architectures)}) in "
                f"plain weights; {name} here is scored through its own forward. Leave compile off"
            )
        if compile:
            fast = FastRoad(model, compile=True)
            if error := _fault(fast, model):
                raise ValueError(
                    f"{name} could not be compiled: {error}. Compiling needs a C++ compiler on a CPU and Triton on a "
                    "GPU; leave compile off"
                ) from error
            logger.info("scoring %s on the fast road, compiled", name)
            return fast
        if passable and _fault(fast := FastRoad(model), model) is None:
            logger.info("scoring %s on the fast road", name)
            return fast
        generic = GenericRoad(model)
        if error := _fault(generic, model):
            raise ValueError(
                f"{name} does not compute attention through transformers' attention interface alone, so its verdicts "
                "cannot be scored in one pass; guards of the Llama, Qwen, Mistral or Granite families can"
            ) from error
    logger.info("scoring %s on the generic road", name)
    return generic


def check_attention(model: PreTrainedModel) -> None:
    """A token must see its whole context, and nothing else must count: not its place in a cache, not other rows.

    Raises:
        ValueError: it does not.
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


class _OtherLogits(Exception):
    """A road computed something else than the model."""


@torch.inference_mode()
def _fault(road: Road, model: PreTrainedModel) -> Exception | None:
    """What goes wrong when a road is tried: two rows with one beginning, a forked draft, and a second pass.

    Raises:
        torch.OutOfMemoryError: that says nothing about the road.
    """
    fork = Draft(state=0)
    for token in (5, 6):
        fork.add(token, ROOT, 0)
    first, second, none = [0, 1, 2, 3, 1, 2], [0, 1, 2, 4], Draft(state=0)
    shared = share_prefixes([np.array(first), np.array(second)], [], 0)
    store = KeyValueStore()
    slots = store.take(len(first) + 1)
    guesses = store.take(2)
    segments = [
        Segment(first, shared[0].path, fork, guesses),
        Segment(second[shared[1].borrowed :], shared[1].path, none, guesses[:0]),
    ]
    expected = [first, [*first, 5], [*first, 6], second, [*first, 6, 7]]
    try:
        logits = [_run(road, model, segments, store)]
        path = np.concatenate([slots[: len(first)], guesses[1:], store.take(1)])
        logits.append(_run(road, model, [Segment([7], path, none, guesses[:0])], store))
        found = torch.cat(logits)
        for row, mine in zip(expected, found, strict=True):
            theirs = model(input_ids=torch.tensor([row], device=model.device), use_cache=False).logits[0, -1]
            if not _close(mine, theirs):
                raise _OtherLogits(f"the {road.name} road's logits are not the model's")
    except Exception as error:  # an architecture may fail in any way when its attention is replaced
        if is_out_of_memory(error):
            raise
        logger.info("%s cannot take the %s road: %r", type(model).__name__, road.name, error)
        return error
    return None


def _run(road: Road, model: PreTrainedModel, segments: list[Segment], store: KeyValueStore) -> Tensor:
    widest = max(len(segment.fresh) + len(segment.draft) for segment in segments)
    layout = lay_out(segments, model.device, *rounding_on(model.device, widest))
    return road.logits(road.forward(layout, store))


def _close(found: Tensor, expected: Tensor) -> bool:
    """Whether two ways of computing logits differ by rounding only; what is wrong differs by far more."""
    tolerance = 1e-2 if expected.dtype == torch.float32 else 0.1  # TensorFloat-32 is not far from half precision
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
