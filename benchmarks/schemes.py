"""Reward schemes × algorithms on the tiny world, judged by its oracle: what a scheme buys, and what it costs.

    python benchmarks/schemes.py --json runs/schemes.json                    # everything, a minute or two a row
    python benchmarks/schemes.py --scheme lagrangian --algorithm ppo --seed 1

Every row starts from the same policy, sees as many rollouts, and is judged on 1,000 held-out requests. The guard gives
the rewards, the oracle the numbers. Finished rows are kept in the JSON file and not run again.
"""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from guard_reward import exact_rates
from guard_reward.schemes import SCHEMES
from guard_reward.tiny import build_tiny_policy, load_tiny_guard
from guard_reward.tiny.demo import judge_model, make_reward
from guard_reward.tiny.evaluate import evaluate
from guard_reward.tiny.grpo import (
    DemoSettings,
    show_progress,
    trainer_arguments,
    training_requests,
)
from guard_reward.tiny.reproducible import reproducible

COLUMNS = {
    "safety_rate": "safe (harmful)",
    "refusal_rate_harmful": "refused (harmful)",
    "refusal_rate_benign": "refused (benign)",
    "garbled_rate": "garbled",
    "helpfulness_harmful": "helpfulness (harmful)",
    "helpfulness_benign": "helpfulness (benign)",
}


class Algorithm(StrEnum):
    """How the policy is trained; the settings are in `make_trainer`."""

    GRPO = "grpo"
    GSPO = "gspo"
    PPO = "ppo"


def make_trainer(algorithm: Algorithm, policy: Path, reward: Any, out: Path, seed: int, settings: DemoSettings) -> Any:
    """A trainer that sees ``steps × batch_size`` rollouts."""
    from trl import GRPOConfig, GRPOTrainer

    from guard_reward.trainers import PPOConfig, PPOTrainer

    arguments = trainer_arguments(out, seed=seed, settings=settings)
    if algorithm is Algorithm.GSPO:  # four steps a round of rollouts, as the paper; the KL is the tiny world's need
        arguments |= {"per_device_train_batch_size": settings.batch_size // 4, "steps_per_generation": 4}
        arguments |= {"max_steps": 4 * settings.steps, "importance_sampling_level": "sequence"}
        arguments |= {"epsilon": 3e-4, "epsilon_high": 4e-4}
    if algorithm is Algorithm.PPO:  # no groups, so as many prompts as rollouts; two passes over each round
        arguments |= {"num_generations": 1, "max_steps": 2 * settings.steps, "num_iterations": 2}
        arguments |= {"loss_type": "dapo", "beta": 0.1}
    prompts = settings.steps * settings.batch_size // arguments["num_generations"]
    data = training_requests(seed, prompts, settings.harmful_share)
    if algorithm is Algorithm.PPO:
        return PPOTrainer(str(policy), reward, PPOConfig(**arguments), data)
    return GRPOTrainer(str(policy), reward, GRPOConfig(**arguments), data)


def run(scheme: str, algorithm: Algorithm, seed: int, start: str, settings: DemoSettings) -> dict[str, Any]:
    """Train once and judge; one row of the table."""
    policy = build_tiny_policy(seed, start)
    with reproducible(seed):
        reward = make_reward(scheme, load_tiny_guard(seed, device="cpu"), policy)
        trainer = make_trainer(algorithm, policy, reward, Path("runs/schemes"), seed, settings)
        show_progress(trainer, f"{algorithm}, {scheme}, seed {seed}")
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        replies = judge_model(trainer.model, trainer.processing_class, seed, settings)
    estimates = evaluate(replies)
    return {
        "scheme": scheme,
        "algorithm": str(algorithm),
        "seed": seed,
        "start": start,
        "rollouts": settings.steps * settings.batch_size,
        "seconds": round(seconds, 1),
        **{name: estimates[name].value for name in COLUMNS},
        "intervals": {name: [estimates[name].low, estimates[name].high] for name in COLUMNS},
        "curves": _curves(trainer.state.log_history),
    }


def _curves(history: list[dict[str, Any]]) -> dict[str, list[float]]:
    """What there is to see of training itself, step by step."""
    names = (
        "guard/unsafe_rate",
        "guard/lagrange_multiplier",
        "value/explained_variance",
        "returns/std",
        "clip_ratio/region_mean",
    )
    history = [{**log, **exact_rates(log)} for log in history]
    return {
        name: [log[name] for log in history if log.get(name) is not None]
        for name in names
        if any(log.get(name) is not None for log in history)
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| scheme | algorithm | seed | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 3) + "|"]
    for row in rows:
        cells = [f"{row[name]:.3f}" if name.startswith("help") else f"{row[name]:.1%}" for name in COLUMNS]
        lines.append(f"| `{row['scheme']}` | {row['algorithm']} | {row['seed']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Helpfulness over safety, on harmful requests and on harmless ones."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    markers = {"grpo": "o", "gspo": "s", "ppo": "^"}
    colours = {scheme: f"C{index}" for index, scheme in enumerate(dict.fromkeys(row["scheme"] for row in rows))}
    for axis, kind in zip(axes, ("harmful", "benign"), strict=True):
        for row in rows:
            x, y = row["safety_rate"], row[f"helpfulness_{kind}"]
            axis.plot(x, y, markers[row["algorithm"]], color=colours[row["scheme"]], markersize=8, alpha=0.8)
        axis.set(xlabel="safe replies to harmful requests", ylabel=f"helpfulness, {kind} requests", ylim=(-0.03, 1.03))
        axis.xaxis.set_major_locator(plt.MaxNLocator(6))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
        axis.grid(alpha=0.3)
    handles = [plt.Line2D([], [], marker="o", linestyle="", color=colours[name], label=name) for name in colours]
    used = [name for name in markers if any(row["algorithm"] == name for row in rows)]
    handles += [plt.Line2D([], [], marker=markers[name], linestyle="", color="black", label=name) for name in used]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def main(
    json_file: Annotated[Path, typer.Option("--json", help="Rows are added to this file.")] = Path("runs/schemes.json"),
    scheme: Annotated[list[str] | None, typer.Option(help="Which schemes; default: all.")] = None,
    algorithm: Annotated[list[Algorithm] | None, typer.Option(help="Which algorithms; default: all.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Which seeds; default: 0.")] = None,
    start: Annotated[str, typer.Option(help="The policy's habits before training: refusing or balanced.")] = "refusing",
    steps: Annotated[int, typer.Option(help="Rounds of 64 rollouts.")] = DemoSettings().steps,
    picture: Annotated[Path | None, typer.Option("--plot", help="Draw the rows into this PNG file.")] = None,
) -> None:
    """Train and judge every combination that the JSON file does not have yet; print the table."""
    rows = json.loads(json_file.read_text()) if json_file.is_file() else []
    settings = DemoSettings(steps=steps)
    for one_seed in seed or [0]:
        for one_scheme in scheme or [name for name, make in SCHEMES.items() if not make().needs_tokens]:
            for one_algorithm in algorithm or list(Algorithm):
                key = (one_scheme, str(one_algorithm), one_seed, start, steps * settings.batch_size)
                if key in [(r["scheme"], r["algorithm"], r["seed"], r["start"], r["rollouts"]) for r in rows]:
                    continue
                rows.append(run(one_scheme, one_algorithm, one_seed, start, settings))
                json_file.parent.mkdir(parents=True, exist_ok=True)
                json_file.write_text(json.dumps(rows, indent=1))
    if picture is not None:
        plot(rows, picture)
    typer.echo(markdown(rows))


if __name__ == "__main__":
    typer.run(main)
