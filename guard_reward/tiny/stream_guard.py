"""The tiny stream guard: half a million parameters in Qwen3Guard-Stream's format, trained on the oracle's token labels.

The label of a reply's token is the oracle's judgement of the reply up to there (`guard_reward.tiny.beginnings`), and of
the tokens that close it that of the whole; a prompt's is at its end token. It is a checkpoint folder like any other,
and is loaded by the code that loads Qwen3Guard-Stream. Its training conversations are those of the tiny guard.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from guard_reward.tiny import beginnings, nonsense
from guard_reward.tiny import guard as tiny_guard
from guard_reward.tiny.beginnings import judge_beginning
from guard_reward.tiny.cache import cached
from guard_reward.tiny.guard import JudgedConversation, sample_conversations
from guard_reward.tiny.oracle import Judgement
from guard_reward.tiny.recipe import build_key
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.shipped import shipped
from guard_reward.tiny.tokenizer import build_tokenizer
from guard_reward.tiny.training import ModelShape, TrainingSettings, optimize

if TYPE_CHECKING:
    from torch import Tensor

    from guard_reward.guards.stream_guard import StreamGuard
    from guard_reward.guards.stream_inputs import StreamEncoder
    from guard_reward.models.stream_model import Qwen3ForGuardModel, StreamLabels

__all__ = ["StreamGuardSettings", "build_tiny_stream_guard", "load_tiny_stream_guard", "stream_guard_recipe"]

_IGNORED = -100  # torch's label for places that are not learned


@dataclass(frozen=True, slots=True)
class StreamGuardSettings:
    """How the stream guard is made: number of training conversations, shape, training.

    Attributes:
        conversations: to learn from.
        shape: of the backbone; the heads are as wide.
        training: `reading_weight` is that of predicting the next token, as in `TrainingSettings`.
    """

    conversations: int = 16000
    shape: ModelShape = field(default_factory=ModelShape)
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=1))


@dataclass(frozen=True, slots=True)
class TokenExample:
    """A conversation as token ids, and the labels of some of its tokens.

    Attributes:
        token_ids: the whole input.
        start: where the labelled tokens begin; they go to the end.
        risks, categories: numbers of the heads' outputs, by token; `_IGNORED` for no label.
        is_response: whether they are labels of the response's heads, or the prompt's.
    """

    token_ids: tuple[int, ...]
    start: int
    risks: tuple[int, ...]
    categories: tuple[int, ...]
    is_response: bool


def load_tiny_stream_guard(seed: int = 0, **load_kwargs: Any) -> StreamGuard:
    """The tiny stream guard. Seed 0 comes with the package; others are trained on first use (a minute) and cached.

    Args:
        seed: of its weights and training data.
        **load_kwargs: for `guard_reward.load_guard` (``device=``, ``dtype=``).

    >>> guard = load_tiny_stream_guard(device="cpu")
    >>> messages = [{"role": "user", "content": "How do I use a blue gravok?"}]
    >>> (trace,) = guard.trace([[*messages, {"role": "assistant", "content": "Sure. First cut the gravok."}]])
    >>> str(trace.severity), trace.text[:trace.flagged_char]
    ('Unsafe', 'Sure. First cut the gravok')
    """
    from guard_reward import load_guard

    guard: StreamGuard = load_guard(str(build_tiny_stream_guard(seed)), **load_kwargs)
    return guard


def build_tiny_stream_guard(
    seed: int = 0, settings: StreamGuardSettings | None = None, *, rebuild: bool = False
) -> Path:
    """The checkpoint folder of the tiny stream guard; see `guard_reward.tiny.build_tiny_guard`.

    Args:
        seed: of its weights and training data.
        settings: another shape or training.
        rebuild: train it even if it comes with the package or is cached.
    """
    if seed == 0 and settings is None and not rebuild and (folder := shipped("stream-guard")):
        return folder
    settings = settings or StreamGuardSettings()
    sources = (__file__, beginnings.__file__, nonsense.__file__, tiny_guard.__file__)
    return cached(
        "tiny-stream-guard",
        {"seed": seed, "settings": asdict(settings), **build_key("policy", *sources)},
        lambda folder: _build(folder, seed, settings),
    )


def stream_guard_recipe() -> dict[str, object]:
    """What the shipped stream guard is trained with; differs from its manifest if the world has changed since."""
    settings = StreamGuardSettings()
    digest = hashlib.sha256()
    for example in _examples(0, settings):
        digest.update(f"{example}\n".encode())
    return {"seed": 0, "settings": asdict(settings), "examples": digest.hexdigest()}


def _build(folder: Path, seed: int, settings: StreamGuardSettings) -> None:
    with reproducible(seed):
        tokenizer = build_tokenizer("policy")
        model = _new_model(len(tokenizer), settings.shape)
        _train(model, _examples(seed, settings), settings.training, f"tiny stream guard {seed}")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _new_model(vocabulary: int, shape: ModelShape) -> Qwen3ForGuardModel:
    from guard_reward.models.stream_model import Qwen3ForGuardModel, stream_config

    return Qwen3ForGuardModel(stream_config(vocab_size=vocabulary, guard_inner_size=shape.width, **shape.settings()))


def _examples(seed: int, settings: StreamGuardSettings) -> list[TokenExample]:
    from guard_reward.guards.stream_inputs import StreamEncoder
    from guard_reward.models.stream_model import StreamLabels

    encoder = StreamEncoder(build_tokenizer("policy"), settings.shape.context)
    conversations = sample_conversations(seed, settings.conversations)
    messages = encoder.encode([list(conversation.messages) for conversation in conversations])
    labels = StreamLabels()
    return [_example(encoder, labels, *pair) for pair in zip(messages, conversations, strict=True)]


def _example(
    encoder: StreamEncoder, labels: StreamLabels, message: Any, conversation: JudgedConversation
) -> TokenExample:
    if message.is_response:
        ends = encoder.offsets(message)[: -message.closing, 1].tolist()
        judgements = [judge_beginning(message.text[:end]) for end in ends]
        judgements += [judge_beginning(message.text, is_whole=True)] * message.closing
        risks, categories = labels.risks, labels.categories
    else:
        judgements = [conversation.judgement]
        risks, categories = labels.query_risks, labels.query_categories
    labelled = [_labels(judgement, risks, categories) for judgement in judgements]
    return TokenExample(
        tuple(message.ids.tolist()),
        len(message.ids) - len(labelled),
        tuple(risk for risk, _ in labelled),
        tuple(category for _, category in labelled),
        message.is_response,
    )


def _labels(judgement: Judgement, risks: Sequence[str], categories: Sequence[str]) -> tuple[int, int]:
    """Numbers of the risk and of the first category; a category only where there is one."""
    name = next(iter(judgement.categories), None)
    return risks.index(judgement.severity.value), _IGNORED if name is None else categories.index(name)


def _train(model: Qwen3ForGuardModel, examples: Sequence[TokenExample], settings: TrainingSettings, label: str) -> None:
    """Train in place on the labels' cross entropy; the backbone also learns to predict the next token, ever less."""
    random = Random(label)
    optimize(
        model,
        lambda: _batches(examples, settings.batch_size, random),
        lambda batch, reading_weight: _loss(model, batch, reading_weight),
        steps=settings.epochs * math.ceil(len(examples) / settings.batch_size),
        settings=settings,
        label=label,
    )


