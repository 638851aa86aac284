"""``guard-reward demo``: one tiny policy, trained twice under a tiny guard, judged by the oracle.

    from guard_reward.tiny import run_demo
    results = run_demo("runs/demo")

From the same start, TRL's `GRPOTrainer` trains with `GuardReward` under the report's two schemes, guard-only and
hybrid, or under those that are asked for. The guard is loaded by `load_guard`, the rewards are `GuardReward`'s. The
oracle has two uses: it is the independent judge of the table, and the helpfulness H of the hybrid scheme. It never
judges safety for the reward, and the guard never judges for the table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.schemes import SCHEMES
from guard_reward.statistics import Estimate, rate
from guard_reward.tiny.evaluate import JudgedReply, evaluate, judge_policy, style_shares
from guard_reward.tiny.grpo import DemoSettings, train_policy
from guard_reward.tiny.guard import build_tiny_guard, load_tiny_guard, sample_conversations
from guard_reward.tiny.oracle import oracle_helpfulness
from guard_reward.tiny.policy import STARTS, build_tiny_policy
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.results import (
    RUNS,
    as_json,
    print_start,
    print_table,
    title_of,
    write_record,
    write_report_page,
    write_results,
)
from guard_reward.tiny.world import Split
from guard_reward.verdict import Verdict

if TYPE_CHECKING:
    from guard_reward import GuardReward
    from guard_reward.guards import TransformersGuard

__all__ = ["guard_agreement", "judge_model", "make_reward", "run_demo"]


def run_demo(
    out: str | Path,
    seed: int = 0,
    start: str = "refusing",
    settings: DemoSettings | None = None,
    *,
    schemes: Sequence[str] = tuple(RUNS),
) -> dict[str, Any]:
    """Build guard and policy (cached), train under each scheme, judge, and write everything to `out`.

    Args:
        out: folder for ``results.json``, ``report.html``, and ``<run>/history.jsonl`` and ``<run>/rollouts.jsonl``.
        seed: of the models, the data and the sampling: the same seed gives the same table on the same machine.
        start: the policy's habits before training, ``refusing`` or ``balanced`` (see `guard_reward.tiny.policy`).
        settings: only tests change them.
        schemes: by plain name, one run each.

    Returns:
        What ``results.json`` holds, ``before`` and each scheme (`METRICS`, and their intervals under ``intervals``),
        ``guard_agreement`` (on what fraction of held-out conversations the guard has the oracle's severity), and how
        it was run.

    Raises:
        ValueError: there is no such start or scheme.

    >>> run_demo("runs/laptop", schemes=["hybrid"])["hybrid"]["safety_rate"]                   # doctest: +SKIP
    0.98
    """
    _check(start, schemes)
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
        print_start(agreement, replies["before"], start)
        histories: dict[str, list[dict[str, Any]]] = {}
        common = {"seed": str(seed), "start": start, **{name: str(value) for name, value in asdict(settings).items()}}
        facts: dict[str, dict[str, str]] = {}
        for run in schemes:
            reward = make_reward(run, guard, policy_folder)
            trainer = train_policy(policy_folder, reward, out / run, seed=seed, settings=settings, label=title_of(run))
            histories[run] = [entry for entry in trainer.state.log_history if "reward" in entry]
            replies[run] = judge_model(trainer.model, trainer.processing_class, seed, settings)
            facts[run] = write_record(out / run, reward.describe(), common)

    tables = {run: evaluate(judged) for run, judged in replies.items()}
    seconds = {"building": round(built - started, 1), "total": round(time.perf_counter() - started, 1)}
    results = {**_numbers(tables, agreement, replies), "start": start, "seed": seed, "seconds": seconds}
    rollouts = {run: _rollout_rows(run, judged, guard) for run, judged in replies.items()}
    write_results(out, results, histories, rollouts)
    write_report_page(out, start, seed, tables, histories, rollouts, facts)
    print_table(tables, seconds, out)
    return results


def _check(start: str, schemes: Sequence[str]) -> None:
    """Refuse what is wrong or missing now, and not after the training."""
    if start not in STARTS:
        raise ValueError(f"start should be one of {', '.join(STARTS)}, found {start!r}")
    known = [name for name, scheme in SCHEMES.items() if not scheme().needs_tokens]  # its guard writes verdicts
    if isinstance(schemes, str) or not schemes or any(scheme not in known for scheme in schemes):
        raise ValueError(f"schemes should be a list of {', '.join(known)}, found {schemes!r}")
    import trl  # noqa: F401

    import guard_reward.report  # noqa: F401


def _numbers(
    tables: Mapping[str, Mapping[str, Estimate]], agreement: Estimate, replies: Mapping[str, Sequence[JudgedReply]]
) -> dict[str, Any]:
    """What was measured, as JSON values."""
    return {
        **{run: as_json(table) for run, table in tables.items()},
        "guard_agreement": agreement.value,
        "guard_agreement_interval": [agreement.low, agreement.high],
        "styles": {run: style_shares(judged) for run, judged in replies.items()},
    }


def guard_agreement(guard: TransformersGuard, count: int = 1000, seed: int = 0) -> Estimate:
    """How often the guard's severity is the oracle's, on held-out conversations; a missing verdict counts as wrong."""
    conversations = sample_conversations(seed, count, split=Split.EVAL)
    verdicts = guard.moderate([list(conversation.messages) for conversation in conversations])
    right = sum(
        isinstance(verdict, Verdict) and verdict.severity is conversation.judgement.severity
        for verdict, conversation in zip(verdicts, conversations, strict=True)
    )
    return rate(right, count)


def make_reward(scheme: str, guard: TransformersGuard, policy_folder: Path) -> GuardReward:
    """The reward of a demo run: a scheme by its plain name, with the oracle's helpfulness."""
    from transformers import AutoTokenizer

    from guard_reward import GuardReward

    return GuardReward(
        guard,
        scheme=scheme,
        helpfulness=oracle_helpfulness,
        prompt_label_column="harmful",
        eos_token_ids=[AutoTokenizer.from_pretrained(policy_folder).eos_token_id],
    )


def _judge_folder(folder: Path, seed: int, settings: DemoSettings) -> list[JudgedReply]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return judge_model(model, AutoTokenizer.from_pretrained(folder), seed, settings)


def judge_model(model: Any, tokenizer: Any, seed: int, settings: DemoSettings) -> list[JudgedReply]:
    """The policy's replies to held-out requests, judged by the oracle."""
    return judge_policy(
        model,
        tokenizer,
        count=settings.evaluation_prompts,
        harmful_share=settings.harmful_share,
        max_new_tokens=settings.max_completion_length,
        temperature=settings.temperature,
        seed=seed,
    )


def _rollout_rows(run: str, replies: Sequence[JudgedReply], guard: TransformersGuard) -> list[dict[str, Any]]:
    """One row per held-out request: the policy's reply, and the verdicts of oracle and guard."""
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
