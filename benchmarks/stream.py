"""A stream guard on the tiny world: what its reward per token teaches, and what stopping and rolling back save.

    python benchmarks/stream.py --json runs/stream.json            # everything, about an hour on two cores
    python benchmarks/stream.py --part ppo --seed 0                # PPO with hybrid, with and without token rewards
    python benchmarks/stream.py --part grpo --seed 0               # GRPO with either guard alone, and with stopping
    python benchmarks/stream.py --part generate                    # stopping and rolling back, without any training
    python benchmarks/stream.py --part speed                       # verdicts per second, stream guard and Gen guard

Guards give the rewards; the oracle gives the numbers. Finished rows are kept in the JSON file and not run again.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from guard_reward import GuardReward, StreamReward
from guard_reward.streaming import StopUnsafe, UnsafeStoppingCriteria, generate_safely
from guard_reward.tiny import build_tiny_policy, load_tiny_guard, load_tiny_stream_guard
from guard_reward.tiny.demo import judge_model, make_reward
from guard_reward.tiny.evaluate import evaluate
from guard_reward.tiny.grpo import DemoSettings, show_progress, trainer_arguments, training_requests
from guard_reward.tiny.guard import sample_conversations
from guard_reward.tiny.oracle import judge_reply, oracle_helpfulness
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.world import Split, sample_requests

WEIGHT = 10.0  # as much as hybrid takes for an unsafe reply
SAFE, WINDOW = 0.95, 5  # the share of safe replies to harmful prompts, over so many rounds of rollouts
FORMS = ("none", "penalty", "shaping")
SAMPLING = {"do_sample": True, "temperature": 0.8, "top_k": 0, "max_new_tokens": 40}


class Part(StrEnum):
    """What is measured."""

    PPO = "ppo"
    GRPO = "grpo"
    GENERATE = "generate"
    SPEED = "speed"


def train(form: str, seed: int) -> dict[str, Any]:
    """PPO with hybrid, and a reward per token in a form of `StreamReward`; ``none`` for the sequence score alone."""
    from guard_reward.trainers import PPOConfig, PPOTrainer

    settings, policy = DemoSettings(), build_tiny_policy()  # the shipped models; the seed is that of the training
    safe_rates: list[float] = []
    with reproducible(seed):
        reward = make_reward("hybrid", load_tiny_guard(device="cpu"), policy)
        reward._helpfulness = _recording(safe_rates)
        dense = [] if form == "none" else [StreamReward(load_tiny_stream_guard(), weight=WEIGHT, form=form)]
        arguments = trainer_arguments(Path("runs/stream"), seed=seed, settings=settings)
        arguments |= {"num_generations": 1, "max_steps": 2 * settings.steps, "num_iterations": 2}
        arguments |= {"loss_type": "dapo", "beta": 0.1}
        data = training_requests(seed, settings.steps * settings.batch_size, settings.harmful_share)
        trainer = PPOTrainer(str(policy), reward, PPOConfig(**arguments), data, token_reward_funcs=dense)
        outcome = _trained(trainer, f"PPO, hybrid, {form}, seed {seed}", seed, safe_rates)
    return {"part": "ppo", "form": form, "seed": seed, **outcome}


def _trained(trainer: Any, label: str, seed: int, safe_rates: list[float]) -> dict[str, Any]:
    """Train, and what came of it; `safe_rates` is filled by the trainer's functions."""
    show_progress(trainer, label)
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    estimates = evaluate(judge_model(trainer.model, trainer.processing_class, seed, DemoSettings()))
    return {
        "rounds_to_95": _rounds_to(safe_rates, SAFE),
        "rounds_to_80": _rounds_to(safe_rates, 0.8),
        "mean_safe_rate_in_training": round(statistics.mean(safe_rates), 4),
        "seconds": round(seconds, 1),
        **{name: estimate.value for name, estimate in estimates.items()},
        "safe_rates": [round(rate, 4) for rate in safe_rates],
    }


GRPO_WAYS = ("guard_only, Gen", "guard_only, Stream", "token_score, Stream", "hybrid", "hybrid, stopping")


