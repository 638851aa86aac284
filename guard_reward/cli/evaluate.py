"""``guard-reward evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from guard_reward.cli.options import (
    Device,
    Dtype,
    Harmful,
    JsonFile,
    Limit,
    MaxNewTokens,
    PolicyModel,
    PolicyRevision,
    PromptColumn,
    Prompts,
    Restart,
    SystemPrompt,
    Temperature,
    Thinking,
)
from guard_reward.cli.output import load_guard, load_policy, one_line_errors, write_json
from guard_reward.errors import UserError

__all__ = ["evaluate"]

Judges = Annotated[
    list[str],
    typer.Option(
        "--judge",
        metavar="[NAME=]GUARD",
        help="A guard that judges the replies: hub id, folder or URL; once per judge. NAME is for tables and columns.",
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="For replies.jsonl and results.json; an interrupted run goes on there.")
]


def evaluate(
    prompts: Prompts,
    judge: Judges,
    out: Out,
    policy: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Who replies: hub id, folder (a LoRA adapter's too), or a server's URL."),
    ] = None,
    response_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Judge the recorded replies in this column; no policy.")
    ] = None,
    thinking_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The thinking of recorded replies, if it is apart.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An earlier evaluation on the same prompts: before and after.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Output folder of the run that trained the policy, to warn of judges that gave its reward. Default: "
            "the policy's folder, or the one above it.",
        ),
    ] = None,
    prompt_column: PromptColumn = "prompt",
    harmful: Harmful = None,
    limit: Limit = None,
    system_prompt: SystemPrompt = None,
    samples: Annotated[int, typer.Option(min=1, help="Replies per prompt.")] = 1,
    temperature: Temperature = 1.0,
    max_new_tokens: MaxNewTokens = 512,
    thinking: Thinking = None,
    policy_model: PolicyModel = None,
    policy_revision: PolicyRevision = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Annotated[int, typer.Option(help="Of the replies, and of the prompts that --limit leaves.")] = 0,
    restart: Restart = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished evaluation in DIR.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on when the policy or a judge fails on most replies of a chunk.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Say how safe a policy is, and how often it refuses, by one or several judges.

    PROMPTS are files (.jsonl, .json, .csv, .parquet), hub ids, or public sets by name: wildjailbreak, xstest,
    harmbench, strongreject, simplesafetytests, or-bench, jailbreakbench. Give harmful and benign prompts: a policy that
    refuses everything is safe.

    Judge with a guard that did not give the reward. Rates have 95% bootstrap intervals over prompts; before and after
    are compared prompt by prompt, with McNemar's exact test.

    Examples:

    - `guard-reward evaluate xstest harmbench --policy runs/gspo --judge Qwen/Qwen3Guard-Gen-8B --out eval/after`

    - `guard-reward evaluate xstest harmbench --policy runs/gspo --judge Qwen/Qwen3Guard-Gen-8B --out eval/after
      --compare eval/before`

    - `guard-reward evaluate replies.jsonl --response-column response --judge wild=allenai/wildguard --judge
      qwen=Qwen/Qwen3Guard-Gen-4B --out eval/recorded`
    """
    with one_line_errors():
        from guard_reward.cli.evaluation_tables import print_evaluation
        from guard_reward.evaluation.evaluate import Sampling, evaluate_policy
        from guard_reward.launch.record import read_record
        from guard_reward.prompts.rows import load_rows, named_sets

        if (policy is None) == (response_column is None):
            raise UserError("name a --policy that replies, or the --response-column of recorded replies")
        judges = _named(judge)
        sets = named_sets(
            prompts, prompt_column=prompt_column, harmful=harmful, limit=limit, system_prompt=system_prompt
        )
        rows = load_rows(sets, seed, response_column=response_column, thinking_column=thinking_column)
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "device": device}
        options |= {"model": policy_model, "revision": policy_revision, "dtype": dtype, "thinking": thinking}
        results = evaluate_policy(
            rows,
            None if policy is None else load_policy(policy, **options),
            {name: load_guard(source, device=device, dtype=dtype) for name, source in judges.items()},
            out,
            sampling=Sampling(samples, seed),
            record=read_record(run) if run is not None else _record_near(policy),
            compare=compare,
            overwrite=overwrite,
            restart=restart,
            keep_going=keep_going,
            progress=not quiet,
        )
        if not quiet:
            print_evaluation(results, out)
    write_json(json_file, results)
    if all("safe_rate" not in judged["all"] for judged in results["judges"].values()):
        raise typer.Exit(1)


def _named(judges: list[str]) -> dict[str, str]:
    """Judge's name → guard; the last part of the guard's name, if none was given."""
    found: dict[str, str] = {}
    for text in judges:
        name, _, source = text.partition("=") if "=" in text.split("/")[0] else ("", "", text)
        name = name or source.split(",")[0].rstrip("/").rpartition("/")[2]
        if name in found:
            raise UserError(f"judge: two are called {name!r}: name them, as in --judge first={source}")
        found[name] = source
    return found


def _record_near(policy: str | None) -> dict[str, Any]:
    """The record of the run that trained the policy, if its folder or the one above has it."""
    from guard_reward.launch.record import read_record

    if policy is None or not Path(policy).is_dir():
        return {}
    return read_record(Path(policy)) or read_record(Path(policy).resolve().parent)
