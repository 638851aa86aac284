"""Two runners of a packed pass, with one interface.

`GenericRunner` calls the model's own forward and replaces only its attention function: any architecture that calls
attention through transformers' attention interface, quantized or not. `FastRunner` walks the layers of the Llama
family (Qwen3's shape) itself, computes in the last layer only what the answers need, and lets PyTorch compile what
lies between two attentions. Both see the same tokens, slots and attention plan, and give the same logits.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from guard_reward.scoring.attention import attend
from guard_reward.scoring.kv_cache import Storage
from guard_reward.scoring.packing import PackedPass

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FastRunner", "GenericRunner", "ModelRunner", "is_close"]


class ModelRunner(Protocol):
    """Runs a model's forward over a packed pass.

    Attributes:
        name: for logs and tables.
    """

    name: str

    def forward(self, packed: PackedPass, cache: Storage) -> Tensor:
        """The output at the V places of ``packed.logits_to_keep``, for `logits` to turn into logits, shape (V, …).

        Afterwards the keys and values of all tokens of the pass are in the cache.
        """
        ...

    def logits(self, output: Tensor) -> Tensor:
        """Logits, shape (n, vocabulary), of n rows of what `forward` returned."""
        ...


_NAME = "guard_reward_packed"
# Of the thread that runs the model; others find none.
_running: ContextVar[tuple[PackedPass, Storage]] = ContextVar("the packed pass that a model is computing")


@cache
def _switched(own: Any) -> Any:
    """The class that a config of class `own` has while `GenericRunner` runs its model.

    The thread that runs the model finds the packed attention in the config. Any other thread that uses the same model
    at the same time finds the model's own, so its attention, and the mask that transformers makes for it, stay right.
    """

    def implementation(config: Any) -> Any:
        return own._attn_implementation.fget(config) if _running.get(None) is None else _NAME

    def reduce(config: Any, protocol: Any) -> Any:
        """A copy, and what is pickled, has the class `own`."""
        _, _, *state = own.__reduce_ex__(config, 2)
        return object.__new__, (own,), *state

    members = {
        "__slots__": (),  # the same layout, or no config could change its class
        "__reduce_ex__": reduce,
        "_attn_implementation": own._attn_implementation.getter(implementation),
        "_own_class": own,
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
    }
    return type(own.__name__, (own,), members)


def _packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention function of transformers' models while `GenericRunner` runs them.

    Args:
        module: the attention layer; has its number as ``layer_idx``.
        query: shape (1, heads, T, head size); `key` and `value` have key-value heads.
        attention_mask: None; the packed pass says who sees whom.
        scaling: factor of the attention scores; by default ``head size ** -0.5``.
        options: what some architectures add to attention; refused if it is set.
    """
    refused = sorted(name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None)
    if refused:
        raise NotImplementedError(f"attention with {', '.join(refused)}")
    packed, cache = _running.get()
    stored = cache.write(module.layer_idx, packed.slots, key[0].transpose(0, 1), value[0].transpose(0, 1))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend(query[0].transpose(0, 1), stored, packed.attention, scale)[None], None


AttentionInterface.register(_NAME, _packed_attention)


class GenericRunner:
    """Runs the model's own forward, with its attention replaced.

    Args:
        model: calls attention through transformers' attention interface.
    """

    name = "generic"

    def __init__(self, model: PreTrainedModel):
        self.model = model
        self._head = _head_behind_the_decoder(model)
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def forward(self, packed: PackedPass, cache: Storage) -> Tensor:
        """Hidden states, shape (V, hidden); logits if the architecture does more than apply a head to them."""
        inputs: dict[str, Any] = {
            "input_ids": packed.tokens[None],
            "position_ids": packed.positions[None],
            "use_cache": False,
        }
        with self._attention(packed, cache):
            if self._head is not None:
                return self.model.get_decoder()(**inputs).last_hidden_state[0].index_select(0, packed.logits_to_keep)
            if self._keeps_logits:
                return self.model(**inputs, logits_to_keep=packed.logits_to_keep).logits[0]
            return self.model(**inputs).logits[0].index_select(0, packed.logits_to_keep)

    def logits(self, output: Tensor) -> Tensor:
        """Apply the head if `forward` did not."""
        return output if self._head is None else self._head(output)

    @contextlib.contextmanager
    def _attention(self, packed: PackedPass, cache: Storage) -> Iterator[None]:
        """Let the model attend, in this thread, as `packed` says.

        Only one thread may be inside; the engine holds the model lock.
        """
        config: Any = self.model.config.get_text_config()
        own: Any = getattr(
            type(config), "_own_class", type(config)
        )  # switched already in a process that was forked in a pass
        token = _running.set((packed, cache))
        object.__setattr__(config, "__class__", _switched(own))
        try:
            yield
        finally:
            object.__setattr__(config, "__class__", own)
            _running.reset(token)


