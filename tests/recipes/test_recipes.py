"""The recipes alone, in one process: help, mistakes, what a run leaves behind, and the tiny world they run on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tests.recipes.conftest import SMALL, command, environment, logged_steps, read_json


def test_the_tiny_world(world: Path) -> None:
    folder = world / "runs" / "tiny"
    for name in ("guard", "stream-guard", "policy"):
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
            path.name for path in (folder / name).iterdir()
        }
    train, evaluation = (
        [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()] for name in ("train", "eval")
    )
    assert (len(train), len(evaluation)) == (720, 128)
    assert {tuple(row) for row in train} == {("prompt", "harmful")}
    assert 0.5 < sum(row["harmful"] for row in train) / len(train) < 0.7
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in evaluation}


def test_the_old_command_of_the_tiny_world_names_the_new_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "guard_reward.tiny", str(tmp_path / "new" / "world")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert "use guard-reward tiny" in done.stderr
    assert "next: python recipes/grpo.py --config configs/grpo_tiny.yaml" in done.stdout
    assert {path.name for path in (tmp_path / "new" / "world").iterdir()} == {
        "guard",
        "stream-guard",
        "policy",
        "train.jsonl",
        "eval.jsonl",
        "replies.jsonl",
    }


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_help(name: str, run_here: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_here(name, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"python recipes/{name}.py --config configs/{name}_tiny.yaml" in text
    assert text.index("--guard GUARD") < text.index("--learning_rate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gaurd", "x"], "error: unknown option(s) on the command line: gaurd"),
        (["--dataset_name", "none.jsonl"], "error: datasets: the file 'none.jsonl' does not exist"),
        (["--guard", "./none"], "error: guard: './none' could not be loaded: model folder './none' does not exist"),
        (["--model_name_or_path", "./none"], "error: model_name_or_path: "),
        (["--scheme", "strict"], "error: scheme: there is no 'strict'"),
        (["--resume_from_checkpoint", "lost"], "error: resume_from_checkpoint: 'lost' is not a checkpoint folder"),
    ],
)
def test_mistakes_are_one_line(
    run_here: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_here("grpo", "--output_dir", str(tmp_path / "out"), *arguments)
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_a_run_as_a_user_starts_it(
    name: str,
    world: Path,
    tmp_path: Path,
    run_here: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`python recipes/grpo.py …`: a process of its own, one step, evaluated; another scheme is then another run."""
    out = tmp_path / "run"
    small = [*SMALL, "--max_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1", "--output_dir", str(out)]
    done = subprocess.run(
        [sys.executable, *command(name, *small)], cwd=world, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "has no checkpoint: starting fresh" in done.stderr

    history = read_json(out / "trainer_state.json")["log_history"]
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [set(entry) for entry in history]
    assert [name for name in history[0] if name.startswith("guard/sum/")]

    record = read_json(out / "run_config.json")
    assert record["reward"]["guard"] == "runs/tiny/guard"
    assert record["reward"]["helpfulness"] == "oracle_helpfulness"
    assert record["launch"]["world_size"] == 1
    assert record["launch"]["distributed_type"] == "NO"
    assert record["prompts"]["train"] == {"rows": 720, "sources": {"train": 720}}
    assert record["prompts"]["eval"]["rows"] == 128
    assert record["configs"]["PPOConfig" if name == "ppo" else "GRPOConfig"]["max_steps"] == 1
    card = (out / "README.md").read_text()
    assert "## Guard used as the reward" in card
    assert "fine-tuned version of `runs/tiny/policy`." in card
    assert {"model.safetensors", "checkpoint-1", "completions", "trainer_state.json"} <= {p.name for p in out.iterdir()}

    (step,) = logged_steps(out)
    assert {"guard/safe_rate", "guard/truncated_rate", "guard/helpfulness"} <= set(step)
    assert step["guard/truncation_unknown_rate"] == 0  # the end ids were filled in
    evaluation = next(entry for entry in read_json(out / "trainer_state.json")["log_history"] if "eval_loss" in entry)
    assert {"eval_guard/safe_rate/harmful", "eval_guard/safe_rate/benign"} <= set(evaluation)

    with pytest.raises(SystemExit):
        run_here(name, *small, "--scheme", "hybrid")
    assert "made with other settings: scheme was 'guard_only', now 'hybrid'. Give" in capsys.readouterr().err
    before = contents(out)
    run_here(name, *small)  # the same settings, another launch's loading of them: the same run, which is finished
    assert contents(out) == before
    run_here(name, *small, "--max_steps", "2")
    assert read_json(out / "run_config.json")["launch"]["resumed_from"] == str(out / "checkpoint-1")


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


# gspo_hybrid.yaml is the report's setting; here it is on the tiny world, as small as one process can have it.
GSPO_KEYS = ("num_generations", "loss_type", "importance_sampling_level", "beta", "epsilon", "epsilon_high", "scheme")


def gspo_arguments() -> list[str]:
    import yaml

    setting = yaml.safe_load((Path(command("grpo")[0]).parents[1] / "configs" / "gspo_hybrid.yaml").read_text())
    chosen = [text for key in GSPO_KEYS for text in (f"--{key}", str(setting[key]))]
    assert setting["steps_per_generation"] // setting["gradient_accumulation_steps"] == 4
    return [
        *SMALL,
        *("--per_device_train_batch_size", "8", "--max_completion_length", "24", "--learning_rate", "1e-4"),
        *("--scheme_kwargs", json.dumps(setting["scheme_kwargs"]), *chosen),
    ]


@pytest.mark.slow
def test_gspo_clips_because_a_round_feeds_four_steps(run_here: Callable[..., None], tmp_path: Path) -> None:
    run_here(
        "grpo", *gspo_arguments(), *("--steps_per_generation", "4", "--max_steps", "8", "--output_dir", str(tmp_path))
    )
    clipped = [step["clip_ratio/region_mean"] for step in logged_steps_by_number(tmp_path, 8)]
    assert clipped[0] == clipped[4] == 0  # the first step of a round: the policy is still the one that spoke
    assert min(clipped[1:4] + clipped[5:]) > 0


@pytest.mark.slow
def test_gspo_with_trls_own_steps_never_clips(run_here: Callable[..., None], tmp_path: Path) -> None:
    run_here("grpo", *gspo_arguments(), *("--max_steps", "4", "--output_dir", str(tmp_path)))
    assert [step["clip_ratio/region_mean"] for step in logged_steps_by_number(tmp_path, 4)] == [0, 0, 0, 0]


def logged_steps_by_number(run: Path, count: int) -> list[dict[str, Any]]:
    steps = [
        entry for entry in read_json(run / "trainer_state.json")["log_history"] if "clip_ratio/region_mean" in entry
    ]
    assert [entry["step"] for entry in steps] == list(range(1, count + 1))
    return steps
