"""Ways in which a checkpoint's folder is damaged: each changes a copy of a guard's folder in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], None]
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"


def gone(*names: str) -> Damage:
    """Files that are not there."""
    return lambda folder: [(folder / name).unlink() for name in names] and None


def holds(name: str, content: str | bytes) -> Damage:
    """A file with another content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data) and None


def cut(name: str) -> Damage:
    """A file of which the second half is missing."""

    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return damage


def sharded(*then: Damage) -> Damage:
    """Weights in two shards with an index, and what is done to them."""

    def damage(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        keys = sorted(weights)
        parts = keys[: len(keys) // 2], keys[len(keys) // 2 :]
        for name, part in zip(SHARDS, parts, strict=True):
            save_file({key: weights[key] for key in part}, folder / name, metadata={"format": "pt"})
        places = {key: name for name, part in zip(SHARDS, parts, strict=True) for key in part}
        (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
        (folder / WEIGHTS).unlink()
        for one in then:
            one(folder)

    return damage


def edited(name: str, change: Callable[[Any], None]) -> Damage:
    """A JSON file in which something is changed."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return damage


def configured(**settings: Any) -> Damage:
    """Other settings in the model's config."""
    return edited("config.json", lambda config: config.update(settings))


def weighted(change: Callable[[dict[str, torch.Tensor]], None]) -> Damage:
    """Other weights."""

    def damage(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def adapter(*gone_too: str) -> Damage:
    """An adapter's files in the place of the model's."""

    def damage(folder: Path) -> None:
        gone(WEIGHTS, *gone_too)(folder)
        facts = {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3Guard-Gen-0.6B", "r": 8}
        (folder / "adapter_config.json").write_text(json.dumps(facts))
        save_file({"lora_A.weight": torch.zeros(8, 128)}, folder / "adapter_model.safetensors")

    return damage


def more_words(folder: Path) -> None:
    """A tokenizer with words that the model does not have."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"word{number}" for number in range(50)])
    tokenizer.save_pretrained(folder)


def words_only(folder: Path) -> None:
    """A tokenizer that does not know the labels."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "hello": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    gone("tokenizer.json", "tokenizer_config.json")(folder)
    made.save_pretrained(folder)


def end_token_of(name: str) -> Damage:
    """A tokenizer that ends a turn with another of its tokens."""
    return edited("tokenizer_config.json", lambda settings: settings.update(eos_token=name))


def encoder_decoder(folder: Path) -> None:
    """A model of another kind."""
    from transformers import T5Config

    T5Config(vocab_size=800, architectures=["T5ForConditionalGeneration"]).save_pretrained(folder)


def classifier(folder: Path) -> None:
    """The same network with a head of two classes."""
    configured(architectures=["Qwen3ForSequenceClassification"])(folder)
    weighted(lambda weights: weights.update({"score.weight": torch.ones(2, 128)}))(folder)
