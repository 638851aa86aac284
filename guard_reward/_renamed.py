"""Modules that have moved: their old names can be imported for one more version, with a warning that gives the new one.

import guard_reward.helpfulness   # DeprecationWarning: use guard_reward.rewards.reward_model
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NEW_NAMES = {
    "breaker": "rewards.circuit_breaker",
    "callbacks": "rewards.dual_ascent",
    "combination": "rewards.combine",
    "evaluation.reward_judge": "reward_judge",
    "evaluation.statistics": "statistics",
    "guards.base": "verdict",
    "guards.local": "guards.transformers_guard",
    "guards.sleep": "models.sleep",
    "helpfulness": "rewards.reward_model",
    "judging": "rewards.judge",
    "labels": "rewards.labels",
    "launch.data": "prompts",
    "launch.errors": "errors",
    "launch.files": "launch.scaffold",
    "launch.redaction": "redaction",
    "metrics": "rewards.metrics",
    "pipeline": "moderation",
    "pipeline.conversations": "moderation.columns",
    "pipeline.errors": "errors",
    "pipeline.files": "files",
    "pipeline.journal": "journal",
    "pipeline.moderate": "moderation.moderate",
    "pipeline.report": "report",
    "pipeline.tables": "moderation.tables",
    "prompting": "models.chat_template",
    "ranks": "rewards.distributed",
    "reward": "rewards.reward",
    "scales": "rewards.scale_check",
    "schemes.assessment": "schemes.base",
    "schemes.report": "schemes.qwen3guard_report",
    "scoring.grammar": "scoring.draft",
    "scoring.layout": "scoring.packing",
    "scoring.roads": "scoring.model_runner",
    "scoring.store": "scoring.kv_cache",
    "speed.floor": "speed.roofline",
    "speed.racing": "speed.compare",
    "tiny.statistics": "statistics",
}
# Names inside modules: where each of them is now.
_NEW_HOMES = {
    "Category": "guards.specs.qwen3guard.Category",
    "DataConfig": "prompts.DataConfig",
    "Disagreement": "speed.OutputMismatch",
    "FastRoad": "scoring.FastRunner",
    "Findings": "rewards.judge.RolloutVerdicts",
    "Floor": "speed.Roofline",
    "GenericRoad": "scoring.GenericRunner",
    "Guard": "verdict.Guard",
    "KeyValueStore": "scoring.kv_cache.KVCache",
    "LaunchError": "errors.UserError",
    "Layout": "scoring.packing.PackedPass",
    "ONE_AT_A_TIME": "models.sleep.MODEL_LOCK",
    "PipelineError": "errors.UserError",
    "PolicyFacts": "rewards.policy.PolicyFacts",
    "PromptSet": "prompts.PromptSet",
    "Road": "scoring.ModelRunner",
    "VerdictEngine": "scoring.ScoringEngine",
    "VerdictGrammar": "_renamed.verdict_grammar",
    "check_controversial": "schemes.values.check_controversial",
    "choose_road": "scoring.choose_runner",
    "clean_errors": "errors.clean_errors",
    "default_device": "models.checkpoint.default_device",
    "injection_attempts": "_renamed.injection_attempts",
    "lay_out": "scoring.packing.pack",
    "load_prompts": "prompts.load_prompts",
    "misfit": "rewards.scale_check.scale_warning",
    "outside_deepspeed": "models.checkpoint.outside_deepspeed",
    "parse_verdict": "guards.specs.qwen3guard.parse_verdict",
    "race": "speed.compare_speeds",
    "safeness": "schemes.values.safety",
    "worth": "schemes.values.controversial_value",
}


def _new_name(old: str) -> str | None:
    """The new name of an old module, or of a submodule of a renamed package; None for other modules."""
    if old in _NEW_NAMES:
        return _NEW_NAMES[old]
    package, _, submodule = old.rpartition(".")
    new_package = _new_name(package) if package else None
    return new_package and f"{new_package}.{submodule}"


class _RenamedModules(MetaPathFinder, Loader):
    """Finds an old name as a module that passes every attribute on from the new one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = name.partition(".")
        if package != "guard_reward" or _new_name(rest) is None:
            return None
        # As a package without a path: so its submodules are found here too, and not loaded a second time.
        return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        new_name = f"guard_reward.{_new_name(module.__name__.removeprefix('guard_reward.'))}"
        # At the line that imports the old name: the frames between are importlib's own, which warnings skip.
        warnings.warn(f"{module.__name__} has moved: use {new_name}", DeprecationWarning, stacklevel=2)
        new = importlib.import_module(new_name)

        def __getattr__(name: str) -> Any:
            if name in _NEW_HOMES:
                return _at_home(name)
            return getattr(new, name)

        module.__dict__["__getattr__"] = __getattr__


def renamed_names(package: str, *old_names: str, current: Callable[[str], Any] | None = None) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that also finds names which have moved, with a warning that gives the new one.

    Args:
        package: its name.
        old_names: which of the names that have moved it had.
        current: the ``__getattr__`` of the names that have not moved, if there is one.
    """

    def __getattr__(name: str) -> Any:
        if name not in old_names:
            if current is not None:
                return current(name)
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        new = f"guard_reward.{_NEW_HOMES[name]}"
        warnings.warn(f"{package}.{name} has moved: use {new}", DeprecationWarning, stacklevel=2)
        return _at_home(name)

    return __getattr__


def _at_home(old_name: str) -> Any:
    """What a name that has moved stood for."""
    module, _, new_name = f"guard_reward.{_NEW_HOMES[old_name]}".rpartition(".")
    return getattr(importlib.import_module(module), new_name)


def verdict_grammar(encode: Callable[[str], Sequence[int]], *, with_refusal: bool) -> Any:
    """What ``VerdictGrammar`` was: the grammar of Qwen3Guard's answers."""
    return _qwen3guard().grammar(encode, is_response=with_refusal)


def injection_attempts(text: str, special_tokens: Collection[str] = ()) -> list[str]:
    """What the function of this name was: attempts to imitate Qwen3Guard's prompt and answer."""
    found: list[str] = _qwen3guard().injection_attempts(text, special_tokens)
    return found


def _qwen3guard() -> Any:
    return importlib.import_module("guard_reward.guards.specs.qwen3guard").QWEN3GUARD


sys.meta_path.append(_RenamedModules())
