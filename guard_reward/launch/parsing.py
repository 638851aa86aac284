"""A YAML file and the command line → configs, through TRL's own parser."""

from __future__ import annotations

import os
import re
import sys
from argparse import Action, ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
import yaml  # type: ignore[import-untyped]
from transformers import TrainingArguments
from trl import TrlParser

from guard_reward.errors import UserError

__all__ = ["make_parser", "parse"]


class _HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Defaults are shown where there are any, and the examples keep their lines."""

    def _get_help_string(self, action: Action) -> str | None:
        return action.help if action.default in (None, []) else super()._get_help_string(action)


class _RecipeParser(TrlParser):
    """TRL's parser; a mistake is one line, without the usage of some three hundred options."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def make_parser(configs: Sequence[type], description: str) -> TrlParser:
    """The parser of a recipe.

    Args:
        configs: dataclasses in the order in which they are wanted; those that name their group lead the help.
        description: the recipe's docstring: a first paragraph, then the examples.
    """
    first, _, examples = description.partition("\n\n")
    parser = _RecipeParser(
        configs,
        usage="%(prog)s --config FILE.yaml [--option value ...]",
        description=first,
        epilog=examples,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,  # the record would not know `--hub_tok` for a secret
    )
    parser._action_groups.sort(key=lambda group: group.title == "options")  # ours first, TRL's hundreds behind them
    parser.set_defaults(**_defaults_of_cpu_ranks())
    return parser


def parse(configs: Sequence[type], description: str, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
    """Read the YAML file behind ``--config`` and the command line, which has the last word.

    Args:
        configs: dataclasses to fill.
        description: the recipe's docstring, for ``--help``.
        arguments: of the command line; by default the program's own.

    Returns:
        One instance of each class.

    Raises:
        UserError: a file that cannot be read, a key that no class has, a value that a class refuses, processes or
            DeepSpeed that got lost between launcher and config.
    """
    try:
        parsed = make_parser(configs, description).parse_args_and_config(
            _config_apart(sys.argv[1:] if arguments is None else arguments)
        )
    except (ValueError, TypeError, OSError, IndexError, yaml.YAMLError) as error:
        raise UserError(_explained(error)) from error
    for config in parsed:
        if isinstance(config, TrainingArguments):
            _check_processes(config)
    return parsed


def _config_apart(arguments: Sequence[str]) -> list[str]:
    """Every ``--config=FILE`` as the two words that TRL looks for.

    >>> _config_apart(["--config=run.yaml", "--seed=1"])
    ['--config', 'run.yaml', '--seed=1']
    """
    apart: list[str] = []
    for argument in arguments:
        apart += argument.split("=", 1) if argument.startswith("--config=") else [argument]
    return apart


def _explained(error: BaseException) -> str:
    if isinstance(error, IndexError):
        return "--config needs the path of a YAML file behind it"
    text = " ".join(str(error).split())
    if unknown := re.match(
        r"(Unknown arguments from config file|Some specified arguments are not used)[^\[]*(\[.*?\])", text
    ):
        where = "the config file" if unknown[1].startswith("Unknown") else "the command line"
        names = ", ".join(re.findall(r"--([\w-]+)", unknown[2])) or unknown[2]
        return f"{where} has what no option is called: {names}; --help lists them all"
    return text


def _defaults_of_cpu_ranks() -> dict[str, Any]:
    """What several processes without an accelerator need to find each other: each would take itself for the only one.

    accelerate's own file may say ``use_cpu``, but its launchers do not pass that on to the trainer.
    """
    if _launched_processes() == 1 or torch.accelerator.is_available():
        return {}
    return {"ddp_backend": "gloo"} if _uses_deepspeed() else {"use_cpu": True}


def _launched_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _uses_deepspeed() -> bool:
    """Whether ``accelerate launch`` started this process for DeepSpeed."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def _check_processes(args: TrainingArguments) -> None:
    """Whether accelerate has understood what was launched: on a CPU it may not, and train on without a word."""
    if _uses_deepspeed() and args.use_cpu:
        raise UserError(
            "use_cpu: true would switch DeepSpeed off; leave it out, and where there is a GPU hide it with "
            "CUDA_VISIBLE_DEVICES= DS_ACCELERATOR=cpu"
        )
    if args.world_size != _launched_processes():
        raise UserError(
            f"{_launched_processes()} processes were launched, and each takes itself for one of {args.world_size}; on "
            "a CPU they need use_cpu: true (without DeepSpeed) or ddp_backend: gloo (with it)"
        )
