"""Qwen3Guard-Stream's model: Qwen3 with heads that judge every token, in the public checkpoints' format.

Qwen3Guard Technical Report, arXiv 2510.14276, section 4. The last hidden state of a token goes through two paths: one
judges responses, one prompts. Each is a projection, an RMSNorm, and two heads: risk level and category. The public
checkpoints bring their own code; this module needs none of it, only their weights and config.

Tensors of a checkpoint, beside the backbone's under ``model.``:

| name | shape |
|---|---|
| ``risk_level_category_pre.weight`` | (guard_inner_size, hidden_size) |
| ``risk_level_category_layernorm.weight`` | (guard_inner_size,) |
| ``risk_level_head.weight`` | (num_risk_level, guard_inner_size) |
| ``category_head.weight`` | (num_category, guard_inner_size) |
| the same with ``query_`` in front | the sizes of ``num_query_risk_level`` and ``num_query_category`` |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen3Config, Qwen3Model
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

__all__ = ["Qwen3ForGuardModel", "StreamLabels", "stream_config"]

# The label maps of checkpoints whose config has none.
_RISKS = ("Safe", "Unsafe", "Controversial")
_CATEGORIES = (
    "Violent",
    "Sexual Content or Sexual Acts",
    "Suicide & Self-Harm",
    "Politically Sensitive Topics",
    "PII",
    "Copyright Violation",
    "Non-violent Illegal Acts",
    "Unethical Acts",
)
_SIZES = ("guard_inner_size", "num_risk_level", "num_category", "num_query_risk_level", "num_query_category")


@dataclass(frozen=True, slots=True)
class StreamLabels:
    """The names of the four heads' outputs, in the heads' order.

    Attributes:
        risks, categories: of a response's token.
        query_risks, query_categories: of a prompt.
    """

    risks: tuple[str, ...] = _RISKS
    categories: tuple[str, ...] = _CATEGORIES
    query_risks: tuple[str, ...] = _RISKS
    query_categories: tuple[str, ...] = (*_CATEGORIES, "Jailbreak")

    @classmethod
    def of(cls, config: Any) -> StreamLabels:
        """The names that a checkpoint's config gives (``response_risk_level_map``, …); else the known ones.

        Raises:
            ValueError: a map that does not name each output once, or risks that are not Safe, Unsafe, Controversial.
        """
        known = cls()
        labels = cls(
            _names(config, "response_risk_level_map", "num_risk_level", known.risks),
            _names(config, "response_category_map", "num_category", known.categories),
            _names(config, "query_risk_level_map", "num_query_risk_level", known.query_risks),
            _names(config, "query_category_map", "num_query_category", known.query_categories),
        )
        for risks in (labels.risks, labels.query_risks):
            if sorted(risks) != sorted(_RISKS):
                raise ValueError(f"the config's risk levels should be {', '.join(_RISKS)}, found {', '.join(risks)}")
        return labels


def _names(config: Any, name: str, count: str, known: tuple[str, ...]) -> tuple[str, ...]:
    size = getattr(config, count)
    mapping = getattr(config, name, None)
    if mapping is None:
        if size != len(known):
            raise ValueError(f"the config has {count}={size} and no {name}: known checkpoints have {len(known)}")
        return known
    by_number = {int(number): str(label).strip('"') for number, label in dict(mapping).items()}  # JSON's keys are text
    if sorted(by_number) != list(range(size)):
        raise ValueError(f"the config's {name} should name the numbers 0 to {size - 1}, found {sorted(by_number)}")
    return tuple(by_number[number] for number in range(size))


def stream_config(**settings: Any) -> Qwen3Config:
    """A config with the public checkpoints' head sizes, unless others are given.

    Args:
        **settings: of ``Qwen3Config``, and ``guard_inner_size``.
    """
    sizes = {"num_risk_level": 3, "num_category": 8, "num_query_risk_level": 3, "num_query_category": 9}
    inner = settings.get("hidden_size", Qwen3Config().hidden_size)
    return Qwen3Config(**{**sizes, "guard_inner_size": inner, "architectures": ["Qwen3ForGuardModel"], **settings})


class Qwen3ForGuardModel(PreTrainedModel):
    """The backbone and the heads. Its outputs stand in the place of a language model's logits, so that it runs on the
    same scoring engine.

    Args:
        config: of Qwen3, with ``guard_inner_size``, ``num_risk_level``, ``num_category``, ``num_query_risk_level`` and
            ``num_query_category``.

    Raises:
        ValueError: the config lacks one of them, or its label maps do not fit them.

    Attributes:
        labels: names of the heads' outputs.
    """

    config_class = Qwen3Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ("Qwen3DecoderLayer",)
    _keys_to_ignore_on_load_unexpected = (r"lm_head\.",)  # tied to the embeddings, and never used

    def __init__(self, config: Qwen3Config):
        super().__init__(config)
        missing = [name for name in _SIZES if not isinstance(getattr(config, name, None), int)]
        if missing:
            raise ValueError(f"the config lacks {', '.join(missing)}: is it that of a Qwen3Guard-Stream checkpoint?")
        self.labels = StreamLabels.of(config)
        inner, hidden = config.guard_inner_size, config.hidden_size
        self.model = Qwen3Model(config)
        self.risk_level_category_pre = nn.Linear(hidden, inner, bias=False)
        self.risk_level_category_layernorm = Qwen3RMSNorm(inner, eps=config.rms_norm_eps)
        self.risk_level_head = nn.Linear(inner, config.num_risk_level, bias=False)
        self.category_head = nn.Linear(inner, config.num_category, bias=False)
        self.query_risk_level_category_pre = nn.Linear(hidden, inner, bias=False)
        self.query_risk_level_category_layernorm = Qwen3RMSNorm(inner, eps=config.rms_norm_eps)
        self.query_risk_level_head = nn.Linear(inner, config.num_query_risk_level, bias=False)
        self.query_category_head = nn.Linear(inner, config.num_query_category, bias=False)
        self.post_init()

    def get_decoder(self) -> Qwen3Model:
        """The backbone."""
        return self.model

    def output_head(self, hidden: Tensor) -> Tensor:
        """The four heads' logits, one behind the other: response risk, response category, prompt risk, prompt category.

        Args:
            hidden: of the backbone's last layer, shape (…, hidden).

        Returns:
            Shape (…, outputs).
        """
        response = self.risk_level_category_layernorm(self.risk_level_category_pre(hidden))
        query = self.query_risk_level_category_layernorm(self.query_risk_level_category_pre(hidden))
        return torch.cat(
            (
                self.risk_level_head(response),
                self.category_head(response),
                self.query_risk_level_head(query),
                self.query_category_head(query),
            ),
            dim=-1,
        )

    @property
    def head_sizes(self) -> list[int]:
        """How many outputs each of the four heads has, in the order of `output_head`."""
        config: Any = self.config
        return [config.num_risk_level, config.num_category, config.num_query_risk_level, config.num_query_category]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast:
        """All heads at every token: ``logits`` has the shape (batch, tokens, outputs); see `output_head`."""
        output = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **options,
        )
        return CausalLMOutputWithPast(
            logits=self.output_head(output.last_hidden_state), past_key_values=output.past_key_values
        )
