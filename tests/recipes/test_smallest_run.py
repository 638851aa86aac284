"""configs/grpo_06b.yaml on the tiny world: its own settings, with small models, prompts and lengths."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("trl")
pytest.importorskip("peft")

from pyarrow import parquet
from safetensors.torch import load_file

from tests.configs.test_smallest_run import CONFIGS, NAME, options_for_full_training
from tests.recipes.conftest import REPOSITORY, logged_steps, read_json

TINY: dict[str, Any] = {
    "model_name_or_path": "runs/tiny/policy",
    "dtype": "float32",
    "bf16": False,
    "guard": "runs/tiny/guard",
    "guard_dtype": "float32",
    "helpfulness": "guard_reward.tiny.oracle.oracle_helpfulness",
    "helpfulness_dtype": None,
    "datasets": [{"path": "runs/tiny/train.jsonl", "harmful": "harmful"}],
    "eval_datasets": [{"path": "runs/tiny/eval.jsonl", "harmful": "harmful"}],
    "max_completion_length": 12,
    "max_steps": 2,
    "save_steps": 2,
    "eval_steps": 2,
    "disable_tqdm": True,
}


@pytest.fixture
def train(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run the recipe with the file, in this process; the folder of the run."""

    def run(*options: str) -> Path:
        settings = yaml.safe_load((CONFIGS / NAME).read_text(encoding="utf-8"))
        (tmp_path / NAME).write_text(yaml.safe_dump({**settings, **TINY}), encoding="utf-8")
        script = str(REPOSITORY / "recipes" / "grpo.py")
        out = ["--output_dir", str(tmp_path / "run")]
        monkeypatch.chdir(world)
        monkeypatch.setattr(sys, "argv", [script, "--config", str(tmp_path / NAME), *options, *out])
        runpy.run_path(script, run_name="__main__")
        return tmp_path / "run"

    return run


@pytest.mark.slow
def test_lora(train: Callable[..., Path]) -> None:
    run = train()
    check_the_log(run)
    assert {parquet.read_metadata(path).num_rows for path in (run / "completions").glob("*.parquet")} >= {64}
    assert read_json(run / "adapter_config.json")["r"] == 32
    adapters = load_file(run / "adapter_model.safetensors")
    assert any(weights.any() for name, weights in adapters.items() if "lora_B" in name)  # they begin as zeros
    assert (run / "checkpoint-2" / "adapter_model.safetensors").exists()


@pytest.mark.slow
def test_full_training_with_the_options_of_the_header(train: Callable[..., Path], world: Path) -> None:
    run = train(*options_for_full_training())
    check_the_log(run)
    assert read_json(run / "run_config.json")["configs"]["GRPOConfig"]["steps_per_generation"] == 8
    before = load_file(world / "runs" / "tiny" / "policy" / "model.safetensors")
    after = load_file(run / "model.safetensors")
    assert any((after[name] != weights).any() for name, weights in before.items())


def check_the_log(run: Path) -> None:
    """Two steps under the hybrid scheme, each by the policy that is trained on its own completions; one evaluation."""
    steps = logged_steps(run)
    assert [step["step"] for step in steps] == [1, 2]
    for step in steps:
        assert {"guard/safe_rate/harmful", "guard/safe_rate/benign", "guard/helpfulness"} <= set(step)
        assert step["clip_ratio/region_mean"] == 0
        assert -10 <= step["reward"] <= 1
        assert step["grad_norm"] > 0
    record = read_json(run / "run_config.json")
    assert record["reward"]["scheme"].startswith("Hybrid")
    assert record["prompts"]["eval"]["rows"] == 128
