"""Folders of runs as trainers leave them, made without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def log_line(step: int, safe: float = 0.5, rows: int = 100, **more: Any) -> dict[str, Any]:
    """A training line of a guard reward on labelled prompts, half of them harmful."""
    half = rows / 2
    return {
        "loss": 0.1,
        "step": step,
        "reward": safe,
        "rewards/guard/mean": safe,
        "kl": 0.01,
        "completions/mean_length": 20.0,
        "guard/safe_rate": 0.123,  # the mean of the calls' rates, which is not the rate of all rows
        "guard/safe_rate/harmful": 0.123,
        "guard/sum/safe_rate": safe * rows,
        "guard/rows/judged": float(rows),
        "guard/sum/safe_rate/harmful": safe * half,
        "guard/rows/judged/harmful": half,
        "guard/sum/refusal_rate/benign": 0.1 * half,
        "guard/rows/refusal_known/benign": half,
        "guard/sum/outcome/scored": float(rows),
        "guard/rows/all": float(rows),
        **more,
    }


def final_line(step: int) -> dict[str, Any]:
    return {"train_runtime": 12.5, "train_loss": 0.1, "step": step}


def write_lines(path: Path, lines: Sequence[Mapping[str, Any] | str]) -> Path:
    """Write JSON lines; texts as they are, without a line break behind the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
    path.write_text("".join(texts), encoding="utf-8", errors="surrogatepass")
    return path


def write_state(folder: Path, lines: Sequence[Mapping[str, Any]], **facts: Any) -> Path:
    """Write ``trainer_state.json`` as transformers does: with sorted names."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"log_history": list(lines), "global_step": lines[-1]["step"] if lines else 0, "max_steps": 100, **facts}
    path = folder / "trainer_state.json"
    path.write_text(json.dumps(state, sort_keys=True))
    return path


def rollout_row(prompt: Any = "Q", completion: Any = "A", severity: str | None = "Safe", **more: Any) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "completion": completion,
        "guard": {"Safe": 1.0, None: None}.get(severity, -10.0),
        "guard_severity": severity,
        "guard_outcome": "no_verdict" if severity is None else "scored",
        "guard_refusal": None if severity is None else False,
        "guard_injection_attempts": 0,
        "advantage": 0.0,
        **more,
    }


def write_completions(run: Path, step: int, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write the rollouts table of a step as TRL does."""
    path = run / "completions" / f"completions_{step:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{"step": step, **row} for row in rows]), path)
    return path


def write_run(folder: Path, safe: Sequence[float] = (0.2,) * 10 + (0.9,) * 10, *, rows: int = 100) -> Path:
    """A finished run of one log line per entry of `safe`, with one small table."""
    lines = [log_line(step, rate, rows) for step, rate in enumerate(safe, 1)]
    write_lines(folder / "log.jsonl", [*lines, final_line(len(safe))])
    write_completions(folder, len(safe), [rollout_row("How?", "Like this."), rollout_row("Bomb?", "Sure.", "Unsafe")])
    return folder
