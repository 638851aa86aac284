"""The command lines of the recipes, as the recipes themselves read them; nothing is trained."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from typing import Any

import pytest

from tests.docs.pages import REPOSITORY

__all__ = ["configs_of", "parse_with"]


class _Parsed(Exception):
    """The recipe has come as far as is wanted."""


def configs_of(script: str) -> list[type]:
    """The dataclasses whose fields are options of a recipe, and keys of its file."""
    found: list[type] = []
    _run(script, lambda parse, configs, description: found.extend(configs))
    return found


def parse_with(script: str, options: Sequence[str]) -> None:
    """Let a recipe's parser read options, and the file that they name.

    Raises:
        UserError: it refuses them.
    """
    # What a machine without a GPU refuses is not what is tested here.
    _run(script, lambda parse, configs, description: parse(configs, description, [*options, "--bf16", "false"]))


def _run(script: str, instead: Any) -> None:
    pytest.importorskip("trl")
    from guard_reward import launch

    real = launch.parse

    def parse(configs: Sequence[type], description: str) -> None:
        instead(real, configs, description)
        raise _Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        patch.setattr(launch, "parse", parse)
        with pytest.raises(_Parsed):
            runpy.run_path(script)["main"]()
