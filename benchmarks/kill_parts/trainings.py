"""What is killed: trainings of the recipes on the tiny world, and how two runs compare."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.kill_parts.blows import KINDS
from benchmarks.kill_parts.tables import Tally, compared, json_lines

__all__ = ["Training"]

REPOSITORY = Path(__file__).resolve().parents[2]
_SMALL: dict[str, Any] = {
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 16,
    "save_steps": 2,
    "eval_strategy": "no",
    "disable_tqdm": True,
    "monitor": True,
}
# What a log line says of time, not of the training.
_OF_TIME = ("time", "seconds", "_per_second", "share_of_step", "passes_per_verdict", "prefix_reuse", "total_flos")


@dataclass(frozen=True)
class Training:
    """A recipe with its tiny config, which resumes by itself: ``resume_from_checkpoint: auto``.

    Attributes:
        recipe: ``grpo`` or ``ppo``.
        world: the tiny world's folder.
        steps: of the run; there is a checkpoint every two steps, and the last two are kept.
        launched: under ``accelerate launch`` with DeepSpeed ZeRO-3 and two processes.
        kinds: see `Job`.
    """

    recipe: str
    world: Path
    steps: int
    launched: bool = False
    kinds: tuple[str, ...] = KINDS

    def command(self, out: Path) -> Sequence[str]:
        """See `Job`."""
        script = [str(REPOSITORY / "recipes" / f"{self.recipe}.py"), "--config", str(self._config())]
        script += ["--output_dir", str(out), "--max_steps", str(self.steps)]
        if not self.launched:
            return script
        config = REPOSITORY / "configs" / "accelerate" / "cpu_zero3.yaml"
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
        return [*launcher, "--main_process_port", "0", *script]

    def has_begun(self, out: Path) -> bool:
        """See `Job`."""
        return (out / "log.jsonl").exists() and (out / "log.jsonl").stat().st_size > 0

    def compare(self, whole: Path, out: Path) -> Tally:
        """Steps in the log, rollouts in the tables, and the model, which counts as one row."""
        steps = compared(_steps(whole), _steps(out))
        return steps + compared(_rollouts(whole), _rollouts(out)) + compared(_end(whole), _end(out))

    def _config(self) -> Path:
        """The tiny config with smaller steps and this world's paths."""
        settings = yaml.safe_load((REPOSITORY / "configs" / f"{self.recipe}_tiny.yaml").read_text(encoding="utf-8"))
        settings |= _SMALL | {"model_name_or_path": str(self.world / "policy"), "guard": str(self.world / "guard")}
        settings["datasets"] = [{"path": str(self.world / "train.jsonl"), "harmful": "harmful"}]
        del settings["eval_datasets"]
        path = self.world / f"{self.recipe}.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return path


def _steps(run: Path) -> list[tuple[int, dict[str, Any]]]:
    """The training's log lines by step, without what is about time."""
    lines = [line for line in json_lines(run / "log.jsonl") if "reward" in line]
    return [(line["step"], {name: value for name, value in line.items() if not _is_of_time(name)}) for line in lines]


def _is_of_time(name: str) -> bool:
    return any(part in name for part in _OF_TIME)


def _rollouts(run: Path) -> list[tuple[tuple[int, int], str]]:
    """The rollouts by step and place."""
    import pandas

    rows: list[tuple[tuple[int, int], str]] = []
    for path in sorted((run / "completions").glob("*.parquet")):
        table = pandas.read_parquet(path)
        for place, row in enumerate(table.to_dict("records")):
            rows.append(((int(row["step"]), place), repr(sorted((name, _plain(value)) for name, value in row.items()))))
    return rows


def _plain(value: Any) -> str:
    return "none" if value is None or (isinstance(value, float) and math.isnan(value)) else repr(value)


def _end(run: Path) -> list[tuple[str, Any]]:
    """The last step, and every tensor of the model."""
    from safetensors.torch import load_file

    state = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))
    tensors = load_file(run / "model.safetensors")
    return [("end", (state["global_step"], {name: tensor.tolist() for name, tensor in tensors.items()}))]