class FastRunner:
    """Runs a model of the Llama family layer by layer: Llama, Mistral, Qwen2, Qwen3.

    Args:
        model: one that `supports` accepts.
        compile: let PyTorch fuse what lies between two attentions.
    """

    name = "fast"
    architectures = ("llama", "mistral", "qwen2", "qwen3")

    def __init__(self, model: PreTrainedModel, *, compile: bool = False):
        self.decoder: Any = model.get_decoder()
        self.head: Callable[[Tensor], Tensor] = _output_head(model)
        self._before: Callable[..., Any] = _before_attention
        self._after: Callable[..., Any] = _after_attention
        if compile:
            self._before = torch.compile(_before_attention, dynamic=True)
            self._after = torch.compile(_after_attention, dynamic=True)

    @classmethod
    def supports(cls, model: PreTrainedModel) -> bool:
        """Whether the model has the Llama family's shape in plain weights: no adapters, not quantized."""
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

    def forward(self, packed: PackedPass, cache: Storage) -> Tensor:
        """Hidden states behind the last norm, shape (V, hidden)."""
        hidden = self.decoder.embed_tokens(packed.tokens)  # (T, hidden)
        cosine, sine = self.decoder.rotary_emb(hidden, packed.positions[None])
        rotation = (cosine[0, :, None], sine[0, :, None])  # (T, 1, head size) each
        *layers, last = self.decoder.layers
        for number, layer in enumerate(layers):
            query, key, value = self._before(layer, hidden, *rotation)  # (T, heads, head size) each
            stored = cache.write(number, packed.slots, key, value)
            context = attend(query, stored, packed.attention, layer.self_attn.scaling)
            hidden = self._after(layer, hidden, context)  # (T, hidden)
        # The last layer's keys and values are needed for all tokens, its output only where logits are kept.
        query, key, value = self._before(last, hidden, *rotation)
        stored = cache.write(len(layers), packed.slots, key, value)
        kept = packed.logits_to_keep  # (V,)
        query, hidden = query.index_select(0, kept), hidden.index_select(0, kept)  # (V, …)
        context = attend(query, stored, packed.kept_attention, last.self_attn.scaling)
        return self.decoder.norm(self._after(last, hidden, context))

    def logits(self, output: Tensor) -> Tensor:
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
    """Add the attention output, (T, heads, head size), and then the MLP's, to (T, hidden)."""
    hidden = hidden + layer.self_attn.o_proj(context.flatten(1))
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def _output_head(model: PreTrainedModel) -> Any:
    """What makes outputs of the decoder's hidden states: vocabulary logits, or a stream guard's verdicts on tokens."""
    return getattr(model, "output_head", None) or model.get_output_embeddings()


def _head_behind_the_decoder(model: PreTrainedModel) -> Callable[[Tensor], Tensor] | None:
    """The output head, if logits are nothing but the head applied to the decoder's hidden states.

    Some architectures scale or cap the logits behind the head; for them None.
    """
    decoder, head = model.get_decoder(), _output_head(model)
    if decoder is None or head is None or decoder is model:
        return None
    probe = torch.arange(4, device=model.device)[None]
    with torch.inference_mode():
        logits = model(input_ids=probe, use_cache=False).logits
        hidden = decoder(input_ids=probe, use_cache=False).last_hidden_state
        return head if is_close(head(hidden), logits) else None


def is_close(found: Tensor, expected: Tensor) -> bool:
    """Whether two ways to compute logits differ by rounding only; a wrong one differs by far more."""
    tolerance = 1e-2 if expected.dtype == torch.float32 else 0.1  # TensorFloat-32 is not far from half precision
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
