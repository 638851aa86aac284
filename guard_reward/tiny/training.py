"""Supervised training of tiny Qwen3 models, for the guard and the policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from guard_reward.progress_bars import progress_bar

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen3ForCausalLM

__all__ = [
    "Example",
    "ModelShape",
    "TrainingSettings",
    "new_model",
    "optimize",
    "save_checkpoint",
    "train",
]

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The size of a tiny Qwen3: widths in features, `context` in tokens."""

    layers: int = 3
    width: int = 128
    heads: int = 4
    key_value_heads: int = 2
    head_width: int = 32
    feed_forward: int = 320
    context: int = 4096

    def settings(self) -> dict[str, Any]:
        """The shape as arguments of ``Qwen3Config``."""
        return {
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head_width,
            "max_position_embeddings": self.context,
            # The default, 0.02, is for widths in the thousands: much slower here.
            "initializer_range": self.width**-0.5,
            "tie_word_embeddings": True,
            "dtype": "float32",
        }


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How long and how fast to train: AdamW, linear warm-up over the first 5% of the steps, then cosine to zero.

    `reading_weight` is the weight of `Example.reading` in the loss (targets have weight 1). It falls linearly to 0: at
    the end, what is left of that loss is chance (which request, which reply) and only adds noise.
    """

    epochs: int
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    reading_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of a whole text; the model learns to predict those from `target_start` on.

    `reading` is a span (start, end) of the context that it also learns to predict: a model learns to judge texts
    several times faster if it also learns what such texts look like.
    """

    token_ids: tuple[int, ...]
    target_start: int
    reading: tuple[int, int] = (0, 0)


def new_model(tokenizer: PreTrainedTokenizerBase, shape: ModelShape) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights (from torch's current seed), in float32."""
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    ends = {
        "eos_token_id": [tokenizer.eos_token_id, tokenizer.pad_token_id],
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = Qwen3Config(vocab_size=len(tokenizer), **shape.settings(), **ends)
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(**ends)
    return model


def train(model: Qwen3ForCausalLM, examples: Sequence[Example], settings: TrainingSettings, *, label: str) -> None:
    """Train in place on the targets' cross entropy, with a progress bar named `label`.

    Batches have contexts of about the same length (little padding), in a random order seeded by the label. Every token
    has the same weight in every batch: with a mean over each batch's tokens, openings of long targets would count less
    than those of short ones, and the model would give short answers too often.
    """
    random = Random(label)
    target_tokens = sum(len(example.token_ids) - example.target_start for example in examples) / len(examples)
    optimize(
        model,
        lambda: _batches(examples, settings.batch_size, random),
        lambda batch, reading_weight: _loss(model, batch, target_tokens, reading_weight),
        steps=settings.epochs * math.ceil(len(examples) / settings.batch_size),
        settings=settings,
        label=label,
    )


def optimize(
    model: PreTrainedModel,
    epoch: Callable[[], Iterable[Batch]],
    loss_of: Callable[[Batch, float], torch.Tensor],
    *,
    steps: int,
    settings: TrainingSettings,
    label: str,
) -> None:
    """Train in place, with a progress bar named `label`.

    Args:
        model: to train.
        epoch: the batches of one epoch.
        loss_of: batch, weight of the reading → loss.
        steps: batches of all epochs.
        settings: of the training.
        label: of the progress bar.
    """
    import torch

    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_factor(step, steps))
    model.train()
    with progress_bar(steps, label, "step") as progress:
        for _ in range(settings.epochs):
            for batch in epoch():
                loss = loss_of(batch, settings.reading_weight * (1 - progress.n / steps))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                progress.update()
                progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    model.eval()


def save_checkpoint(folder: Path, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write model, generation config and tokenizer as any checkpoint of the hub."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _learning_rate_factor(step: int, steps: int) -> float:
    """The share of the learning rate in a step: a linear warm-up over the first 5%, then a cosine to zero."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _batches(examples: Sequence[Example], size: int, random: Random) -> list[list[Example]]:
    """One epoch: sorted by context length with ties in random order, cut, and the batches shuffled.

    By context, not by whole length: batches of equally long targets would hold one style of reply each.
    """
    order = sorted(examples, key=lambda example: (example.target_start, random.random()))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    random.shuffle(batches)
    return batches


def _loss(model: Qwen3ForCausalLM, batch: list[Example], target_tokens: float, reading_weight: float) -> torch.Tensor:
    """Cross entropy of the targets and of the reading; no logits are computed elsewhere.

    `target_tokens` is the mean number of target tokens of an example in the whole data set.
    """
    import torch

    longest = max(len(example.token_ids) for example in batch)
    token_ids = torch.full((len(batch), longest), model.config.pad_token_id)  # (batch, tokens), right-padded
    is_target = torch.zeros((len(batch), longest), dtype=torch.bool)  # (batch, tokens)
    is_reading = torch.zeros_like(is_target)
    for row, example in enumerate(batch):
        token_ids[row, : len(example.token_ids)] = torch.tensor(example.token_ids)
        is_target[row, example.target_start : len(example.token_ids)] = True
        is_reading[row, slice(*example.reading)] = True
    # No attention mask: the padding is on the right, where causal attention cannot see it.
    hidden = model.model(input_ids=token_ids, use_cache=False).last_hidden_state[:, :-1]
    labels, is_target, is_reading = token_ids[:, 1:], is_target[:, 1:], is_reading[:, 1:]

    def cross_entropy(where: torch.Tensor, reduction: str) -> torch.Tensor:
        logits = model.lm_head(hidden[where])  # (tokens, vocabulary)
        return torch.nn.functional.cross_entropy(logits, labels[where], reduction=reduction)

    loss = cross_entropy(is_target, "sum") / (len(batch) * target_tokens)
    return loss + reading_weight * cross_entropy(is_reading, "mean") if is_reading.any() else loss
