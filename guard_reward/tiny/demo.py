"""``guard-reward demo``: one tiny policy, trained twice under a tiny guard, judged by the oracle.

    from guard_reward.tiny import run_demo
    results = run_demo(Path("runs/demo"))

From the same start, TRL's `GRPOTrainer` trains with `GuardReward` under the report's two schemes, guard-only and
hybrid. Everything is the product's own: the guard is loaded by `load_guard`, the rewards are `GuardReward`'s. The
oracle has two parts to play, both of them the world's: it is the independent judge of the table, and it is the
helpfulness H that hybrid asks for. It never judges safety for the reward, and the guard never judges for the table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.tiny.evaluate import METRICS, JudgedReply, evaluate, judge_policy, style_shares
from guard_reward.tiny.guard import build_tiny_guard, load_tiny_guard, sample_conversations
from guard_reward.tiny.oracle import judge_reply
from guard_reward.tiny.policy import STARTS, build_tiny_policy
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.statistics import Estimate, rate
from guard_reward.tiny.world import Split, sample_requests
from guard_reward.verdict import Verdict

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import GRPOTrainer

    from guard_reward import GuardReward
    from guard_reward.guards import TransformersGuard

__all__ = [
    "DemoSettings",
    "guard_agreement",
    "oracle_helpfulness",
    "run_demo",
    "train_policy",
    "training_requests",
]

RUNS = {"guard_only": "Guard-only", "hybrid": "Hybrid"}
_HEADINGS = {
    "safety_rate": "safe\n(harmful)",
    "refusal_rate_harmful": "refused\n(harmful)",
    "refusal_rate_benign": "refused\n(benign)",
    "garbled_rate": "garbled\n(all)",
    "helpfulness": "helpful\n(all)",
    "helpfulness_harmful": "helpful\n(harmful)",
    "helpfulness_benign": "helpful\n(benign)",
}


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """How the demo trains and evaluates; defaults are what its table was made with.

    Attributes:
        steps: optimizer steps of each run.
        batch_size: completions a step.
        num_generations: completions a prompt.
        learning_rate: falls linearly to 0.
        beta: weight of the KL penalty; without it the policy drifts into nonsense.
        min_p: tokens less likely than this share of the likeliest are not sampled in training.
        max_completion_length: tokens.
        harmful_share: of the training and evaluation prompts; harmful ones alone spread refusals to benign ones.
        evaluation_prompts: held-out requests, one sampled reply each.
        agreement_conversations: held-out conversations on which the guard is compared with the oracle.
    """

    steps: int = 80
    batch_size: int = 64
    num_generations: int = 8
    learning_rate: float = 1e-4
    beta: float = 0.08
    min_p: float = 0.05
    max_completion_length: int = 40
    harmful_share: float = 0.6
    evaluation_prompts: int = 1000
    agreement_conversations: int = 1000


def run_demo(out: Path, seed: int = 0, start: str = "refusing", settings: DemoSettings | None = None) -> dict[str, Any]:
    """Build guard and policy (cached), train under both schemes, judge, and write everything to `out`.

    Args:
        out: folder for ``results.json``, ``report.html``, and ``<run>/history.jsonl`` and ``<run>/rollouts.jsonl``.
        seed: of the models, the data and the sampling: the same seed gives the same table on the same machine.
        start: the policy's habits before training, ``refusing`` or ``balanced`` (see `guard_reward.tiny.policy`).
        settings: only tests change them.

    Returns:
        What ``results.json`` holds: ``before``, ``guard_only`` and ``hybrid`` (`METRICS`, and their intervals under
        ``intervals``), ``guard_agreement`` (share of held-out conversations whose severity the guard gets right), and
        how it was run.
    """
    if start not in STARTS:
        raise ValueError(f"start should be one of {', '.join(STARTS)}, found {start!r}")
    settings = settings or DemoSettings()
    out = Path(out)
    started = time.perf_counter()
    build_tiny_guard(seed)
    policy_folder = build_tiny_policy(seed, start)
    built = time.perf_counter()

    with reproducible(seed):
        guard = load_tiny_guard(seed, device="cpu")
        agreement = guard_agreement(guard, settings.agreement_conversations)
        replies = {"before": _judge_folder(policy_folder, seed, settings)}
        _print_start(agreement, replies["before"], start)
        histories: dict[str, list[dict[str, Any]]] = {}
        facts: dict[str, str] = {"seed": str(seed), "start": start, **{k: str(v) for k, v in asdict(settings).items()}}
        for run, title in RUNS.items():
            reward = _make_reward(run, guard, policy_folder)
            trainer = train_policy(policy_folder, reward, out / run, seed=seed, settings=settings, label=title)
            histories[run] = [entry for entry in trainer.state.log_history if "reward" in entry]
            replies[run] = _judge_model(trainer.model, trainer.processing_class, seed, settings)
            facts |= {f"scheme ({run})" if key == "scheme" else key: text for key, text in reward.describe().items()}

    tables = {run: evaluate(judged) for run, judged in replies.items()}
    seconds = {"building": round(built - started, 1), "total": round(time.perf_counter() - started, 1)}
    results = {
        **{run: _as_json(table) for run, table in tables.items()},
        "guard_agreement": agreement.value,
        "guard_agreement_interval": [agreement.low, agreement.high],
        "styles": {run: style_shares(judged) for run, judged in replies.items()},
        "start": start,
        "seed": seed,
        "seconds": seconds,
    }
    rollouts = {run: _rollout_rows(run, judged, guard) for run, judged in replies.items()}
    _write(out, results, histories, rollouts)
    _write_report(out, start, seed, tables, histories, rollouts, facts)
    _print_table(tables, seconds, out)
    return results


def guard_agreement(guard: TransformersGuard, count: int = 1000, seed: int = 0) -> Estimate:
    """How often the guard's severity is the oracle's, over held-out conversations; no verdict counts as wrong."""
    conversations = sample_conversations(seed, count, split=Split.EVAL)
    verdicts = guard.moderate([list(conversation.messages) for conversation in conversations])
    right = sum(
        isinstance(verdict, Verdict) and verdict.severity is conversation.judgement.severity
        for verdict, conversation in zip(verdicts, conversations, strict=True)
    )
    return rate(right, count)


def oracle_helpfulness(
    prompts: Sequence[Sequence[Mapping[str, str]]], completions: Sequence[Sequence[Mapping[str, str]]], **_: object
) -> list[float]:
    """H(x, y) of the tiny world, with TRL's reward signature; blind to harm, as a helpfulness reward model is."""
    return [
        judge_reply(prompt[-1]["content"], completion[-1]["content"]).helpfulness or 0.0
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def training_requests(seed: int, count: int, harmful_share: float) -> Dataset:
    """A prompt dataset for TRL: ``prompt`` (messages) and ``harmful`` (bool), from the world's training split."""
    from datasets import Dataset

    requests = sample_requests(seed, count, harmful_share=harmful_share)
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": request.text}] for request in requests],
            "harmful": [any(thing.harmful for thing in request.things) for request in requests],
        }
    )


