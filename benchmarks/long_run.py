"""A long run in one process: does memory grow, does it become slower, do verdicts stay the same?

    python benchmarks/long_run.py --json runs/long_run.json        # most of an hour on two cores
    python benchmarks/long_run.py --calls 20 --steps 4             # half a minute

First `GuardReward` with the tiny guard judges ``--calls`` batches of varied rollouts: answers, thinking, tools, several
turns, long and empty texts, texts that attack the guard. Then TRL's GRPO trains the tiny policy for ``--steps`` steps
of 16 completions under the same reward, watched by `RewardMonitor` with the tiny stream guard as the second guard.

Every 50 calls or steps, and at both ends, the reward judges one fixed batch. Its verdicts, probabilities and rewards
must be the first ones to the last digit: exit status 1 if one of them is not. Memory's slope is over the second half of
each part, with a 95 % interval; a leak is one that is clearly above 0. TRL and transformers keep every log line, which
is some KiB per step: the table says how much of a step's growth that is.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from long_run_rollouts import sample_batch
from process_samples import ProcessSamples
from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback

from guard_reward import GuardReward
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.monitoring.monitor import RewardMonitor
from guard_reward.rewards.observers import JudgedBatch
from guard_reward.tiny import load_tiny_guard, load_tiny_stream_guard
from guard_reward.tiny.grpo import DemoSettings, oracle_helpfulness, trainer_arguments, training_requests
from guard_reward.tiny.policy import build_tiny_policy
from guard_reward.tiny.reproducible import reproducible

PROBE_EVERY = 50
COMPLETIONS = 16
PROBE_ROLLOUTS = 32
LONGEST_ANSWER = 48  # tokens; a verdict needs fewer, and an answer that is none need not be longer


class Probe:
    """One batch that is judged again and again.

    Args:
        reward: that judges it.
        seed: of the batch.
    """

    def __init__(self, reward: GuardReward, seed: int):
        self._reward = reward
        self._batch = sample_batch(f"probe {seed}", PROBE_ROLLOUTS)
        self._first: list[Any] | None = None
        self._seen: list[Any] = []
        self.count = 0
        self.changed: list[dict[str, Any]] = []

    def __call__(self, place: str) -> None:
        """Judge the batch; what is not as it was the first time is kept with its place."""
        self._reward.add_observer(self._observe)
        try:
            rewards = self._reward(**self._batch)
        finally:
            self._reward.remove_observer(self._observe)
        said = list(zip(self._seen, rewards, strict=True))
        self.count += 1
        if self._first is None:
            self._first = said
        pairs = zip(self._first, said, strict=True)
        self.changed += [
            {"place": place, "row": row, "first": repr(before), "now": repr(now)}
            for row, (before, now) in enumerate(pairs)
            if before != now
        ]

    def _observe(self, batch: JudgedBatch) -> None:
        self._seen = [(row.outcome, row.verdicts) for row in batch.rows]


class StepSamples(TrainerCallback):
    """Samples the process after every step, asks the probe, and ends the run when its time is over."""

    def __init__(self, samples: ProcessSamples, probe: Probe, deadline: float):
        self._samples, self._probe, self._deadline = samples, probe, deadline

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step is done."""
        if state.global_step % PROBE_EVERY == 0:
            self._probe(f"step {state.global_step}")
        self._samples.add()
        if time.perf_counter() > self._deadline:
            control.should_training_stop = True


