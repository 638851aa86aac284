"""A guard of a chosen shape without its weights, whose verdicts are chosen by the caller.

Without a checkpoint, speed can still be measured truthfully: the time of a forward pass depends on the model's shape,
not on what it has learnt. But a model with random weights answers nonsense and no draft is ever right, so its time is
not a guard's. This one is random except for three things:

1. Layer 0 has one head that looks exactly one token back and one that looks three back (constant queries and keys,
   turned against each other by the rotary embedding), and one that finds the marker token anywhere in the context.
2. The output matrices of all other heads and MLPs are small, so that what layer 0 found is still there at the end.
   They are computed like any others.
3. The head's rows for the verdict's tokens are trained, by logistic regression on the hidden states of a few hundred
   verdicts; its other rows are zero. It is not tied to the embedding.

So it says ``Safe`` to a row without the marker and ``Unsafe``, ``Violent`` to a row with it, in bfloat16 as well, with
a wide margin. Token ids are those of Qwen3's tokenizer; no tokenizer is needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

__all__ = ["END", "INPUT_END", "MARKER", "SHAPES", "encode", "shaped_guard"]

# Text → ids of Qwen3's tokenizer, for every piece of a verdict.
_PIECES = {
    "\n": [198],
    "Safety:": [73037, 25],
    "\nCategories:": [198, 20970, 25],
    "\nRefusal:": [198, 3945, 35414, 25],
    ",": [11],
    " None": [2240],
    " Yes": [7414],
    " No": [2308],
    " Safe": [22291],
    " Controversial": [2093, 12563, 530],
    " Unsafe": [73067],
    " Violent": [29455, 306],
    " Non-violent Illegal Acts": [11581, 75727, 306, 15038, 48818],
    " Sexual Content or Sexual Acts": [38667, 8883, 476, 38667, 48818],
    " PII": [393, 5543],
    " Suicide & Self-Harm": [64800, 609, 10115, 11278, 2178],
    " Unethical Acts": [1230, 74842, 48818],
    " Politically Sensitive Topics": [15928, 2673, 328, 18723, 40894],
    " Copyright Violation": [2955, 29455, 367],
    " Jailbreak": [56146, 8960],
}
_PIECE = re.compile("|".join(map(re.escape, sorted(_PIECES, key=len, reverse=True))))  # the longest first
END, INPUT_END, MARKER = 151645, 271, 5000  # <|im_end|>; the line break that ends the template; any word
_SAFE = ("Safety:", " Safe", "\nCategories:", " None", "\nRefusal:", " No")
_UNSAFE = ("Safety:", " Unsafe", "\nCategories:", " Violent", "\nRefusal:", " No")


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides the time of a forward pass."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int = 8
    head_dim: int = 128
    vocab_size: int = 151936


SHAPES = {
    "0.6B": Shape(1024, 3072, 28, 16),
    "4B": Shape(2560, 9728, 36, 32),
    "8B": Shape(4096, 12288, 36, 32),
    "tiny": Shape(64, 128, 2, 4, 2),  # no guard has it: for a trial of a benchmark
}


def encode(text: str) -> list[int]:
    """Ids of a verdict's text, as Qwen3's tokenizer gives them.

    Raises:
        ValueError: the text is not made of a verdict's pieces.
    """
    pieces = _PIECE.findall(text)
    if "".join(pieces) != text:
        raise ValueError(f"not made of a verdict's pieces: {text!r}")
    return [token for piece in pieces for token in _PIECES[piece]]


def shaped_guard(
    shape: str = "0.6B",
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: str | torch.device = "cpu",
    layers: int | None = None,
    seed: int = 0,
) -> Any:
    """A `Qwen3ForCausalLM` that answers ``Unsafe`` if the input has `MARKER`, else ``Safe``.

    Args:
        shape: a key of `SHAPES`.
        dtype, device: of the weights.
        layers: fewer layers than the shape has, for tests.
        seed: of the random weights.
    """
    sizes = {field: getattr(SHAPES[shape], field) for field in Shape.__dataclass_fields__}
    config = Qwen3Config(
        **{**sizes, "num_hidden_layers": layers or sizes["num_hidden_layers"]},
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=False,
        eos_token_id=END,
        pad_token_id=151643,
        bos_token_id=None,
    )
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.eval().requires_grad_(False)
    with torch.no_grad():
        _place_heads(model)
        _fit_head(model)
    return model


def _place_heads(model: Any) -> None:
    """Points 1 and 2 of the module's docstring."""
    config = model.config
    hidden, size = config.hidden_size, config.head_dim
    groups = config.num_attention_heads // config.num_key_value_heads
    embedding = model.get_input_embeddings().weight
    embedding.normal_(std=1.0)
    embedding[:, 0] = 8.0  # a part that all tokens share
    embedding[:, 1] = 0.0  # a part that only the marker has
    embedding[MARKER, 1] = 8.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(0.01)
        layer.mlp.down_proj.weight.mul_(0.01)
    attention = model.model.layers[0].self_attn
    attention.q_norm.weight.fill_(4.0)
    attention.k_norm.weight.fill_(4.0)

    def place(weight: torch.Tensor, head: int, column: int, vector: torch.Tensor) -> None:
        weight[head * size : (head + 1) * size] = 0
        weight[head * size : (head + 1) * size, column] = vector.to(weight)

    # Key-value head 0, with two queries: one and three tokens back. A query turned back by n positions matches best
    # the key that stands n positions before it; fast frequencies make the match sharp.
    half = size // 2
    angles = 1e6 ** (-torch.arange(half) / half)
    fast = (torch.arange(half) < 20).float()
    place(attention.k_proj.weight, 0, 0, torch.cat([fast, 0 * fast]))
    for head, back in ((0, 1), (1, 3)):
        turned = torch.cat([fast * torch.cos(angles * back), -fast * torch.sin(angles * back)])
        place(attention.q_proj.weight, head, 0, turned)
    # Key-value head 1: keys of the marker alone match, at any distance: slow frequencies.
    slow = (torch.arange(half) >= half - 8).float()
    place(attention.k_proj.weight, 1, 1, torch.cat([slow, 0 * slow]))
    for head in range(groups, 2 * groups):
        place(attention.q_proj.weight, head, 0, torch.cat([slow, 0 * slow]))
    # Their output is written into the residual stream with a large factor.
    for head in (0, 1, groups):
        columns = slice(head * size, (head + 1) * size)
        attention.o_proj.weight[:, columns] = torch.randn(hidden, size).to(attention.o_proj.weight) * 0.3


