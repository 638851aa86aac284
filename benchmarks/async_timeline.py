"""When the rewards of a training step run: the guard beside another slow reward, awaited and not awaited.

    python benchmarks/async_timeline.py --vllm-python ~/vllm/bin/python --plot docs/async-timeline.png

TRL's `GRPOTrainer` trains the tiny policy for two steps with the tiny guard behind vLLM's server, once with
`GuardReward` and once with `AsyncGuardReward`. The other reward is an async function that sleeps for a fixed time: it
stands for a slow judge that is asked over a network. What is drawn is the second step, as it was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # so that it runs from a checkout that is not installed

from server_process import free_port, serving, vllm_command  # noqa: E402

from guard_reward import AsyncGuardReward, GuardReward  # noqa: E402
from guard_reward.guards import ServedGuard  # noqa: E402
from guard_reward.tiny import build_tiny_guard, build_tiny_policy  # noqa: E402
from guard_reward.tiny.grpo import DemoSettings, trainer_arguments, training_requests  # noqa: E402

Spans = dict[str, tuple[float, float]]  # reward → start and end, in seconds
STEPS = 2
GUARD, JUDGE = "guard", "judge"
COLOURS = {GUARD: "#2a6f97", JUDGE: "#e9a23b"}


def main(arguments: list[str] | None = None) -> int:
    """Measure both, print the numbers, draw them."""
    options = _options(arguments)
    guard_folder = build_tiny_guard().absolute()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with serving(vllm_command(options.vllm_python, guard_folder, port), port, Path(folder)) as url:
            guard = ServedGuard(url, model=str(guard_folder))
            guard.moderate([[{"role": "user", "content": "Hello."}]])  # finds out what the server is
            measured = {
                "GuardReward": _measure(GuardReward(guard, "severity"), options),
                "AsyncGuardReward": _measure(AsyncGuardReward(guard, "severity"), options),
            }
            guard.close()
    for name, spans in measured.items():
        print(f"{name}: rewards of the step take {_seconds(spans):.2f} s: {spans}")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")
    if options.plot:
        draw(measured, options.judge_seconds, options.rows, options.plot)
    return 0


def _measure(reward: Any, options: argparse.Namespace) -> Spans:
    """When each reward of the last step ran, from the start of the first one."""
    from trl import GRPOConfig, GRPOTrainer

    steps: list[Spans] = []
    judge = _slow_judge(options.judge_seconds)
    group = 8
    settings = DemoSettings(steps=STEPS, batch_size=options.rows, num_generations=group, max_completion_length=24)
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=str(build_tiny_policy()),
            reward_funcs=[_recorded(reward, GUARD, steps), _recorded(judge, JUDGE, steps)],
            args=GRPOConfig(**trainer_arguments(Path(folder), seed=0, settings=settings)),
            train_dataset=training_requests(0, STEPS * options.rows // group, settings.harmful_share),
        )
        trainer.train()
    last = steps[-1]
    first = min(start for start, _ in last.values())
    return {name: (start - first, end - first) for name, (start, end) in last.items()}


def _slow_judge(seconds: float) -> Callable[..., Any]:
    async def judge(completions: list[Any], **_: Any) -> list[float]:
        await asyncio.sleep(seconds)
        return [0.0] * len(completions)

    return judge


def _recorded(reward: Any, name: str, steps: list[Spans]) -> Callable[..., Any]:
    """The reward, which notes when it runs."""

    def note(started: float) -> None:
        if not steps or name in steps[-1]:
            steps.append({})
        steps[-1][name] = started, time.perf_counter()

    async def awaited(**columns: Any) -> Any:
        started = time.perf_counter()
        rewards = await reward(**columns)
        note(started)
        return rewards

    def called(**columns: Any) -> Any:
        started = time.perf_counter()
        rewards = reward(**columns)
        note(started)
        return rewards

    is_async = inspect.iscoroutinefunction(reward) or inspect.iscoroutinefunction(type(reward).__call__)
    return awaited if is_async else called


def _seconds(spans: Spans) -> float:
    return max(end for _, end in spans.values())


def draw(measured: dict[str, Spans], judge_seconds: float, rows: int, path: Path) -> None:
    """A row of bars per reward; what is measured, nothing else."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = {GUARD: "guard behind\nvLLM's server", JUDGE: f"stand-in for a slow\njudge (sleeps {judge_seconds:g} s)"}
    figure, axes = pyplot.subplots(2, 1, figsize=(7.2, 3.0), sharex=True, layout="constrained")
    longest = max(map(_seconds, measured.values()))
    for axis, (title, spans) in zip(axes, measured.items(), strict=True):
        for height, name in ((1, GUARD), (0, JUDGE)):
            start, end = spans[name]
            axis.barh(height, end - start, left=start, height=0.72, color=COLOURS[name])
            inside = {"va": "center", "ha": "center", "fontsize": 8, "color": "white" if name == GUARD else "black"}
            axis.text((start + end) / 2, height, f"{end - start:.2f} s", **inside)
        total = _seconds(spans)
        axis.axvline(total, color="#444444", linewidth=1, linestyle=":")
        axis.text(total + longest * 0.01, 0.5, f"both: {total:.2f} s", va="center", fontsize=9, fontweight="bold")
        axis.set_title(title, fontsize=10, loc="left", family="monospace")
        axis.set_yticks([1, 0], [labels[GUARD], labels[JUDGE]], fontsize=8)
        axis.set_xlim(0, longest * 1.15)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="x", labelsize=8)
    axes[1].set_xlabel(f"seconds since the rewards of the step began ({rows} completions)", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--vllm-python", type=Path, required=True, help="Python of an environment with vLLM")
    add("--judge-seconds", type=float, default=1.0, metavar="S", help="how long the other reward sleeps (default: 1)")
    add("--rows", type=int, default=16, help="completions per step, in groups of 8 (default: 16)")
    add("--json", type=Path, metavar="FILE", help="write the numbers here")
    add("--plot", type=Path, metavar="FILE", help="draw them here")
    options = parser.parse_args(arguments)
    if options.rows < 8 or options.rows % 8:
        parser.error("--rows must be a multiple of 8")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return options


if __name__ == "__main__":
    sys.exit(main())