def judge(reward: GuardReward, probe: Probe, options: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """The first part: reward calls."""
    samples = ProcessSamples("call")
    for call in range(1, options.calls + 1):
        batch = sample_batch(f"{options.seed} {call}", options.rollouts)
        rewards = reward(**batch)
        assert len(rewards) == options.rollouts
        if call % PROBE_EVERY == 0:
            probe(f"call {call}")
        samples.add()
        report(samples, call, options.calls)
        if time.perf_counter() > deadline:
            break
    return samples.summary()


def train(reward: GuardReward, probe: Probe, options: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """The second part: TRL's GRPO under the same reward."""
    from trl import GRPOConfig, GRPOTrainer

    from guard_reward.monitoring.progress import Progress, show_progress

    settings = replace(DemoSettings(), steps=options.steps, batch_size=COMPLETIONS)
    prompts = options.steps * COMPLETIONS // settings.num_generations
    samples = ProcessSamples("step")
    monitor = RewardMonitor(reward, load_tiny_stream_guard(device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=str(build_tiny_policy(0, "refusing")),
            reward_funcs=reward,
            train_dataset=training_requests(options.seed, prompts, settings.harmful_share),
            args=GRPOConfig(**trainer_arguments(Path(folder), seed=options.seed, settings=settings)),
            callbacks=[monitor, StepSamples(samples, probe, deadline)],
        )
        show_progress(trainer, Progress("GRPO", seconds_between_lines=60.0))
        trainer.train()
    lines = trainer.state.log_history
    kept = len(pickle.dumps(lines)) / 1024 / max(1, len(lines))
    lengths = [line["completions/mean_length"] for line in lines if "completions/mean_length" in line]
    tenth = max(1, len(lengths) // 10)
    return {
        **samples.summary(),
        "log_line_kib": round(kept, 1),
        "completion_tokens": {"first": _mean_of(lengths[:tenth]), "last": _mean_of(lengths[-tenth:])},
        "alarms": [one.signal for one in monitor.alarms],
    }


def _mean_of(values: list[float]) -> float:
    return round(fmean(values), 1) if values else 0.0


def report(samples: ProcessSamples, done: int, of: int) -> None:
    """A line of progress, ten times in a part."""
    if done % max(1, of // 10) == 0:
        print(f"{samples.unit} {done} of {of}: {samples.resident[-1] / 1024:.0f} MiB", file=sys.stderr, flush=True)


def build_reward() -> GuardReward:
    """The reward of both parts: hybrid, so that helpfulness and labels of prompts take part."""
    spec = replace(QWEN3GUARD, max_new_tokens=LONGEST_ANSWER)
    guard = load_tiny_guard(device="cpu", spec=spec)
    return GuardReward(guard, "hybrid", helpfulness=oracle_helpfulness, prompt_label_column="harmful")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both parts, and what they measured."""
    begun = time.perf_counter()
    parts: list[Callable[..., dict[str, Any]]] = [judge] * bool(options.calls) + [train] * bool(options.steps)
    with reproducible(options.seed):
        torch.set_num_threads(1)  # `reproducible` sets it back
        reward = build_reward()
        probe = Probe(reward, options.seed)
        probe("begin")
        found = []
        for done, part in enumerate(parts, 1):
            deadline = begun + options.minutes * 60 * done / len(parts)
            found.append(part(reward, probe, options, deadline))
            probe(f"after the {found[-1]['unit']}s")
    return {
        "seed": options.seed,
        "rollouts": options.rollouts,
        "parts": found,
        "probes": probe.count,
        "changed": probe.changed,
    }


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"one process; {found['probes']} times the same batch, {len(found['changed'])} rows changed")
    table.add_column("")
    for part in found["parts"]:
        table.add_column(f"{part['count']} {part['unit']}s", justify="right")
    for name, shown in _ROWS.items():
        table.add_row(name, *(shown(part) for part in found["parts"]))
    Console().print(table)
    for row in found["changed"][:5]:
        print(f"changed at {row['place']}, row {row['row']}: {row['first']} → {row['now']}")


def _slope(part: dict[str, Any]) -> str:
    if part["slope_kib"] is None:
        return "too few to say"
    value, low, high = part["slope_kib"]
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _ends(name: str) -> Callable[[dict[str, Any]], str]:
    """Both ends of a figure; nothing for a part that does not have it."""
    return lambda part: f"{part[name]['first']} → {part[name]['last']}" if name in part else ""


_ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "memory, KiB per call or step, second half": _slope,
    "memory, MiB": _ends("resident_mib"),
    "peak of the process until then, MiB": lambda part: str(part["peak_mib"]),
    "KiB of a kept log line": lambda part: str(part.get("log_line_kib", "")),
    "per second, first and last tenth": _ends("per_second"),
    "tokens of a completion, first and last tenth": _ends("completion_tokens"),
    "open files": _ends("open_files"),
    "threads": _ends("threads"),
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="reward calls; 0 leaves the part out")
    parser.add_argument("--steps", type=int, default=2000, help="steps of GRPO; 0 leaves the part out")
    parser.add_argument("--rollouts", type=int, default=64, help="rollouts of a reward call")
    parser.add_argument(
        "--minutes", type=float, default=120.0, help="about so long at most; the calls take half of it at most"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if min(options.calls, options.steps) < 0 or not options.calls + options.steps or options.rollouts < 1:
        parser.error("--calls and --steps are 0 or more, and not both 0; --rollouts is 1 or more")
    found = run(options)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    show(found)
    if found["changed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
