"""The recipes under ``accelerate launch`` with two processes and real DeepSpeed: train, save, go on, be killed, go on.

GPUs are not needed: ZeRO runs on a CPU with gloo. Guard and policy are of the same architecture throughout, which is
where a guard that ZeRO-3 takes for the policy's fails. Most runs share a launch (`phases`), because starting two
Python processes takes longer than they do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
pytest.importorskip("deepspeed")
pytest.importorskip("peft")

from tests.recipes.conftest import (
    REPOSITORY,
    SMALL,
    command,
    environment,
    launch_command,
    logged_steps,
    read_json,
    run_command,
)

pytestmark = pytest.mark.slow

# Steps of the first run and of the one that goes on: whole rounds of rollouts (PPO makes two steps of each).
STEPS = {"grpo": (1, 2), "ppo": (2, 4)}
# The soft reward is different for every rollout: a wrong row, or a guard on half its weights, would show.
STREAM = ["--stream_guard", "runs/tiny/stream-guard", "--stream_weight", "2.0"]
STOP = ["--stop_guard", "runs/tiny/stream-guard"]
SOFT = ["--scheme", "soft", "--scheme_kwargs", '{"scheme": "hybrid"}']


@pytest.fixture(scope="module", params=["cpu_zero2", "cpu_zero3"])
def launched(request: pytest.FixtureRequest, world: Path) -> tuple[str, Path]:
    """Every run of this accelerate config, in one launch: the config's name, and the folder of the runs."""
    folder = world / request.param
    phases = []
    for recipe, (first, last) in STEPS.items():
        for lora in ("full", "lora"):
            for run, steps in (
                (f"{recipe}-{lora}", first),
                (f"{recipe}-{lora}", last),
                (f"{recipe}-{lora}-whole", last),
            ):
                options = ["--use_peft", str(lora == "lora"), "--lora_r", "4", "--save_steps", str(first)]
                options += ["--max_steps", str(steps), "--output_dir", str(folder / run)]
                options += STREAM if recipe == "ppo" else []
                phases.append(command(recipe, *SMALL, *SOFT, *STOP, *options))
    file = world / f"{request.param}.json"
    file.write_text(json.dumps(phases))
    script = [str(REPOSITORY / "tests" / "recipes" / "phases.py"), str(file)]
    run_command(launch_command(request.param, script), world)
    return request.param, folder


@pytest.fixture(params=["grpo-full", "grpo-lora", "ppo-full", "ppo-lora"])
def run(request: pytest.FixtureRequest, launched: tuple[str, Path]) -> Path:
    """The folder of a run that was stopped after its first checkpoint and gone on with."""
    return launched[1] / request.param


def test_two_processes_trained_under_the_zero_stage_that_was_asked_for(launched: Any, run: Path) -> None:
    record = read_json(run / "run_config.json")
    for launch in (record["launch"], record["earlier"][0]["launch"]):
        assert (launch["distributed_type"], launch["world_size"]) == ("DEEPSPEED", 2)
        assert launch["zero_stage"] == int(launched[0][-1])
        assert launch["device"] == "cpu"


def test_ppo_had_rewards_per_token(run: Path) -> None:
    record = read_json(run / "run_config.json")
    if not run.name.startswith("ppo"):
        assert "dense_rewards" not in record
        return
    (described,) = record["dense_rewards"]
    assert (described["guard"], described["weight"]) == ("runs/tiny/stream-guard", "2.0")
    rounds = [step for step in logged_steps(run) if "stream/penalty" in step]  # PPO makes two steps of each
    assert all(step["stream/unjudged_rate"] == 0.0 for step in rounds)
    assert any(step["stream/penalty"] > 0 for step in rounds)


def test_unsafe_rollouts_were_stopped(run: Path) -> None:
    assert read_json(run / "run_config.json")["stopping"]["guard"] == "runs/tiny/stream-guard"
    rounds = [step for step in logged_steps(run) if "stopping/stopped_rate" in step]
    assert any(step["stopping/stopped_rate"] > 0 for step in rounds)
    assert all(step["stopping/not_judged_rate"] == 0.0 for step in rounds)