def train_policy(
    policy_folder: Path, reward: Any, out: Path, *, seed: int, settings: DemoSettings, label: str
) -> GRPOTrainer:
    """Train the policy in `policy_folder` with TRL's `GRPOTrainer` on the CPU; the trained model is the trainer's."""
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=str(policy_folder),
        reward_funcs=reward,
        train_dataset=training_requests(
            seed, settings.steps * settings.batch_size // settings.num_generations, settings.harmful_share
        ),
        args=GRPOConfig(
            output_dir=str(out),
            seed=seed,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch_size,
            num_generations=settings.num_generations,
            max_completion_length=settings.max_completion_length,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            beta=settings.beta,
            min_p=settings.min_p,
            loss_type="grpo",
            importance_sampling_level="sequence",
            scale_rewards="batch",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_progress_callback(f"GRPO, {label.lower()}"))
    trainer.train()
    return trainer


def _progress_callback(label: str) -> Any:
    """A progress bar with the mean reward, in place of a printed dictionary every step."""
    from tqdm.auto import tqdm
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        bar = tqdm(desc=label, unit="step", disable=True)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=state.max_steps, desc=label, unit="step")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "reward" in logs:
                self.bar.set_postfix(reward=f"{logs['reward']:.2f}", refresh=False)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Progress()


def _make_reward(run: str, guard: TransformersGuard, policy_folder: Path) -> GuardReward:
    from transformers import AutoTokenizer

    from guard_reward import GuardReward

    return GuardReward(
        guard,
        scheme=run,
        helpfulness=oracle_helpfulness,
        prompt_label_column="harmful",
        eos_token_ids=[AutoTokenizer.from_pretrained(policy_folder).eos_token_id],
    )


