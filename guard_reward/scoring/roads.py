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
from guard_reward.scoring.grammar import Draft
from guard_reward.scoring.layout import Layout, Segment, lay_out
from guard_reward.scoring.prefixes import share_prefixes
from guard_reward.scoring.store import KeyValueStore

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
        """Have the model attend as `layout` says; afterwards it is as it was."""
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
        layers = model.get_decoder().layers
        projections = [
            module
            for layer in layers
            for name, module in layer.named_modules()
            if name.endswith("_proj") or isinstance(module, nn.Linear)
        ]
        return all(type(module) is nn.Linear for module in projections)

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
        return head if torch.equal(logits, head(hidden)) else None


def choose_road(model: PreTrainedModel, *, compile: bool = False) -> Road:
    """The fastest road that `model` allows and on which a short trial gives the model's own logits.

    Args:
        model: the guard.
        compile: compile the road; costs time once, see `FastRoad`.

    Raises:
        ValueError: no road is right for the model (sliding windows, running states, an attention of its own), or it
            was to be compiled and only the generic one is.
    """
    check_attention(model)
    name = type(model).__name__
    if FastRoad.is_passable(model) and _agrees(FastRoad(model), model):
        logger.info("scoring %s on the fast road%s", name, ", compiled" if compile else "")
        return FastRoad(model, compile=compile)
    if compile:
        raise ValueError(
            f"compile=True needs a guard of the Llama family's shape ({', '.join(FastRoad.architectures)}) in plain "
            f"weights; {name} here is scored through its own forward. Leave compile off"
        )
    generic = GenericRoad(model)
    if not _agrees(generic, model):
        raise ValueError(
            f"{name} does not compute attention through transformers' attention interface alone, so its verdicts "
            "cannot be scored in one pass; guards of the Llama, Qwen, Mistral or Granite families can"
        )
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
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise ValueError(
            f"{type(model).__name__} has {rope} rotary embeddings, which depend on the longest row of a batch; set "
            "rope_type to default (or yarn) in the checkpoint's config.json"
        )
    window = getattr(config, "sliding_window", None)
    if (not kinds or "sliding_attention" in kinds) and window and window < config.max_position_embeddings:
        raise ValueError(
            f"{type(model).__name__} attends to the last {window} tokens only, of a context of "
            f"{config.max_position_embeddings}; one-pass scoring is exact for full attention. If no text exceeds the "
            "window, set max_position_embeddings in the checkpoint's config.json to the window"
        )


@torch.inference_mode()
def _agrees(road: Road, model: PreTrainedModel) -> bool:
    """Whether two rows that share a beginning get the model's own logits on this road."""
    rows = [np.array([0, 1, 2, 3, 1, 2]), np.array([0, 1, 2, 4])]
    segments = [
        Segment(row[shared.borrowed :].tolist(), shared.path, Draft(), np.empty(0, dtype=np.int64))
        for row, shared in zip(rows, share_prefixes(rows, [], 0), strict=True)
    ]
    store = KeyValueStore()
    store.take(7)
    try:
        found = road.logits(road.forward(lay_out(segments, model.device, model.dtype), store))
    except Exception as error:  # an architecture may fail in any way when its attention is replaced
        logger.info("%s cannot take the %s road: %r", type(model).__name__, road.name, error)
        return False
    expected = [model(input_ids=torch.tensor(row, device=model.device)[None]).logits[0, -1] for row in rows]
    difference = (found - torch.stack(expected)).abs().max().item()
    scale = max(logits.abs().max().item() for logits in expected)
    return difference <= scale * (1e-4 if model.dtype == torch.float32 else 0.1)