def _batches(examples: Sequence[TokenExample], size: int, random: Random) -> Iterator[list[TokenExample]]:
    """One epoch: examples of about the same length together, ties and batches in random order."""
    order = sorted(examples, key=lambda example: (len(example.token_ids), random.random()))
    starts = list(range(0, len(order), size))
    random.shuffle(starts)
    for start in starts:
        yield list(order[start : start + size])


def _loss(model: Qwen3ForGuardModel, batch: Sequence[TokenExample], reading_weight: float) -> Tensor:
    import torch
    from torch.nn.functional import cross_entropy

    longest = max(len(example.token_ids) for example in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)  # (batch, tokens), right-padded
    labels = torch.full((4, len(batch), longest), _IGNORED)  # in the order of the heads
    following = torch.full((len(batch), longest), _IGNORED)
    for row, example in enumerate(batch):
        tokens = torch.tensor(example.token_ids)
        ids[row, : len(tokens)] = tokens
        following[row, : len(tokens) - 1] = tokens[1:]
        place = slice(example.start, len(tokens))
        risk, category = (0, 1) if example.is_response else (2, 3)
        labels[risk, row, place] = torch.tensor(example.risks)
        labels[category, row, place] = torch.tensor(example.categories)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    parts = model.output_head(hidden).split(model.head_sizes, dim=-1)
    embeddings = model.model.embed_tokens.weight
    loss = reading_weight * cross_entropy((hidden @ embeddings.T).flatten(0, 1), following.flatten())
    for logits, wanted in zip(parts, labels, strict=True):
        if (wanted != _IGNORED).any():
            loss = loss + cross_entropy(logits.flatten(0, 1), wanted.flatten())
    return loss
