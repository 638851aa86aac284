"""YAML and JSON on the pages: they can be read, and their keys are options."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import import_module
from typing import Any

import pytest
import yaml

from tests.docs.pages import PAGES, blocks
from tests.docs.recipes import configs_of

YAML = [pytest.param(block.code, id=str(block)) for page in PAGES for block in blocks(page, "yaml")]
JSON = [pytest.param(block.code, id=str(block)) for page in PAGES for block in blocks(page, "json")]


class _Loader(yaml.SafeLoader):
    """Also reads lm-evaluation-harness's functions."""


def _function(loader: yaml.Loader, node: yaml.ScalarNode) -> Any:
    module, _, name = loader.construct_scalar(node).rpartition(".")
    return getattr(import_module(module), name)


_Loader.add_constructor("!function", _function)


@pytest.fixture(scope="module")
def options() -> set[str]:
    """What a recipe's file may say."""
    return {
        field.name for recipe in ("grpo", "ppo") for it in configs_of(f"recipes/{recipe}.py") for field in fields(it)
    }


@pytest.mark.parametrize("text", YAML)
def test_yaml_has_keys_that_are_options(text, options):
    settings = yaml.load(text, _Loader)
    if "task" in settings:  # lm-evaluation-harness's
        return
    from guard_reward.launch import GuardRewardConfig
    from guard_reward.launch.config import build_scheme
    from guard_reward.prompts import DataConfig

    assert set(settings) <= options
    DataConfig(**_those_of(DataConfig, settings))
    build_scheme(GuardRewardConfig(**{"guard": "a guard", **_those_of(GuardRewardConfig, settings)}))


def _those_of(config: type, settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name in {field.name for field in fields(config)}}


@pytest.mark.parametrize("text", JSON)
def test_json_is_json(text):
    json.loads(text)
