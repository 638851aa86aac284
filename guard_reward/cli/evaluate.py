"""``guard-reward evaluate``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from guard_reward.cli.evaluation_tables import print_evaluation
from guard_reward.cli.options import (
    Device,
    Dtype,
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
    SampleSeed,
    SystemPrompt,
    Temperature,
    Thinking,
)
from guard_reward.cli.output import load_guard, load_policy, local_options, one_line_errors, write_json
from guard_reward.errors import UserError
from guard_reward.guards.loading import is_served

if TYPE_CHECKING:
    from guard_reward.evaluation.records import PromptRow
    from guard_reward.schemes import ResponsePolicy
    from guard_reward.verdict import Guard

__all__ = ["evaluate"]

_NAME = re.compile(r"[\w.-]+")

Judges = Annotated[
    list[str],
    typer.Option(
        "--judge",
        metavar="[NAME=]GUARD",
        help="A guard that judges the replies: hub id, folder or URL, or the arguments of load_guard as JSON; once per "
        "judge. NAME is for tables and columns.",
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="For replies.jsonl and results.json; an interrupted run goes on there.")
]
Policy = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Who replies: hub id, folder (a LoRA adapter's too), or a server's URL."),
]
ResponseColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Judge the recorded replies in this column; no policy.")
]
ThinkingColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The thinking of recorded replies, if it is apart.")
]
Compare = Annotated[
    Path | None, typer.Option(metavar="DIR", help="An earlier evaluation on the same prompts: before and after.")
]
Behaviour = Annotated[
    str | None,
    typer.Option(
        "--response-policy",
        metavar="default|JSON",
        help="Measure compliance with a table of right behaviours: the values of the scheme response_policy.",
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Output folder of the run that trained the policy, to warn of judges that gave its reward. Default: "
        "the policy's folder, or the one above it.",
    ),
]


def evaluate(
    prompts: Prompts,
    judge: Judges,
    out: Out,
    policy: Policy = None,
    response_column: ResponseColumn = None,
    thinking_column: ThinkingColumn = None,
    compare: Compare = None,
    response_policy: Behaviour = None,
    run: Run = None,
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
    seed: SampleSeed = 0,
    restart: Restart = False,
    overwrite: Overwrite = False,
    keep_going: KeepGoing = False,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """Say how safe a policy is, and how often it refuses, by one or several judges.

    PROMPTS are files (.jsonl, .json, .csv, .parquet), hub ids, or public sets by name: wildjailbreak, xstest,
    harmbench, strongreject, simplesafetytests, or-bench, jailbreakbench. Give harmful and benign prompts: a policy that
    refuses everything is safe. Judge with a guard that did not give the reward.

    Examples:

    - `guard-reward evaluate xstest harmbench --policy runs/gspo --judge Qwen/Qwen3Guard-Gen-8B --out eval/after
      --compare eval/before`
    - `guard-reward evaluate replies.jsonl --response-column response --judge wild=allenai/wildguard --out eval/found`
    """
    loaded = {"device": device, "dtype": dtype}
    asked: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "thinking": thinking}
    asked |= {"model": policy_model, "revision": policy_revision}
    named = {"prompt_column": prompt_column, "harmful": harmful, "limit": limit, "system_prompt": system_prompt}
    job = {"overwrite": overwrite, "restart": restart, "keep_going": keep_going, "progress": not quiet}
    with one_line_errors():
        judges, against = _named(judge), _Against.of(compare, policy, run, response_policy)
        rows = _rows(prompts, policy, seed, named, (response_column, thinking_column))
        replies = _policy(policy, samples, asked, loaded)
        results = _evaluate(rows, replies, _guards(judges, loaded), out, (samples, seed), against, **job)
    if not quiet:
        print_evaluation(results, out)
    write_json(json_file, results)
    if all("safe_rate" not in judged["all"] for judged in results["judges"].values()):
        typer.echo("guard-reward: no reply has a verdict", err=True)
        raise typer.Exit(1)


def _rows(
    prompts: list[str], policy: str | None, seed: int, named: dict[str, Any], columns: tuple[str | None, str | None]
) -> list[PromptRow]:
    from guard_reward.prompts.rows import load_rows, named_sets

    if policy is None and columns[0] is None:
        raise UserError("name a --policy that replies, or the --response-column of recorded replies")
    if policy is not None and columns[0] is not None:
        raise UserError("give a --policy that replies, or the --response-column of recorded replies, not both")
    response, thinking = columns
    return load_rows(named_sets(prompts, **named), seed, response_column=response, thinking_column=thinking)


def _policy(policy: str | None, samples: int, asked: dict[str, Any], loaded: dict[str, Any]) -> Any:
    if policy is not None:
        return load_policy(policy, **asked, **local_options(policy, **loaded))
    unused = {"--samples": samples > 1, "--thinking": asked["thinking"], "--policy-model": asked["model"]}
    if names := ", ".join(name for name, is_given in unused.items() if is_given):
        raise UserError(f"{names}: recorded replies are judged as they are; leave it out, or name a --policy")
    return None


def _guards(judges: dict[str, tuple[str, dict[str, Any]]], loaded: dict[str, Any]) -> dict[str, Guard]:
    return {
        name: load_guard(source, **{**local_options(source, **loaded), **options})
        for name, (source, options) in judges.items()
    }


def _evaluate(
    rows: list[PromptRow],
    policy: Any,
    guards: dict[str, Guard],
    out: Path,
    sampling: tuple[int, int],
    against: _Against,
    **job: bool,
) -> dict[str, Any]:
    from guard_reward.evaluation.evaluate import Sampling, evaluate_policy

    return evaluate_policy(
        rows,
        policy,
        guards,
        out,
        sampling=Sampling(*sampling),
        compare=against.compare,
        record=against.record,
        behaviour=against.behaviour,
        **job,
    )


class _Against(NamedTuple):
    """What the replies are compared with."""

    compare: Path | None
    record: dict[str, Any]
    behaviour: ResponsePolicy | None

    @classmethod
    def of(cls, compare: Path | None, policy: str | None, run: Path | None, response_policy: str | None) -> _Against:
        return cls(compare, _record(policy, run), _response_policy(response_policy))


def _response_policy(text: str | None) -> ResponsePolicy | None:
    from guard_reward.launch.config import GuardRewardConfig, build_scheme

    if text is None:
        return None
    try:
        kwargs = None if text == "default" else text
        scheme = build_scheme(GuardRewardConfig("any", scheme="response_policy", scheme_kwargs=kwargs))
    except UserError as error:
        raise UserError(f"--response-policy: {str(error).removeprefix('scheme_kwargs: ')}") from error
    return cast("ResponsePolicy", scheme)


def _named(judges: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Judge's name → guard, and other arguments of ``load_guard``; without a name, the last part of the guard's."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for text in judges:
        name, sign, rest = text.partition("=")
        is_named = bool(sign) and _NAME.fullmatch(name) is not None
        source, options = _guard_of(rest if is_named else text)
        if not is_named and is_served(source):
            raise UserError(f"judge: name a served judge, as in --judge wild={source}")
        name = name if is_named else source.rstrip("/").rpartition("/")[2]
        if name in found:
            raise UserError(f"judge: two are called {name!r}: name them, as in --judge first={source}")
        found[name] = source, options
    return found


def _guard_of(text: str) -> tuple[str, dict[str, Any]]:
    """``{"guard": "http://…", "model": "…", "spec": "rubric"}`` → the guard's name and the other arguments."""
    if not text.startswith("{"):
        return text, {}
    try:
        options = json.loads(text)
        return str(options.pop("guard")), options
    except (ValueError, KeyError, AttributeError) as error:
        example = '{"guard": "http://…", "spec": "rubric"}'
        raise UserError(f"judge: should be JSON with a guard, as in {example}, found {text}") from error


def _record(policy: str | None, run: Path | None) -> dict[str, Any]:
    """The record of the run that trained the policy: of the folder that was named, or near the policy."""
    from guard_reward.launch.record import read_record

    if run is not None:
        return read_record(run)
    if policy is None or not Path(policy).is_dir():
        return {}
    return read_record(Path(policy)) or read_record(Path(policy).resolve().parent)
