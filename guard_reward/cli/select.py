"""``guard-reward select``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard_reward.cli.options import (
    Device,
    Dtype,
    GuardFamily,
    GuardName,
    Harmful,
    JsonFile,
    KeepGoing,
    Limit,
    MaxNewTokens,
    Overwrite,
    PolicyModel,
    PolicyRevision,
    PromptColumn,
    Prompts,
    Quiet,
    Restart,
    Revision,
    SampleSeed,
    ServedModel,
    ServedTokenizer,
    SystemPrompt,
    Temperature,
)
from guard_reward.cli.output import load_policy, local_options, one_line_errors, printable, write_json
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard_reward.evaluation.policies.replies import Policy
    from guard_reward.evaluation.records import PromptRow
    from guard_reward.rewards.reward import GuardReward

__all__ = ["select"]


class Modes(StrEnum):
    """Whether the policy thinks while it is sampled."""

    ON = "on"
    OFF = "off"
    BOTH = "both"


PolicyName = Annotated[str, typer.Option(metavar="MODEL", help="The policy to train: hub id, folder or URL.")]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="For the data set and its card; an interrupted run goes on there.")
]
SchemeName = Annotated[str, typer.Option(help="The reward scheme of the run to come.")]
SchemeKwargs = Annotated[str | None, typer.Option(metavar="JSON", help="The scheme's values.")]
Helpfulness = Annotated[
    str | None,
    typer.Option(metavar="MODEL|CALLABLE", help="For schemes that use it: reward model, or dotted path."),
]
Samples = Annotated[int, typer.Option(min=2, help="Replies per prompt, and per mode of --thinking.")]
MinSpread = Annotated[float, typer.Option(help="Keep prompts whose rewards have at least this standard deviation.")]
Mode = Annotated[
    Modes | None, typer.Option(help="Sample with thinking, without, or both; default: the chat template's own way.")
]


def select(
    prompts: Prompts,
    policy: PolicyName,
    out: Out,
    guard: GuardName = DEFAULT_GUARD,
    scheme: SchemeName = "guard_only",
    scheme_kwargs: SchemeKwargs = None,
    helpfulness: Helpfulness = None,
    samples: Samples = 8,
    min_spread: MinSpread = 0.05,
    prompt_column: PromptColumn = "prompt",
    harmful: Harmful = None,
    limit: Limit = None,
    system_prompt: SystemPrompt = None,
    temperature: Temperature = 1.0,
    max_new_tokens: MaxNewTokens = 512,
    thinking: Mode = None,
    policy_model: PolicyModel = None,
    policy_revision: PolicyRevision = None,
    revision: Revision = None,
    guard_model: ServedModel = None,
    guard_tokenizer: ServedTokenizer = None,
    guard_spec: GuardFamily = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: SampleSeed = 0,
    restart: Restart = False,
    overwrite: Overwrite = False,
    keep_going: KeepGoing = False,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """Choose the prompts on which the policy's own samples differ in reward: the others teach nothing.

    Sample with the settings of the run to come. DIR/selected.jsonl is a prompt set for the recipes; DIR/README.md says
    what was dropped: all_safe, all_unsafe, no_spread, no_verdict. PROMPTS are as in guard-reward evaluate. Examples:

    - `guard-reward select prompts.jsonl --policy Qwen/Qwen3-4B --guard Qwen/Qwen3Guard-Gen-4B --out data/selected`
    - `guard-reward select prompts.jsonl --policy http://127.0.0.1:8001/v1 --guard http://127.0.0.1:8000/v1
      --thinking both --samples 4 --scheme soft --min-spread 0.1 --out data/selected`
    """
    loaded = {"device": device, "dtype": dtype}
    sampled: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "model": policy_model}
    sampled |= {"thinking": None, "revision": policy_revision, **local_options(policy, **loaded)}
    judged: dict[str, Any] = {"revision": revision, "model": guard_model, "tokenizer": guard_tokenizer}
    judged |= {"kwargs": guard_spec and {"spec": guard_spec}, **local_options(guard, **loaded)}
    rewarded = {"scheme": scheme, "scheme_kwargs": scheme_kwargs, "helpfulness": helpfulness}
    named = {"prompt_column": prompt_column, "harmful": harmful, "limit": limit, "system_prompt": system_prompt}
    job: dict[str, Any] = {"overwrite": overwrite, "restart": restart, "keep_going": keep_going}
    job |= {"min_spread": min_spread, "progress": not quiet}
    with one_line_errors():
        rows = _rows(prompts, seed, named)
        policies = _modes(load_policy(policy, **sampled), thinking)
        numbers = _select(rows, policies, _reward(guard, rewarded, judged), out, (samples, seed), **job)
    if not quiet:
        _print(numbers, out)
    write_json(json_file, numbers)
    _check_kept(numbers)


def _check_kept(numbers: Mapping[str, Any]) -> None:
    if not numbers["kept"]:
        typer.echo("guard-reward: no prompt was kept", err=True)
        raise typer.Exit(1)


def _rows(prompts: list[str], seed: int, named: dict[str, Any]) -> list[PromptRow]:
    from guard_reward.prompts.rows import load_rows, named_sets

    return load_rows(named_sets(prompts, **named), seed)


def _reward(guard: str, options: dict[str, Any], judged: dict[str, Any]) -> GuardReward:
    from guard_reward.launch.config import GuardRewardConfig, build_reward
    from guard_reward.rewards.policy import PolicyFacts

    # Thinking is split off already, and no token ids are passed.
    config = GuardRewardConfig(guard, **options, **{f"guard_{name}": value for name, value in judged.items()})
    return build_reward(config, PolicyFacts(eos_token_ids=(), thinking_prefilled=False))


def _select(
    rows: list[PromptRow],
    policies: dict[str, Policy],
    reward: GuardReward,
    out: Path,
    sampling: tuple[int, int],
    **job: Any,
) -> dict[str, Any]:
    from guard_reward.evaluation.evaluate import Sampling
    from guard_reward.prompts.selection import select_prompts

    return select_prompts(rows, policies, reward, out, sampling=Sampling(*sampling), **job)


def _modes(policy: Policy, thinking: Modes | None) -> dict[str, Policy]:
    """The policy in each mode to sample."""
    from guard_reward.evaluation.policies.loading import THINKING

    if thinking is None:
        return {"default": policy}
    modes = list(THINKING) if thinking is Modes.BOTH else [thinking.value]
    return {mode: policy.with_template(THINKING[mode]) for mode in modes}


def _print(numbers: Mapping[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from guard_reward.prompts.selection_files import CARD, SAMPLES, SELECTED

    reasons = list(numbers["dropped"])
    table = Table("prompts", "all", "kept", *reasons, title="Prompts that were kept and dropped")
    for name, of in {**numbers["by_source"], "all": numbers}.items():
        counts = (of["kept"] + sum(of["dropped"].values()), of["kept"], *of["dropped"].values())
        table.add_row(printable(name), *(f"{count:,}" for count in counts), end_section=name != "all")
    console = Console(highlight=False, markup=False)
    console.print(table)
    if numbers["unlabelled"]:
        text = "do not say whether they are harmful; in a recipe, harmful: needs a label for every prompt"
        console.print(f"{numbers['unlabelled']:,} prompts {text}")
    for mode, count in numbers["policy_errors"].items():
        console.print(f"the policy failed to give {count:,} samples (thinking: {mode}); see {SAMPLES}")
    console.print(printable(f"written to {out}: {SELECTED} for the recipes, {CARD} on how it was made"))
