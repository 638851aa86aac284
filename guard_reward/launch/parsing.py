"""A YAML file and the command line → configs, with TRL's own parser."""

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

from guard_reward.errors import UserError, one_line
from guard_reward.launch.unset import is_nothing, unset_values

__all__ = ["make_parser", "parse"]

# Words for nothing that are documented values, though the default is None.
_WORDS_FOR_NOTHING: dict[str, str | None] = {"resume_from_checkpoint": "none"}


class _HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows defaults if there are any, and keeps the examples' line breaks."""

    def _get_help_string(self, action: Action) -> str | None:
        return action.help if action.default in (None, []) else super()._get_help_string(action)


class _RecipeParser(TrlParser):
    """TRL's parser, with two differences.

    A mistake is one line, without the usage of three hundred options. The words None, none and null unset an option
    that may be unset.
    """

    def __init__(self, configs: Sequence[type], **options: Any):
        super().__init__(configs, **options)
        self._unset = unset_values(configs) | _WORDS_FOR_NOTHING

    def error(self, message: str) -> NoReturn:
        raise UserError(message)

    def set_defaults_with_config(self, **values: Any) -> list[str]:
        """The values of the YAML file."""
        unknown: list[str] = super().set_defaults_with_config(
            **{name: self._unset[name] if self._unsets(name, value) else value for name, value in values.items()}
        )
        return unknown

    def _get_values(self, action: Action, arg_strings: list[str]) -> Any:
        """The values of an option on the command line; argparse has no public place before they are converted."""
        if len(arg_strings) == 1 and self._unsets(action.dest, arg_strings[0]):
            return self._unset[action.dest]
        return super()._get_values(action, arg_strings)

    def _unsets(self, name: str, value: Any) -> bool:
        return name in self._unset and is_nothing(value)


def make_parser(configs: Sequence[type], description: str) -> TrlParser:
    """The parser of a recipe.

    Args:
        configs: dataclasses, in the order of the result; those that name their group come first in the help.
        description: the recipe's docstring: a first paragraph, then the examples.
    """
    first, _, examples = description.partition("\n\n")
    parser = _RecipeParser(
        configs,
        usage="%(prog)s --config FILE.yaml [--option value ...]",
        description=first,
        epilog=examples,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,  # the record would not recognise `--hub_tok` as a secret
    )
    parser._action_groups.sort(key=lambda group: group.title == "options")  # ours first, then TRL's hundreds
    parser.set_defaults(**_defaults_of_cpu_ranks())
    return parser


def parse(configs: Sequence[type], description: str, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
    """Read the YAML file of ``--config`` and the command line, which overrides it.

    Args:
        configs: dataclasses to fill.
        description: the recipe's docstring, for ``--help``.
        arguments: of the command line; by default the program's own.

    Returns:
        One instance of each class.

    Raises:
        UserError: the file cannot be read, a key is unknown, a value is refused, or launcher and config disagree about
            processes or DeepSpeed.
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
        return "--config needs the path of a YAML file"
    text = one_line(error)
    if unknown := re.match(
        r"(Unknown arguments from config file|Some specified arguments are not used)[^\[]*(\[.*?\])", text
    ):
        where = "in the config file" if unknown[1].startswith("Unknown") else "on the command line"
        names = ", ".join(re.findall(r"--([\w-]+)", unknown[2])) or unknown[2]
        return f"unknown option(s) {where}: {names} (see --help)"
    return text


def _defaults_of_cpu_ranks() -> dict[str, Any]:
    """Settings that several processes without an accelerator need; without them each trains alone.

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
    """Check that accelerate sees all launched processes: on a CPU it may not, and each would train alone."""
    if _uses_deepspeed() and args.use_cpu:
        raise UserError(
            "use_cpu: true switches DeepSpeed off; leave it out. If there is a GPU, hide it with "
            "CUDA_VISIBLE_DEVICES= DS_ACCELERATOR=cpu"
        )
    if args.world_size != _launched_processes():
        raise UserError(
            f"{_launched_processes()} processes were launched, but each one counts {args.world_size}; on "
            "a CPU they need use_cpu: true (without DeepSpeed) or ddp_backend: gloo (with it)"
        )
