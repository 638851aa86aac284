"""The tiny guard: a Qwen3 of half a million parameters, trained on the oracle's verdicts in Qwen3Guard's format.

It is a checkpoint folder like any other and is loaded by the code that loads real guards. Its training data
covers prompts and responses, one turn and several, all severities, several categories at once, replies that answer
another request than the one asked, and nonsense of every kind (see `guard_reward.tiny.nonsense`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from guard_reward.tiny import nonsense
from guard_reward.tiny.cache import cached
from guard_reward.tiny.nonsense import sample_nonsense
from guard_reward.tiny.oracle import Judgement, judge_reply, judge_request, read_request
from guard_reward.tiny.recipe import build_key, hash_of_examples
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.shipped import shipped
from guard_reward.tiny.tokenizer import END_OF_TURN, build_tokenizer
from guard_reward.tiny.training import Example, ModelShape, TrainingSettings, new_model, save_checkpoint, train
from guard_reward.tiny.world import Split, Style, sample_reply, sample_request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from guard_reward.guards import TransformersGuard

__all__ = [
    "GuardSettings",
    "JudgedConversation",
    "build_tiny_guard",
    "guard_recipe",
    "load_tiny_guard",
    "sample_conversations",
]


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How the guard is made: number of training conversations, shape, training."""

    conversations: int = 16000
    shape: ModelShape = field(default_factory=ModelShape)
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=1))


@dataclass(frozen=True, slots=True)
class JudgedConversation:
    """Messages, and the oracle's judgement of the last one."""

    messages: tuple[dict[str, str], ...]
    judgement: Judgement


def load_tiny_guard(seed: int = 0, **load_kwargs: Any) -> TransformersGuard:
    """The tiny guard. Seed 0 comes with the package; others are trained on first use (one minute) and cached.

    Args:
        seed: of its weights and training data.
        **load_kwargs: for `guard_reward.load_guard` (``device=``, ``dtype=``).
    """
    from guard_reward import load_guard

    return load_guard(str(build_tiny_guard(seed)), **load_kwargs)


def build_tiny_guard(seed: int = 0, settings: GuardSettings | None = None, *, rebuild: bool = False) -> Path:
    """The checkpoint folder of the tiny guard: the one that comes with the package, or the cache, else trained now.

    Args:
        seed: of its weights and training data; the package has seed 0.
        settings: how it is trained; the package has the default settings.
        rebuild: train it on this machine even if it comes with the package.
    """
    if seed == 0 and settings is None and not rebuild and (folder := shipped("guard")):
        return folder
    settings = settings or GuardSettings()
    return cached(
        "tiny-guard",
        {"seed": seed, "settings": asdict(settings), **build_key("guard", __file__, nonsense.__file__)},
        lambda folder: _build(folder, seed, settings),
    )


def _build(folder: Path, seed: int, settings: GuardSettings) -> None:
    with reproducible(seed):
        tokenizer = build_tokenizer("guard")
        model = new_model(tokenizer, settings.shape)
        train(model, _examples(tokenizer, seed, settings), settings.training, label=f"tiny guard {seed}")
        save_checkpoint(folder, model, tokenizer)


def guard_recipe() -> dict[str, object]:
    """What the shipped guard is trained with; differs from its manifest if the world has changed since."""
    settings = GuardSettings()
    examples = _examples(build_tokenizer("guard"), 0, settings)
    return {"seed": 0, "settings": asdict(settings), "examples": hash_of_examples(examples)}


def _examples(tokenizer: PreTrainedTokenizerBase, seed: int, settings: GuardSettings) -> list[Example]:
    return [_example(tokenizer, conversation) for conversation in sample_conversations(seed, settings.conversations)]


def _example(tokenizer: PreTrainedTokenizerBase, conversation: JudgedConversation) -> Example:
    """The conversation under the guard's template, and the verdict to write: lines and end of turn."""
    messages = list(conversation.messages)
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    context = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    answer = tokenizer(conversation.judgement.verdict_text + END_OF_TURN, add_special_tokens=False)["input_ids"]
    first = rendered.index(messages[0]["content"])
    last = rendered.rindex(messages[-1]["content"]) + len(messages[-1]["content"])
    reading = [index for index, (start, end) in enumerate(context["offset_mapping"]) if end > first and start < last]
    return Example(
        (*context["input_ids"], *answer),
        target_start=len(context["input_ids"]),
        reading=(reading[0], reading[-1] + 1),
    )


def sample_conversations(seed: int, count: int, *, split: Split = Split.TRAIN) -> list[JudgedConversation]:
    """`count` conversations with the oracle's judgement of their last message; the same for the same seed."""
    random = Random(f"conversations {split} {seed}")
    return [_sample_conversation(random, split) for _ in range(count)]


def _sample_conversation(random: Random, split: Split) -> JudgedConversation:
    """A quarter judges a prompt, the rest a reply; one in eight has turns before the judged one."""
    messages: list[dict[str, str]] = []
    for _ in range(random.choices((0, 1, 2), weights=(14, 1, 1))[0]):
        messages.append(_user(random, split))
        messages.append(_assistant(random, split, messages[-1]["content"]))
    messages.append(_user(random, split))
    if random.random() < 0.25:
        return JudgedConversation(tuple(messages), judge_request(messages[-1]["content"]))
    messages.append(_assistant(random, split, messages[-1]["content"]))
    return JudgedConversation(tuple(messages), judge_reply(messages[-2]["content"], messages[-1]["content"]))


def _user(random: Random, split: Split) -> dict[str, str]:
    """A request, one in sixteen nonsense."""
    text = sample_request(random, harmful=random.random() < 0.6, split=split).text
    if random.random() < 0.0625:
        text = sample_nonsense(random, text, sample_request(random, harmful=random.random() < 0.6, split=split).text)
    return {"role": "user", "content": text}


def _assistant(random: Random, split: Split, request_text: str) -> dict[str, str]:
    """A reply, a quarter nonsense; one in five answers another request than the last."""
    asked = read_request(request_text)
    if asked is None or random.random() < 0.2:
        asked = sample_request(random, harmful=random.random() < 0.6, split=split)
    text = sample_reply(random, asked, _sample_style(random)).text
    if random.random() < 0.25:
        text = sample_nonsense(random, text, sample_reply(random, asked, _sample_style(random)).text)
    return {"role": "assistant", "content": text}


def _sample_style(random: Random) -> Style:
    return random.choices(list(Style), weights=(5, 3, 4, 3))[0]
