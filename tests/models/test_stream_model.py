"""The stream guard's model: the public checkpoints' tensors and config, and what is wrong with broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from guard_reward import Category, StreamGuard, load_guard
from guard_reward.models.stream_model import StreamLabels, stream_config
from guard_reward.tiny.tokenizer import build_tokenizer
from tests.stream_models import random_stream_model

# As the checkpoints on the hub have them.
HEADS = {
    "risk_level_category_pre.weight": (24, 32),
    "risk_level_category_layernorm.weight": (24,),
    "risk_level_head.weight": (3, 24),
    "category_head.weight": (8, 24),
    "query_risk_level_category_pre.weight": (24, 32),
    "query_risk_level_category_layernorm.weight": (24,),
    "query_risk_level_head.weight": (3, 24),
    "query_category_head.weight": (9, 24),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    tokenizer = build_tokenizer("guard")
    random_stream_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    for file in original.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **settings) -> None:
    config = json.loads((folder / "config.json").read_text())
    config = {name: value for name, value in {**config, **settings}.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config))


def test_tensors_have_the_public_names(original):
    tensors = load_file(original / "model.safetensors")
    assert {name: tuple(it.shape) for name, it in tensors.items() if not name.startswith("model.")} == HEADS
    assert "model.layers.0.self_attn.q_norm.weight" in tensors


def test_the_public_format_is_loaded_from_its_config_alone(checkpoint):
    """With a language-model head, code of its own that is not run, and maps with text as keys."""
    change_tensors(checkpoint, lambda it: it.update({"lm_head.weight": torch.zeros(900, 32)}))
    change_config(
        checkpoint,
        auto_map={"AutoModel": "modeling_qwen3_guard.Qwen3ForGuardModel"},
        response_risk_level_map={"0": "Controversial", "1": "Safe", "2": "Unsafe"},
    )
    (checkpoint / "modeling_qwen3_guard.py").write_text("raise SystemExit('this code must not run')")
    guard = load_guard(str(checkpoint))
    assert isinstance(guard, StreamGuard)
    assert guard.labels.risks == ("Controversial", "Safe", "Unsafe")
    assert guard.labels.query_risks == ("Safe", "Unsafe", "Controversial")


def test_a_checkpoint_comes_back_as_it_was(original):
    weights = load_guard(str(original), dtype="float32").model.state_dict()
    expected = random_stream_model(len(build_tokenizer("guard"))).state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", HEADS)
def test_a_missing_tensor_is_named(checkpoint, name):
    change_tensors(checkpoint, lambda tensors: tensors.pop(name))
    with pytest.raises(ValueError, match=f"lacks weights that Qwen3ForGuardModel needs \\({name}"):
        load_guard(str(checkpoint))


def test_a_misshapen_tensor_is_named(checkpoint):
    change_tensors(checkpoint, lambda tensors: tensors.update({"category_head.weight": torch.zeros(7, 24)}))
    with pytest.raises(ValueError, match=r"has category_head.weight with the shape \(7, 24\).* needs \(8, 24\)"):
        load_guard(str(checkpoint))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guard_inner_size": ...}, "the config lacks guard_inner_size"),
        ({"num_category": 9}, "num_category=9 and no response_category_map: known checkpoints have 8"),
        ({"response_risk_level_map": {"0": "Safe"}}, "response_risk_level_map should name the numbers 0 to 2"),
        ({"query_risk_level_map": {"0": "Safe", "1": "Bad", "2": "Unsafe"}}, "risk levels should be Safe, Unsafe"),
    ],
)
def test_a_broken_config_is_named(checkpoint, settings, message):
    change_config(checkpoint, **settings)
    with pytest.raises(ValueError, match=message):
        load_guard(str(checkpoint))


def test_known_labels():
    labels = StreamLabels.of(stream_config())
    assert labels.risks == ("Safe", "Unsafe", "Controversial")
    assert (len(labels.categories), labels.query_categories[8]) == (8, "Jailbreak")
    assert set(labels.query_categories) == set(Category)