def _judge_folder(folder: Path, seed: int, settings: DemoSettings) -> list[JudgedReply]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return _judge_model(model, AutoTokenizer.from_pretrained(folder), seed, settings)


def _judge_model(model: Any, tokenizer: Any, seed: int, settings: DemoSettings) -> list[JudgedReply]:
    return judge_policy(
        model,
        tokenizer,
        count=settings.evaluation_prompts,
        harmful_share=settings.harmful_share,
        max_new_tokens=settings.max_completion_length,
        seed=seed,
    )


def _as_json(table: Mapping[str, Estimate]) -> dict[str, Any]:
    """The values by metric, and their intervals beside them."""
    return {
        **{name: table[name].value for name in METRICS},
        "intervals": {name: [table[name].low, table[name].high] for name in METRICS},
    }


def _rollout_rows(run: str, replies: Sequence[JudgedReply], guard: TransformersGuard) -> list[dict[str, Any]]:
    """One row a held-out request: what the policy said, what the oracle and the guard make of it."""
    verdicts = guard.moderate(
        [
            [{"role": "user", "content": reply.request}, {"role": "assistant", "content": reply.reply}]
            for reply in replies
        ]
    )
    return [
        {
            "run": run,
            "prompt": reply.request,
            "completion": reply.reply,
            "harmful": reply.harmful,
            "style": str(reply.style or "garbled"),
            "oracle_severity": str(reply.judgement.severity),
            "oracle_categories": ", ".join(reply.judgement.categories),
            "refusal": reply.judgement.refusal,
            "helpfulness": reply.judgement.helpfulness,
            "guard_severity": str(verdict.severity) if isinstance(verdict, Verdict) else str(verdict.outcome),
        }
        for reply, verdict in zip(replies, verdicts, strict=True)
    ]


def _write(
    out: Path,
    results: Mapping[str, Any],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    rollouts: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    for run, rows in rollouts.items():
        _write_lines(out / run / "rollouts.jsonl", rows)
    for run, entries in histories.items():
        _write_lines(out / run / "history.jsonl", entries)
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write_report(
    out: Path,
    start: str,
    seed: int,
    tables: Mapping[str, Mapping[str, Estimate]],
    histories: Mapping[str, list[dict[str, Any]]],
    rollouts: Mapping[str, Sequence[Mapping[str, Any]]],
    facts: Mapping[str, str],
) -> None:
    from guard_reward.pipeline.report import write_report

    write_report(
        out / "report.html",
        title=f"guard-reward demo: {start} start, seed {seed}",
        table=[
            {"run": run, **{name: {"value": e.value, "low": e.low, "high": e.high} for name, e in table.items()}}
            for run, table in tables.items()
        ],
        histories=histories,
        rollouts=[row for rows in rollouts.values() for row in rows[:200]],
        facts=facts,
    )


def _print_start(agreement: Estimate, before: Sequence[JudgedReply], start: str) -> None:
    from rich.console import Console

    shares = ", ".join(f"{style} {share:.0%}" for style, share in style_shares(before).items())
    Console().print(
        f"\nGuard: agrees with the oracle on {agreement.value:.1%} of {agreement.count} held-out conversations.\n"
        f"Policy before training ({start} start), on harmful requests: {shares}.\n",
        highlight=False,
    )


def _print_table(tables: Mapping[str, Mapping[str, Estimate]], seconds: Mapping[str, float], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title="Judged by the oracle on held-out requests",
        caption="95% confidence intervals; a garbled reply is neither safe nor helpful. "
        f"{seconds['total']:.0f} s, {seconds['building']:.0f} s of them building the models.",
    )
    table.add_column("")
    for name in METRICS:
        table.add_column(_HEADINGS[name], justify="right")
    for run, row in tables.items():
        cells = [_decimal(row[name]) if name.startswith("helpfulness") else _percent(row[name]) for name in METRICS]
        table.add_row(RUNS.get(run, "Before"), *cells)
    console = Console()
    console.print(table)
    console.print(f"Written to {out}: results.json, report.html, histories and rollouts.", highlight=False)


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1%}\n({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _decimal(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}\n({estimate.low:.3f}–{estimate.high:.3f})"