def test_it_went_on_from_its_checkpoint(run: Path) -> None:
    first, last = STEPS[run.name.split("-")[0]]
    record = read_json(run / "run_config.json")
    assert record["earlier"][0]["launch"]["resumed_from"] is None
    assert record["launch"]["resumed_from"] == str(run / f"checkpoint-{first}")
    assert read_json(run / "trainer_state.json")["global_step"] == last


def test_going_on_is_the_same_as_not_having_stopped(run: Path) -> None:
    """Optimizer shards, random states and the place in the data come back: not one weight differs."""
    whole = weights(run.with_name(f"{run.name}-whole"))
    resumed = weights(run)
    assert resumed.keys() == whole.keys()
    for name, tensor in resumed.items():
        assert (tensor == whole[name]).all(), name


def test_the_saved_policy_is_the_base_models_shape_or_an_adapter(run: Path, world: Path) -> None:
    saved = weights(run)
    start = weights(run / f"checkpoint-{STEPS[run.name.split('-')[0]][0]}")
    assert all(tensor.isfinite().all() for tensor in saved.values())
    assert any((tensor != start[name]).any() for name, tensor in saved.items())  # the last steps trained
    if run.name.endswith("full"):
        base = weights(world / "runs" / "tiny" / "policy")
        # Under ZeRO-2 transformers writes tied weights twice.
        tied = saved.pop("lm_head.weight", saved["model.embed_tokens.weight"])
        assert (tied == saved["model.embed_tokens.weight"]).all()
        assert {name: tensor.shape for name, tensor in saved.items()} == {n: t.shape for n, t in base.items()}
    else:
        assert read_json(run / "adapter_config.json")["base_model_name_or_path"] == "runs/tiny/policy"
        assert not (run / "model.safetensors").exists()
        assert {name.split(".")[-2] for name in saved} == {"lora_A", "lora_B"}
        assert all(tensor.numel() > 0 for tensor in saved.values())
    assert (run / "critic" / "value_head.safetensors").is_file() is run.name.startswith("ppo")


def test_rewards_are_those_of_one_process(run: Path, single_reward: Any) -> None:
    """The rollouts table has the rows of both ranks; one guard in one process pays each of them the same."""
    import pandas

    files = sorted((run / "completions").glob("*.parquet"))
    assert files
    for file in files:
        table = pandas.read_parquet(file)
        assert len(table) == 8  # two processes, four rollouts each
        prompts, completions = ([list(map(dict, cell)) for cell in table[name]] for name in ("prompt", "completion"))
        assert len({prompt[-1]["content"] for prompt in prompts}) == 2  # a group of four on each process
        stopped = [value if isinstance(value, str) else None for value in table["stopped_severity"]]
        expected = single_reward(prompts=prompts, completions=completions, stopped_severity=stopped)
        assert list(table["guard"]) == pytest.approx(expected, abs=1e-4)
        assert len(set(table["guard"])) > 2


@pytest.fixture(scope="module")
def single_reward(world: Path) -> Any:
    from guard_reward import GuardReward, load_guard, schemes
    from guard_reward.tiny.oracle import oracle_helpfulness

    guard = load_guard(world / "runs" / "tiny" / "guard", device="cpu")
    return GuardReward(guard, schemes.Soft(schemes.Hybrid()), helpfulness=oracle_helpfulness)


def test_metrics_cover_both_processes(run: Path) -> None:
    for step in logged_steps(run):
        assert step["guard/outcome/scored"] == 1
        assert step["guard/truncation_unknown_rate"] == 0


def test_plain_data_parallel_runs(world: Path, tmp_path: Path) -> None:
    recipe = command("grpo", *SMALL, *SOFT, "--max_steps", "1", "--output_dir", str(tmp_path))
    run_command(launch_command("cpu_ddp", recipe), world)
    launch = read_json(tmp_path / "run_config.json")["launch"]
    assert (launch["distributed_type"], launch["world_size"], launch["zero_stage"]) == ("MULTI_CPU", 2, None)
    assert weights(tmp_path).keys() == weights(world / "runs" / "tiny" / "policy").keys()


