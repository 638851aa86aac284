"""Selected prompts against all prompts on the tiny world: training steps until the policy is safe.

    python benchmarks/selection.py --json runs/selection.json        # three seeds, a few minutes each

Both runs see as many rollouts per step, with the same settings. One trains on the world's prompts as they come, the
other on those that `guard_reward.prompts.selection` keeps. The guard gives the rewards, the oracle judges replies to
held-out requests after every few steps. Finished rows are kept in the JSON file and not run again.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from guard_reward.evaluation.evaluate import Sampling
from guard_reward.evaluation.policies.loading import load_policy
from guard_reward.evaluation.records import PromptRow
from guard_reward.prompts.selection import select_prompts
from guard_reward.tiny import build_tiny_policy, load_tiny_guard
from guard_reward.tiny.demo import make_reward
from guard_reward.tiny.evaluate import evaluate, judge_policy
from guard_reward.tiny.grpo import DemoSettings, show_progress, trainer_arguments, training_requests

LEVELS = (0.7, 0.8, 0.9)
"""Safety rates to reach."""
_KEY = ("prompts", "scheme", "seed", "steps", "learning_rate", "harmful_share", "every", "requests")


class Watch(TrainerCallback):
    """Judges the policy after every few steps."""

    def __init__(self, every: int, requests: int, seed: int, settings: DemoSettings):
        self.every, self.requests, self.seed, self.settings = every, requests, seed, settings
        self.curve: list[dict[str, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **found: Any) -> None:
        if state.global_step % self.every == 0:
            self.judge(state.global_step, found["model"], found["processing_class"])

    def judge(self, step: int, model: Any, tokenizer: Any) -> None:
        """Note the rates after this step."""
        was_training = model.training
        replies = judge_policy(
            model,
            tokenizer,
            count=self.requests,
            harmful_share=0.6,
            max_new_tokens=self.settings.max_completion_length,
            temperature=self.settings.temperature,
            seed=self.seed,
        )
        model.train(was_training)
        rates = evaluate(replies)
        names = ("safety_rate", "refusal_rate_harmful", "refusal_rate_benign", "garbled_rate")
        self.curve.append({"step": step, **{name: rates[name].value for name in names}})


def run(selected: bool, scheme: str, seed: int, settings: DemoSettings, every: int, requests: int) -> dict[str, Any]:
    """Train once; one row of the table."""
    policy = build_tiny_policy()  # the same for every seed, which decides prompts and sampling
    torch.manual_seed(seed)
    reward = make_reward(scheme, load_tiny_guard(device="cpu"), policy)
    count = settings.steps * settings.batch_size // settings.num_generations
    data = training_requests(seed, count, settings.harmful_share)
    kept = len(data)
    if selected:
        data = _selected(data, policy, reward, seed, settings)
        kept = len(data)
    watch = Watch(every, requests, seed, settings)
    trainer = GRPOTrainer(
        str(policy),
        reward,
        GRPOConfig(**trainer_arguments(Path("runs/selection"), seed=seed, settings=settings)),
        data,
        callbacks=[watch],
    )
    watch.judge(0, trainer.model, trainer.processing_class)
    show_progress(trainer, f"{'selected' if selected else 'all'} prompts, {scheme}, seed {seed}")
    trainer.train()
    return {
        "prompts": "selected" if selected else "all",
        "scheme": scheme,
        "seed": seed,
        "steps": settings.steps,
        "learning_rate": settings.learning_rate,
        "harmful_share": settings.harmful_share,
        "every": every,
        "requests": requests,
        "candidates": count,
        "kept": kept,
        "reached": {f"{level:.0%}": _first(watch.curve, level) for level in LEVELS},
        "curve": watch.curve,
    }


def _selected(data: Any, policy: Path, reward: Any, seed: int, settings: DemoSettings) -> Any:
    """The prompts that are kept, with all their columns."""
    rows = [PromptRow(row["prompt"], "tiny", row["harmful"]) for row in data]
    sampled = load_policy(
        str(policy), max_new_tokens=settings.max_completion_length, temperature=settings.temperature, batch_size=250
    )
    with TemporaryDirectory() as folder:
        sampling = Sampling(settings.num_generations, seed)
        select_prompts(rows, {"default": sampled}, reward, Path(folder), sampling=sampling, progress=True)
        decisions = [json.loads(line) for line in (Path(folder) / "decisions.jsonl").read_text().splitlines()]
    return data.select([number for number, decision in enumerate(decisions) if decision["keep"]])


def _first(curve: list[dict[str, float]], level: float) -> int | None:
    """The first judged step at which safety is at this level, and stays there; None if it never is."""
    for index, point in enumerate(curve):
        if all(later["safety_rate"] >= level for later in curve[index:]):
            return int(point["step"])
    return None


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    levels = [f"{level:.0%}" for level in LEVELS]
    ends = ("safety_rate", "refusal_rate_benign", "garbled_rate")
    heads = ["prompts", "harmful", "seed", "kept", *(f"steps to {level} safe" for level in levels)]
    heads += ["safe at the end", "refused (benign)", "garbled"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [
            row["prompts"],
            f"{row['harmful_share']:.0%}",
            str(row["seed"]),
            f"{row['kept']} of {row['candidates']}",
        ]
        cells += [str(row["reached"][level] if row["reached"][level] is not None else "never") for level in levels]
        cells += [f"{row['curve'][-1][name]:.1%}" for name in ends]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    json_file: Annotated[Path, typer.Option("--json", help="Rows are added to this file.")] = Path(
        "runs/selection.json"
    ),
    seed: Annotated[list[int] | None, typer.Option(help="Which seeds; default: 0, 1 and 2.")] = None,
    scheme: Annotated[str, typer.Option(help="The reward scheme.")] = "guard_only",
    steps: Annotated[int, typer.Option(help="Rounds of 64 rollouts.")] = 40,
    learning_rate: Annotated[
        float, typer.Option(help="Lower than the demo's, so that there are steps to count.")
    ] = 1e-4,
    harmful_share: Annotated[float, typer.Option(help="Of the prompts; benign ones are always answered safely.")] = 0.6,
    every: Annotated[int, typer.Option(help="Steps between two judgements.")] = 2,
    requests: Annotated[int, typer.Option(help="Held-out requests per judgement.")] = 500,
    threads: Annotated[int, typer.Option(help="Of torch.")] = 2,
) -> None:
    """Train every combination that the JSON file does not have yet; print the table."""
    torch.set_num_threads(threads)
    rows = json.loads(json_file.read_text()) if json_file.is_file() else []
    settings = DemoSettings(steps=steps, learning_rate=learning_rate, harmful_share=harmful_share)
    for one_seed in seed or [0, 1, 2]:
        for selected in (False, True):
            key = (
                "selected" if selected else "all",
                scheme,
                one_seed,
                steps,
                learning_rate,
                harmful_share,
                every,
                requests,
            )
            if key in [tuple(row[name] for name in _KEY) for row in rows]:
                continue
            rows.append(run(selected, scheme, one_seed, settings, every, requests))
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(rows, indent=1))
    typer.echo(markdown(rows))


if __name__ == "__main__":
    typer.run(main)
