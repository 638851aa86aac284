"""The models that come with the package: whole, and trained with today's world."""

import json
import shutil

import pytest

from guard_reward.tiny import shipped as shipped_module
from guard_reward.tiny.cache import cache_folder, hashes_of_files
from guard_reward.tiny.guard import build_tiny_guard, guard_recipe
from guard_reward.tiny.policy import build_tiny_policy, policy_recipe
from guard_reward.tiny.shipped import CHECKPOINTS, SHIPPED, read_recipe, shipped, write_shipped
from guard_reward.tiny.stream_guard import build_tiny_stream_guard, stream_guard_recipe

RECIPES = {
    "guard": guard_recipe,
    "stream-guard": stream_guard_recipe,
    "policy-refusing": lambda: policy_recipe("refusing"),
    "policy-balanced": lambda: policy_recipe("balanced"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_file_is_as_it_was_trained(name):
    folder = shipped(name)
    assert folder == CHECKPOINTS / name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"] == hashes_of_files(folder)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest["files"])
    assert ("generation_config.json" in manifest["files"]) == (name != "stream-guard")  # which generates nothing
    assert set(manifest["versions"]) == {"torch", "transformers", "tokenizers"}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recipe_is_todays(name):
    """If this fails, the world, its templates or the settings have changed: run ``make tiny-models`` and commit."""
    assert read_recipe(name) == json.loads(json.dumps(RECIPES[name]()))


def test_default_models_are_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARD_REWARD_CACHE", str(tmp_path))
    assert build_tiny_guard() == CHECKPOINTS / "guard"
    assert build_tiny_stream_guard() == CHECKPOINTS / "stream-guard"
    assert build_tiny_policy() == CHECKPOINTS / "policy-refusing"
    assert build_tiny_policy(start="balanced") == CHECKPOINTS / "policy-balanced"
    assert list(cache_folder().iterdir()) == []  # nothing was trained


@pytest.mark.parametrize("options", [{"seed": 1}, {"rebuild": True}])
def test_other_seeds_and_rebuilds_are_trained(options, monkeypatch):
    asked = []
    monkeypatch.setattr("guard_reward.tiny.guard.cached", lambda name, key, build: asked.append((name, key["seed"])))
    for module in ("policy", "stream_guard"):
        name = f"guard_reward.tiny.{module}.cached"
        monkeypatch.setattr(name, lambda name, key, build: asked.append((name, key["seed"])))
    build_tiny_guard(**options)
    build_tiny_stream_guard(**options)
    build_tiny_policy(**options)
    seed = options.get("seed", 0)
    assert asked == [("tiny-guard", seed), ("tiny-stream-guard", seed), ("tiny-policy-refusing", seed)]


def test_a_damaged_model_is_not_used(tmp_path, monkeypatch):
    shutil.copytree(CHECKPOINTS / "guard", tmp_path / "guard")
    monkeypatch.setattr(shipped_module, "CHECKPOINTS", tmp_path)
    assert shipped("guard") == tmp_path / "guard"
    (tmp_path / "guard" / "config.json").write_text("{}")
    assert shipped("guard") is None
    assert shipped("policy-refusing") is None  # missing


def test_writing_replaces_the_model_and_its_manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_module, "CHECKPOINTS", tmp_path / "checkpoints")
    checkpoint = tmp_path / "trained"
    checkpoint.mkdir()
    (checkpoint / "weights").write_text("1 2 3")
    (checkpoint / "manifest.json").write_text("the cache's own")
    write_shipped("guard", checkpoint, {"seed": 0})
    assert shipped("guard") == tmp_path / "checkpoints" / "guard"
    assert read_recipe("guard") == {"seed": 0}
