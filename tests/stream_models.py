"""A stream guard with random weights, and a stand-in for the code that the public checkpoints bring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import DynamicCache, PreTrainedTokenizerBase

from guard_reward.models.stream_model import Qwen3ForGuardModel, stream_config

RISKS = ["Safe", "Unsafe", "Controversial"]
CATEGORIES = [
    "Violent",
    "Sexual Content or Sexual Acts",
    "Suicide & Self-Harm",
    "Politically Sensitive Topics",
    "PII",
    "Copyright Violation",
    "Non-violent Illegal Acts",
    "Unethical Acts",
    "Jailbreak",
]


def random_stream_model(vocabulary: int, *, seed: int = 0, **settings: Any) -> Qwen3ForGuardModel:
    """A small model whose heads are so wide that the risk changes from token to token."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 1024, "guard_inner_size": 24}
    shape |= {"initializer_range": 0.3}
    model = Qwen3ForGuardModel(stream_config(vocab_size=vocabulary, **{**shape, **settings}))
    return model.float().eval()


class RemoteCode:
    """What is documented of the public checkpoints' code: ids go in, a verdict on each comes out, a state is kept.

    It reads token by token with a cache of its own, through transformers' own backbone, and takes the heads' weights
    by their names in the checkpoint.
    """

    def __init__(self, model: Qwen3ForGuardModel):
        self.backbone = model.model
        self.weights = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("model.")}
        self.epsilon = model.config.rms_norm_eps

    @torch.inference_mode()
    def read(self, ids: list[int]) -> DynamicCache:
        """The state behind a conversation of which nothing is judged."""
        state = DynamicCache()
        self.backbone(input_ids=torch.tensor([ids]), past_key_values=state, use_cache=True)
        return state

    @torch.inference_mode()
    def stream_moderate_from_ids(
        self, ids: list[int], role: str, stream_state: DynamicCache | None = None
    ) -> tuple[dict[str, list[Any]], DynamicCache]:
        """The verdicts on the next tokens, and the state behind them."""
        state = DynamicCache() if stream_state is None else stream_state
        found: dict[str, list[Any]] = {"risk_level": [], "risk_prob": [], "category": [], "category_prob": []}
        found["probabilities"] = []
        for token in ids:
            output = self.backbone(input_ids=torch.tensor([[token]]), past_key_values=state, use_cache=True)
            prefix = "query_" if role == "user" else ""
            inner = self._normed(output.last_hidden_state[0, -1], f"{prefix}risk_level_category")
            risk = linear(inner, self.weights[f"{prefix}risk_level_head.weight"]).softmax(-1)
            category = linear(inner, self.weights[f"{prefix}category_head.weight"]).softmax(-1)
            found["risk_level"].append(RISKS[int(risk.argmax())])
            found["risk_prob"].append(float(risk.max()))
            found["category"].append(CATEGORIES[int(category.argmax())])
            found["category_prob"].append(float(category.max()))
            found["probabilities"].append(
                [float(risk[RISKS.index(name)]) for name in ("Safe", "Controversial", "Unsafe")]
            )
        return found, state

    def _normed(self, hidden: Tensor, name: str) -> Tensor:
        inner = linear(hidden, self.weights[f"{name}_pre.weight"])
        return inner * torch.rsqrt(inner.pow(2).mean() + self.epsilon) * self.weights[f"{name}_layernorm.weight"]


def stand_in_verdicts(
    model: Qwen3ForGuardModel, tokenizer: PreTrainedTokenizerBase, before: list[int], tokens: list[int], role: str
) -> dict[str, list[Any]]:
    """What the stand-in says of `tokens` behind `before`."""
    code = RemoteCode(model)
    return code.stream_moderate_from_ids(tokens, role, code.read(before))[0]