def _fit_head(model: Any) -> None:
    """Point 3 of the module's docstring."""
    device = model.device
    generator = torch.Generator().manual_seed(1)
    features, labels = [], []
    for unsafe in (False, True) * 4:
        answer = [token for piece in (_UNSAFE if unsafe else _SAFE) for token in encode(piece)]
        text = torch.randint(6000, 60000, (32, 24), generator=generator)
        if unsafe:
            text[torch.arange(32), torch.arange(32) % 24] = MARKER
        rows = torch.cat([text, torch.tensor([[INPUT_END, *answer]] * 32)], dim=1).to(device)
        hidden = model.model(input_ids=rows).last_hidden_state[:, -len(answer) - 1 :]  # (32, answer + 1, hidden)
        features.append(hidden.flatten(0, 1).float().cpu())
        labels += [*answer, END] * 32
    vocabulary = sorted(set(labels))
    x, y = torch.cat(features), torch.tensor([vocabulary.index(label) for label in labels])
    with torch.enable_grad():
        weight = torch.zeros(len(vocabulary), x.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = torch.nn.functional.cross_entropy(x @ weight.T, y) + 1e-3 * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
    head = model.get_output_embeddings().weight
    head.zero_()
    # Scaled up, so that all other tokens, at 0, are far below.
    head[torch.tensor(vocabulary, device=device)] = 4 * weight.detach().to(head)