def test_a_killed_run_keeps_its_multiplier(world: Path, tmp_path: Path) -> None:
    """Lagrangian under ZeRO-3 without `zero3_init_flag`: killed behind a checkpoint, λ goes on where it was."""
    out = tmp_path / "run"
    lagrangian = ["--scheme", "lagrangian", "--scheme_kwargs", '{"unsafe_rate": 0.0, "learning_rate": 1.0}']
    recipe = [*SMALL, *lagrangian, "--save_steps", "1", "--save_total_limit", "99", "--output_dir", str(out)]

    def launch(steps: int) -> list[str]:
        script = command("grpo", *recipe, "--max_steps", str(steps))
        return launch_command("cpu_zero3", script, "--zero3_init_flag", "false")

    kill_after(launch(1000), world, out / "checkpoint-2" / "trainer_state.json")
    finished = max(step for step in range(1, 1000) if has_multiplier(out / f"checkpoint-{step}"))
    saved = multiplier(out / f"checkpoint-{finished}")
    assert saved["batches"] == finished
    assert saved["multiplier"] > 1  # learned: it starts at 1, and no unsafe rollout is tolerated

    run_command(launch(finished + 1), world)
    assert read_json(out / "run_config.json")["launch"]["resumed_from"] == str(out / f"checkpoint-{finished}")
    assert logged_steps(out)[-1]["guard/lagrange_multiplier"] == pytest.approx(saved["multiplier"])
    assert multiplier(out / f"checkpoint-{finished + 1}")["batches"] == finished + 1


def test_a_killed_ppo_run_is_the_run_that_was_not_killed(world: Path, tmp_path: Path) -> None:
    """Policy, value head, its optimizer and λ of one process, killed behind a checkpoint and gone on with."""
    import torch
    from safetensors.torch import load_file

    # SMALL's four samples of a prompt, two steps a round; every checkpoint is behind a whole round.
    options = [*SMALL, "--scheme", "lagrangian", "--save_steps", "2", "--save_total_limit", "99", "--max_steps", "8"]

    def recipe(folder: str) -> list[str]:
        return [sys.executable, *command("ppo", *options, "--output_dir", str(tmp_path / folder))]

    run_command(recipe("whole"), world)
    kill_after(recipe("killed"), world, tmp_path / "killed" / "checkpoint-2" / "trainer_state.json")
    run_command(recipe("killed"), world)
    assert read_json(tmp_path / "killed" / "run_config.json")["launch"]["resumed_from"] is not None
    last = [tmp_path / run / "checkpoint-8" for run in ("whole", "killed")]
    for file in ("model.safetensors", "critic/value_head.safetensors"):
        whole, killed = (load_file(checkpoint / file) for checkpoint in last)
        assert all(torch.equal(tensor, killed[name]) for name, tensor in whole.items()), file
    whole, killed = (torch.load(checkpoint / "critic" / "optimizer.pt")["state"][0] for checkpoint in last)
    assert torch.equal(whole["exp_avg"], killed["exp_avg"])
    assert multiplier(last[0]) == multiplier(last[1])


def kill_after(command: list[str], folder: Path, file: Path) -> None:
    """Start a launch, wait until it has written a file, and kill it with all its processes, as a machine would."""
    import psutil

    log = folder / "killed.log"
    with log.open("w") as output:
        process = psutil.Popen(command, cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 300
            while not file.exists():
                assert process.poll() is None, log.read_text()[-6000:]
                assert time.monotonic() < deadline, log.read_text()[-6000:]
                time.sleep(0.05)
        finally:
            family = [process, *process.children(recursive=True)]
            for member in family:
                member.kill()
            psutil.wait_procs(family)


def has_multiplier(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end."""
    try:
        return bool(multiplier(checkpoint))
    except (OSError, ValueError):
        return False


def multiplier(checkpoint: Path) -> dict[str, Any]:
    return read_json(checkpoint / "trainer_state.json")["stateful_callbacks"]["LagrangeMultiplier/guard"]["attributes"]


def weights(folder: Path) -> dict[str, Any]:
    """The tensors of a saved model or adapter, by name."""
    from safetensors.torch import load_file

    names = ("model.safetensors", "adapter_model.safetensors")
    (file,) = [folder / name for name in names if os.path.exists(folder / name)]
    return load_file(file)
