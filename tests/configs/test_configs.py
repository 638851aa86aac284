"""Every file in configs/: read by the parsers that will read it, and true to what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("trl")

from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from trl import GRPOConfig, ModelConfig

from guard_reward.launch import GuardRewardConfig, MonitorConfig, parse
from guard_reward.launch.config import _find_helpfulness, build_scheme
from guard_reward.prompts import DataConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
EXPERIMENTS = sorted(path.name for path in CONFIGS.glob("*.yaml"))
TINY = [name for name in EXPERIMENTS if "tiny" in name]
REAL = [name for name in EXPERIMENTS if "tiny" not in name]
DISTRIBUTED = {
    "single_gpu": (DistributedType.NO, 1),
    "ddp": (DistributedType.MULTI_GPU, 8),
    "zero2": (DistributedType.DEEPSPEED, 8),
    "zero3": (DistributedType.DEEPSPEED, 8),
    "fsdp2": (DistributedType.FSDP, 8),
    "cpu_ddp": (DistributedType.MULTI_GPU, 2),
    "cpu_zero2": (DistributedType.DEEPSPEED, 2),
    "cpu_zero3": (DistributedType.DEEPSPEED, 2),
}


def read(name: str, *arguments: str) -> Any:
    """The configs that a file gives to its recipe, on a machine of one process."""
    trainer_config = GRPOConfig
    if name.startswith("ppo"):
        trainer_config = pytest.importorskip("guard_reward.trainers").PPOConfig
    classes = (GuardRewardConfig, DataConfig, trainer_config, ModelConfig, MonitorConfig)
    # What a machine without a GPU refuses is not what is tested here.
    configs = parse(classes, "", ["--config", str(CONFIGS / name), "--bf16", "false", *arguments])
    return configs[:4]


def test_the_files_that_the_documentation_names() -> None:
    assert set(EXPERIMENTS) >= {
        "grpo_06b.yaml",
        "grpo_guard_only.yaml",
        "grpo_lagrangian.yaml",
        "grpo_served.yaml",
        "grpo_soft_lora.yaml",
        "grpo_tiny.yaml",
        "gspo_hybrid.yaml",
        "ppo_hybrid.yaml",
        "ppo_tiny.yaml",
    }


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_key_is_an_option(name: str) -> None:
    guard, data, args, model = read(name)
    assert model.model_name_or_path
    assert guard.guard
    assert data.datasets
    assert data.eval_datasets
    assert args.output_dir == f"runs/{name.removesuffix('.yaml')}"
    assert args.resume_from_checkpoint == "auto"
    assert args.log_completions


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_scheme_can_be_made(name: str) -> None:
    guard, *_ = read(name)
    scheme = build_scheme(guard)
    if getattr(scheme, "needs_helpfulness", False):
        assert _find_helpfulness(guard.helpfulness) is not None


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_prompt_is_labelled_and_benign_ones_are_there(name: str) -> None:
    _, data, *_ = read(name)
    for sets in (data.datasets, data.eval_datasets):
        labels = [entry.harmful for entry in sets]
        assert None not in labels
        assert labels == ["harmful"] or {True, False} <= set(labels)


@pytest.mark.parametrize("name", TINY)
def test_tiny_files_need_no_network_and_no_gpu(name: str) -> None:
    guard, data, args, model = read(name)
    paths = [guard.guard, model.model_name_or_path, *(entry.path for entry in (*data.datasets, *data.eval_datasets))]
    assert all(path.startswith("runs/tiny/") for path in paths)
    assert args.report_to == []
    assert not args.use_vllm
    assert not args.use_cpu  # it would switch DeepSpeed off


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_logged_and_say_what_was_not_run(name: str) -> None:
    _, _, args, _ = read(name)
    assert args.report_to == ([] if name == "grpo_06b.yaml" else ["wandb"])  # the smallest run needs no account
    text = (CONFIGS / name).read_text(encoding="utf-8")
    assert "not run by this" in " ".join(text.split())
    assert "0.0.0.0" not in text
    assert args.vllm_mode == "colocate"


def test_no_experiment_trains_a_bfloat16_policy_without_float32_weights() -> None:
    """AdamW's steps of 1e-6 are lost in bfloat16: DeepSpeed keeps float32 weights, LoRA's adapters are float32."""
    for name in REAL:
        _, _, _, model = read(name)
        launch = next(line for line in (CONFIGS / name).read_text().splitlines() if "accelerate launch" in line)
        assert model.dtype == "float32" or model.use_peft or "zero" in launch, name


def test_the_reports_setting() -> None:
    guard, data, args, model = read("gspo_hybrid.yaml")
    assert (model.model_name_or_path, guard.guard) == ("Qwen/Qwen3-4B", "Qwen/Qwen3Guard-Gen-4B")
    assert (guard.scheme, guard.scheme_kwargs, guard.thinking) == (
        "hybrid",
        {"unsafe": -10, "refusal": -5},
        "separate",
    )
    assert {entry.path for entry in data.datasets} == {"allenai/wildjailbreak"}
    assert args.num_generations == 8
    assert (args.loss_type, args.importance_sampling_level, args.beta) == ("grpo", "sequence", 0.0)
    assert (args.epsilon, args.epsilon_high) == (3e-4, 4e-4)
    assert args.steps_per_generation == 4 * args.gradient_accumulation_steps  # or every ratio would be 1


@pytest.mark.parametrize(
    "name", ["grpo_06b.yaml", "gspo_hybrid.yaml", "ppo_hybrid.yaml", "ppo_tiny.yaml", "grpo_tiny.yaml"]
)
def test_checkpoints_fall_between_two_rounds(name: str) -> None:
    """A round of rollouts is not part of a checkpoint: only between two of them a run goes on exactly as it was."""
    _, _, args, _ = read(name)
    steps = args.steps_per_generation // args.gradient_accumulation_steps * args.num_iterations
    assert args.save_steps % steps == 0


@pytest.mark.parametrize("name", REAL)
def test_groups_are_whole_on_the_machine_that_the_file_is_for(name: str) -> None:
    _, _, args, _ = read(name)
    processes = 1 if "single_gpu.yaml" in (CONFIGS / name).read_text() else 8
    rollouts = processes * args.per_device_train_batch_size * args.steps_per_generation
    assert rollouts % max(args.num_generations, 2) == 0
    small = name in ("grpo_06b.yaml", "grpo_guard_only.yaml", "grpo_served.yaml")
    evaluated = 25 if small else 50 if processes == 1 else 200  # of 200 prompts
    assert processes * args.per_device_eval_batch_size == evaluated


def test_the_smallest_run_needs_no_account() -> None:
    _, data, args, _ = read("grpo_06b.yaml")
    assert "hf auth" not in (CONFIGS / "grpo_06b.yaml").read_text()
    assert not args.use_vllm
    assert {entry.path for entry in (*data.datasets, *data.eval_datasets)} == {
        "declare-lab/HarmfulQA",
        "bench-llm/or-bench",
        "JailbreakBench/JBB-Behaviors",
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "accelerate").glob("*.yaml")))
def test_accelerate_files(name: str) -> None:
    path = CONFIGS / "accelerate" / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert (config.distributed_type, config.num_processes) == DISTRIBUTED[name]
    assert config.use_cpu is name.startswith("cpu_")
    assert config.mixed_precision == ("no" if name.startswith("cpu_") else "bf16")
    stage = int(name[-1]) if "zero" in name else None
    assert config.deepspeed_config.get("zero_stage") == stage
    if stage == 3:
        assert config.deepspeed_config["zero3_save_16bit_model"] is True
    if name == "fsdp2":
        assert config.fsdp_config["fsdp_version"] == 2
        assert "never run" in path.read_text().splitlines()[0]


def test_all_accelerate_files_are_there() -> None:
    assert {path.stem for path in (CONFIGS / "accelerate").glob("*.yaml")} == set(DISTRIBUTED)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_commands_in_the_comments_name_files_that_exist(path: Path) -> None:
    root = CONFIGS.parent
    words = path.read_text(encoding="utf-8").split()
    named = [
        word
        for word in words
        if word.startswith(("configs/", "recipes/")) and not word.endswith("/") and "*" not in word
    ]
    assert all((root / word.strip("`,.;:()")).exists() for word in named), named


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_key_twice(name: str) -> None:
    keys = [line.split(":")[0] for line in (CONFIGS / name).read_text().splitlines() if line[:1].isalpha()]
    assert len(keys) == len(set(keys)) == len(yaml.safe_load((CONFIGS / name).read_text()))