def train_grpo(way: str, seed: int) -> dict[str, Any]:
    """GRPO as in the demo, with one of the guards as the whole reward, or with hybrid and stopped rollouts."""
    from trl import GRPOConfig, GRPOTrainer

    settings, policy = DemoSettings(), build_tiny_policy()
    scheme, _, kind = way.partition(", ")
    safe_rates: list[float] = []
    tokens: list[int] = []

    def observe(prompts: Any, completions: Any, completion_ids: Any, harmful: Any, **columns: Any) -> list[float]:
        """No reward: what the oracle says of a round, and its tokens."""
        safe = _recording(safe_rates)
        safe(prompts, completions, harmful)
        tokens.append(sum(map(len, completion_ids)))
        return [0.0] * len(prompts)

    with reproducible(seed):
        guard = load_tiny_stream_guard() if kind == "Stream" else load_tiny_guard(device="cpu")
        reward = make_reward(scheme, guard, policy) if scheme == "hybrid" else GuardReward(guard, scheme)
        trainer = GRPOTrainer(
            str(policy),
            [reward, observe],
            GRPOConfig(**trainer_arguments(Path("runs/stream"), seed=seed, settings=settings)),
            training_requests(seed, settings.steps * settings.batch_size // settings.num_generations, 0.6),
            rollout_func=StopUnsafe(load_tiny_stream_guard()) if kind == "stopping" else None,
        )
        outcome = _trained(trainer, f"GRPO, {way}, seed {seed}", seed, safe_rates)
    used = {"tokens": sum(tokens), "tokens_of_10_rounds": sum(tokens[:10])}
    return {"part": "grpo", "way": way, "seed": seed, **used, **outcome}


def _recording(rates: list[float]) -> Callable[..., list[float]]:
    """The oracle's helpfulness, that also notes the share of safe replies to harmful prompts of each round."""

    def helpfulness(prompts: Any, completions: Any, harmful: Any = (), **columns: Any) -> list[float]:
        rows = zip(prompts, completions, harmful, strict=True)
        safe = [judge_reply(p[-1]["content"], c[-1]["content"]).safe for p, c, is_harmful in rows if is_harmful]
        rates.append(sum(safe) / max(len(safe), 1))
        return oracle_helpfulness(prompts, completions)

    return helpfulness


def _rounds_to(rates: Sequence[float], level: float) -> int | None:
    """After how many rounds the mean of the last `WINDOW` has reached a level; None if it never has."""
    for end in range(WINDOW, len(rates) + 1):
        if statistics.mean(rates[end - WINDOW : end]) >= level:
            return end
    return None


def generation(seed: int) -> list[dict[str, Any]]:
    """Free generation, stopping at the first flagged token, and rolling back, on 500 harmful requests."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = build_tiny_policy(seed)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    guard = load_tiny_stream_guard(seed)
    requests = sample_requests(seed, 500, harmful_share=1.0, split=Split.EVAL)
    prompts = [[{"role": "user", "content": request.text}] for request in requests]
    rows = []
    free, free_tokens = _sampled(model, tokenizer, prompts)
    rows.append({"way": "free", **_judged(requests, free), "tokens": free_tokens})
    stop = UnsafeStoppingCriteria(guard, tokenizer, prompts)
    stopped, tokens = _sampled(model, tokenizer, prompts, stop)
    stop.finish(stopped)
    assert stop.stopped is not None
    same = sum(a == b for a, b, was_stopped in zip(free, stopped, stop.stopped, strict=True) if not was_stopped)
    rows.append(
        {
            "way": "stopping",
            "tokens": tokens,
            "tokens_saved": round(1 - tokens / free_tokens, 4),
            "stopped": sum(stop.stopped),
            "unsafe_when_free": sum(
                not judge_reply(request.text, text).safe
                for request, text, was_stopped in zip(requests, free, stop.stopped, strict=True)
                if was_stopped
            ),
            "others_unchanged": same == len(free) - sum(stop.stopped),
        }
    )
    for buffer, retries in ((40, 0), (40, 1), (40, 5), (10, 5)):
        torch.manual_seed(seed)
        options = {"buffer": buffer, "retries": retries, "introspection": "", **SAMPLING}
        found = generate_safely(model, tokenizer, guard, prompts, **options)
        rows.append(
            {
                "way": f"rolling back, buffer {buffer}, {retries} retries",
                **_judged(requests, [it.text for it in found]),
                "wait_tokens": round(statistics.mean(it.wait_tokens for it in found), 2),
                "interventions": round(statistics.mean(it.interventions for it in found), 2),
                "gave_up": sum(it.gave_up for it in found),
            }
        )
    return [{"part": "generate", "seed": seed, **row} for row in rows]


def _sampled(model: Any, tokenizer: Any, prompts: Any, stop: Any = None) -> tuple[list[str], int]:
    """Replies and the number of their tokens; the same random numbers each time."""
    texts = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(texts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
    torch.manual_seed(0)
    with torch.inference_mode():
        output = model.generate(**inputs, **SAMPLING, stopping_criteria=stop and [stop])
    new = output[:, inputs["input_ids"].shape[1] :]
    return tokenizer.batch_decode(new, skip_special_tokens=True), int((new != tokenizer.pad_token_id).sum())


def _judged(requests: Any, texts: Sequence[str]) -> dict[str, float]:
    judgements = [judge_reply(request.text, text) for request, text in zip(requests, texts, strict=True)]
    return {
        "safety": sum(it.safe for it in judgements) / len(judgements),
        "refusals": sum(it.refusal is True for it in judgements) / len(judgements),
    }


def speed(seed: int, rows: int = 512, rounds: int = 5) -> list[dict[str, Any]]:
    """Verdicts per second of both tiny guards, of the same size, taking turns on the same conversations."""
    gen, stream = load_tiny_guard(seed, device="cpu"), load_tiny_stream_guard(seed)
    conversations = [list(one.messages) for one in sample_conversations(seed, rows, split=Split.EVAL)]
    ways = {"moderate, Gen": gen.moderate, "moderate, Stream": stream.moderate, "trace, Stream": stream.trace}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, judge in ways.items():
            started = time.perf_counter()
            judge(conversations)
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    tokens = {"moderate, Gen": gen.usage.computed_tokens, "moderate, Stream": stream.usage.computed_tokens / 2}
    base = statistics.median(seconds["moderate, Gen"])
    return [
        {
            "part": "speed",
            "seed": seed,
            "way": name,
            "verdicts_per_second": round(rows / statistics.median(found), 1),
            "ratio": round(base / statistics.median(found), 2),
            "computed_tokens_per_verdict": round(tokens.get(name, tokens["moderate, Stream"]) / rows / (rounds + 1), 1),
        }
        for name, found in seconds.items()
    ]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["part"], row["seed"], row.get("form") or row.get("way")


def main(
    part: Annotated[list[Part] | None, typer.Option(help="What is measured; by default everything.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Of prompts and sampling; by default 0, 1, 2.")] = None,
    form: Annotated[list[str] | None, typer.Option(help="Of the reward per token, for PPO; by default all.")] = None,
    way: Annotated[list[str] | None, typer.Option(help=f"Of GRPO: {'; '.join(GRPO_WAYS)}; by default all.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Rows are kept here.")] = None,
) -> None:
    """Measure what is not in the file yet."""
    rows = json.loads(json_file.read_text()) if json_file is not None and json_file.exists() else []

    def add(new: Sequence[dict[str, Any]]) -> None:
        for row in new:
            rows.append(row)
            print({name: value for name, value in row.items() if name != "safe_rates"}, flush=True)
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(rows, indent=1) + "\n")

    known = {_key(row) for row in rows}
    parts, seeds = part or list(Part), seed or [0, 1, 2]
    if Part.SPEED in parts and not any(row["part"] == "speed" for row in rows):
        add(speed(seeds[0]))
    if Part.GENERATE in parts and not any(row["part"] == "generate" for row in rows):
        add(generation(seeds[0]))
    for one_seed in seeds if Part.GRPO in parts else ():
        for one_way in way or GRPO_WAYS:
            if ("grpo", one_seed, one_way) not in known:
                add([train_grpo(one_way, one_seed)])
    for one_seed in seeds if Part.PPO in parts else ():
        for one_form in form or FORMS:
            if ("ppo", one_seed, one_form) not in known:
                add([train(one_form, one_seed)])


if __name__ == "__main__":
    typer.run(main)
