"""Whether a checkpoint is whole: every file of a real one cut short, emptied, zeroed or taken away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from guard_reward.launch.checkpoints import fault_of

TENSORS = {"a": torch.zeros(40), "b": torch.ones(3, 2)}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """What transformers and `PPOTrainer` leave, with the weights in two shards."""
    folder = tmp_path / "checkpoint-4"
    (folder / "critic").mkdir(parents=True)
    for shard in SHARDS:
        save_file(TENSORS, folder / shard)
    index = {"metadata": {}, "weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "critic/optimizer.pt"):
        torch.save(TENSORS, folder / name)
    save_file(TENSORS, folder / "critic" / "value_head.safetensors")
    (folder / "README.md").write_text("")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 4}))
    return folder


FILES = [
    *SHARDS,
    *("optimizer.pt", "scheduler.pt", "rng_state.pth", "critic/optimizer.pt", "critic/value_head.safetensors"),
    *("model.safetensors.index.json", "trainer_state.json"),
]


def test_a_whole_one(checkpoint: Path) -> None:
    assert fault_of(checkpoint) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short(checkpoint: Path, name: str, left: float) -> None:
    data = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(data[: int(len(data) * left)])
    assert fault_of(checkpoint) == f"{name} was not written to its end"


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_zeros_as_a_power_cut_leaves_it(checkpoint: Path, name: str) -> None:
    (checkpoint / name).write_bytes(bytes((checkpoint / name).stat().st_size))
    assert fault_of(checkpoint) == f"{name} was not written to its end"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (SHARDS[1], f"{SHARDS[1]} is missing"),
        ("trainer_state.json", "it has no trainer_state.json"),
        ("optimizer.pt", None),  # save_only_model
    ],
)
def test_a_file_that_is_gone(checkpoint: Path, name: str, fault: str | None) -> None:
    (checkpoint / name).unlink()
    assert fault_of(checkpoint) == fault


def test_all_weights_are_gone(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "critic")
    for path in checkpoint.glob("model*"):
        path.unlink()
    assert fault_of(checkpoint) == "it has no weights"


@pytest.mark.parametrize("text", ["{}", "[]", '{"weight_map": ["a"]}'])
def test_an_index_without_weights(checkpoint: Path, text: str) -> None:
    (checkpoint / "model.safetensors.index.json").write_text(text)
    assert fault_of(checkpoint) == "model.safetensors.index.json names no weights"


def test_what_torch_saved_before_2020(checkpoint: Path) -> None:
    torch.save(TENSORS, checkpoint / "optimizer.pt", _use_new_zipfile_serialization=False)
    assert fault_of(checkpoint) is None
