"""``guard-reward select``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard_reward.cli.options import (
    Device,
    Dtype,
    GuardName,
    Harmful,
    JsonFile,
    Limit,
    MaxNewTokens,
    PolicyModel,
    PolicyRevision,
    PromptColumn,
    Prompts,
    Restart,
    Revision,
    ServedModel,
    ServedTokenizer,
    SystemPrompt,
    Temperature,
)
from guard_reward.cli.output import load_policy, one_line_errors, printable, write_json
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard_reward.evaluation.replies import Policy

__all__ = ["select"]


class Modes(StrEnum):
    """Whether the policy thinks while it is sampled."""

    ON = "on"
    OFF = "off"
    BOTH = "both"


def select(
    prompts: Prompts,
    policy: Annotated[
        str, typer.Option(metavar="MODEL", help="The policy to train: hub id, folder, or a server's URL.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="For the data set and its card; an interrupted run goes on there.")
    ],
    guard: GuardName = DEFAULT_GUARD,
    scheme: Annotated[str, typer.Option(help="The reward scheme of the run to come.")] = "guard_only",
    scheme_kwargs: Annotated[str | None, typer.Option(metavar="JSON", help="The scheme's values.")] = None,
    helpfulness: Annotated[
        str | None,
        typer.Option(metavar="MODEL|CALLABLE", help="For schemes that use it: a reward model, or a dotted path."),
    ] = None,
    samples: Annotated[int, typer.Option(min=2, help="Replies per prompt, and per mode of --thinking.")] = 8,
    min_spread: Annotated[
        float, typer.Option(help="Keep prompts whose rewards have at least this standard deviation.")
    ] = 0.05,
    prompt_column: PromptColumn = "prompt",
    harmful: Harmful = None,
    limit: Limit = None,
    system_prompt: SystemPrompt = None,
    temperature: Temperature = 1.0,
    max_new_tokens: MaxNewTokens = 512,
    thinking: Annotated[
        Modes | None, typer.Option(help="Sample with thinking, without, or both; default: the chat template's own way.")
    ] = None,
    policy_model: PolicyModel = None,
    policy_revision: PolicyRevision = None,
    revision: Revision = None,
    guard_model: ServedModel = None,
    guard_tokenizer: ServedTokenizer = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Annotated[int, typer.Option(help="Of the replies, and of the prompts that --limit leaves.")] = 0,
    restart: Restart = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished selection in DIR.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on when the policy or the guard fails on most of a chunk.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Choose the prompts on which the policy's own samples differ in reward: the others teach nothing.

    Sample with the settings of the run to come: the same policy, scheme, temperature and length. DIR/selected.jsonl is
    a prompt set for the recipes; DIR/README.md counts what was dropped and why: all_safe, all_unsafe, no_spread,
    no_verdict. PROMPTS are as in guard-reward evaluate.

    Examples:

    - `guard-reward select prompts.jsonl --policy Qwen/Qwen3-4B --guard Qwen/Qwen3Guard-Gen-4B --out data/selected`

    - `guard-reward select prompts.jsonl --policy http://127.0.0.1:8001/v1 --guard http://127.0.0.1:8000/v1
      --thinking both --samples 4 --scheme soft --min-spread 0.1 --out data/selected`
    """
    with one_line_errors():
        from guard_reward.evaluation.evaluate import Sampling
        from guard_reward.launch.config import GuardRewardConfig, build_reward
        from guard_reward.prompts.rows import load_rows, named_sets
        from guard_reward.prompts.selection import select_prompts
        from guard_reward.rewards.policy import PolicyFacts

        sets = named_sets(
            prompts, prompt_column=prompt_column, harmful=harmful, limit=limit, system_prompt=system_prompt
        )
        rows = load_rows(sets, seed)
        config = GuardRewardConfig(
            guard,
            scheme=scheme,
            scheme_kwargs=scheme_kwargs,
            helpfulness=helpfulness,
            guard_revision=revision,
            guard_model=guard_model,
            guard_tokenizer=guard_tokenizer,
            guard_device=device,
            guard_dtype=dtype,
        )
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "device": device}
        options |= {"model": policy_model, "revision": policy_revision, "dtype": dtype}
        numbers = select_prompts(
            rows,
            _modes(load_policy(policy, thinking=None, **options), thinking),
            build_reward(config, PolicyFacts(eos_token_ids=(), thinking_prefilled=False)),
            out,
            sampling=Sampling(samples, seed),
            min_spread=min_spread,
            overwrite=overwrite,
            restart=restart,
            keep_going=keep_going,
            progress=not quiet,
        )
        if not quiet:
            _print(numbers, out)
    write_json(json_file, numbers)
    if not numbers["kept"]:
        raise typer.Exit(1)


def _modes(policy: Policy, thinking: Modes | None) -> dict[str, Policy]:
    """The policy in each mode to sample."""
    from guard_reward.evaluation.policies import THINKING

    if thinking is None:
        return {"default": policy}
    modes = list(THINKING) if thinking is Modes.BOTH else [thinking.value]
    return {mode: policy.with_template(THINKING[mode]) for mode in modes}


def _print(numbers: Mapping[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from guard_reward.prompts.selection_files import CARD, SELECTED

    reasons = list(numbers["dropped"])
    table = Table("prompts", "all", "kept", *reasons, title="What the policy's samples say of the prompts")
    for name, of in {**numbers["by_source"], "all": numbers}.items():
        counts = (of["kept"] + sum(of["dropped"].values()), of["kept"], *of["dropped"].values())
        table.add_row(printable(name), *(f"{count:,}" for count in counts), end_section=name != "all")
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(printable(f"written to {out}: {SELECTED} for the recipes, {CARD} on how it was made"))
