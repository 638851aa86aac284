"""The reward's settings, and the reward that is built from them.

All other settings are TRL's: its trainer configs and its `ModelConfig`.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from guard_reward.errors import LOADING_ERRORS, UserError, first_paragraph
from guard_reward.guards import load_guard
from guard_reward.importing import imported
from guard_reward.launch.defences import build_defences
from guard_reward.launch.values import read_controversial, read_number, read_values
from guard_reward.rewards import reward_model
from guard_reward.rewards.policy import PolicyFacts
from guard_reward.rewards.reward import GuardReward
from guard_reward.schemes import SCHEMES, Scheme

__all__ = ["GuardRewardConfig", "build_reward", "build_scheme", "load_named_guard", "read_outcome_rewards"]

_SIGNATURES = {
    "helpfulness": "TRL's reward signature",
    "rubric": "the signature (prompts=, completions=, behaviours=, **columns)",
}
_DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass
class GuardRewardConfig:
    """Which guard judges, and how its verdicts are rewarded: the options of `guard_reward.GuardReward` as plain values.

    >>> GuardRewardConfig("Qwen/Qwen3Guard-Gen-4B", scheme="hybrid", scheme_kwargs='{"unsafe": -20}').scheme_kwargs
    {'unsafe': -20}
    """

    _argument_group_name: ClassVar[str] = "the guard and its reward"

    guard: str = field(
        metadata={
            "help": "The guard: hub id or folder of a guard checkpoint (docs/guards.md), with vllm: in front to run it "
            "in vLLM; or its server's URL, such as http://127.0.0.1:8000/v1, or several with commas: replicas."
        }
    )
    guard_revision: str | None = field(
        default=None,
        metadata={"help": "Its branch, tag or commit on the hub; pin it, the reward depends on it."},
    )
    guard_device: str | None = field(
        default=None, metadata={"help": "Where it runs, such as cuda:1; default: the device of this rank's policy."}
    )
    guard_dtype: str | None = field(
        default=None,
        metadata={
            "help": "Of its weights, such as bfloat16; default: the checkpoint's, or float32 on a CPU that lacks it."
        },
    )
    guard_sleep: bool = field(
        default=False,
        metadata={"help": "Keep the guard in main memory while the policy trains; frees its GPU memory."},
    )
    guard_model: str | None = field(
        default=None,
        metadata={"help": "The name of a served guard at its servers; default: the first model that they list."},
    )
    guard_tokenizer: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder of a served guard's tokenizer; default: its name at the servers."},
    )
    guard_deadline: float | None = field(
        default=None,
        metadata={
            "help": "Seconds for which one reward call waits for a served guard, its outages included; default: 120, "
            "and one more per row."
        },
    )
    guard_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Other arguments of load_guard, such as vLLM's: a mapping in YAML, JSON here: "
            """'{"gpu_memory_utilization": 0.3}'."""
        },
    )
    scheme: str = field(
        default="guard_only", metadata={"help": f"How verdicts become rewards, by plain name: {', '.join(SCHEMES)}."}
    )
    scheme_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": """The scheme's values: a mapping in YAML, JSON here: '{"unsafe": -20, "refusal": -15}'."""},
    )
    controversial: str | None = field(
        default=None,
        metadata={"help": "How Controversial counts: unsafe, safe or a number; default: the scheme's own way."},
    )
    thinking: Literal["separate", "joint", "ignore"] = field(
        default="separate",
        metadata={"help": "Judge thinking and answer in two guard calls, in one, or the answer only."},
    )
    guard_system_prompt: Literal["show", "omit"] = field(
        default="show",
        metadata={"help": "Show the guard the policy's system prompt, or leave it out."},
    )
    helpfulness: str | None = field(
        default=None,
        metadata={
            "help": "Helpfulness, for schemes that use it: a reward model's hub id or folder, or "
            "package.module.callable with TRL's reward signature."
        },
    )
    helpfulness_revision: str | None = field(
        default=None,
        metadata={"help": "The reward model's branch, tag or commit on the hub; pin it like the guard's."},
    )
    helpfulness_dtype: str | None = field(
        default=None,
        metadata={
            "help": "Of its weights, such as bfloat16; default: the checkpoint's, or float32 on a CPU that lacks it."
        },
    )
    rubric: str | None = field(
        default=None,
        metadata={
            "help": "For the scheme response_policy: package.module.callable, which judges how far an answer shows a "
            "behaviour, in the place of patterns."
        },
    )
    refusal_guard: str | None = field(
        default=None,
        metadata={
            "help": "Another guard, that says whether an answer refuses, for guards that do not (a stream guard)."
        },
    )
    shadow_guard: str | None = field(
        default=None,
        metadata={"help": "Another guard, whose verdicts are compared with the guard's and give no reward."},
    )
    eval_judge: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Another guard, that judges evaluations only and gives no reward; best of another family. A name, "
            """or load_guard's arguments: '{"guard": "http://...", "model": "...", "spec": "rubric"}'. """
            "Metrics: eval_judge/safe_rate, ..."
        },
    )
    on_outcome: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Reward of rows without an ordinary verdict: a number, floor, or null to leave them out. "
            """JSON here: '{"empty": -10, "no_verdict": null}'."""
        },
    )
    defences: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "What is done against replies that are written for the guard: off, default, strict, or a mapping "
            """in YAML, JSON here: '{"window": 2000, "language_switch": true}'."""
        },
    )
    scheme_values: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Old name of scheme_kwargs, for one more version."}
    )

    def __post_init__(self) -> None:
        if not self.guard:
            raise UserError("guard: name one, such as Qwen/Qwen3Guard-Gen-4B, or a folder")
        self._take_old_name()
        self.guard_kwargs = _mapping(self.guard_kwargs, "guard_kwargs")
        self.scheme_kwargs = _mapping(self.scheme_kwargs, "scheme_kwargs")
        self.on_outcome = _mapping(self.on_outcome, "on_outcome")

    def _take_old_name(self) -> None:
        if self.scheme_values is None:
            return
        if self.scheme_kwargs is not None:
            raise UserError("scheme_values: this is the old name of scheme_kwargs; give only scheme_kwargs")
        warnings.warn("scheme_values is now called scheme_kwargs", FutureWarning, stacklevel=4)
        self.scheme_kwargs, self.scheme_values = self.scheme_values, None

    def to_dict(self) -> dict[str, Any]:
        """All settings under their present names."""
        return {name: value for name, value in asdict(self).items() if name != "scheme_values"}


def build_reward(config: GuardRewardConfig, policy: PolicyFacts, *, labelled: bool = False) -> GuardReward:
    """The reward function of a run, its guard loaded.

    Args:
        config: what to load, and the reward scheme.
        policy: which ids end a completion, and whether its chat template opens the thinking.
        labelled: whether the prompts have the column ``harmful``; metrics are then split by it.

    Raises:
        UserError: names the field that is wrong.

    Example:
        >>> config = GuardRewardConfig(guard="runs/tiny/guard")
        >>> build_reward(config, PolicyFacts(eos_token_ids=(2,), thinking_prefilled=False))  # doctest: +SKIP
        GuardReward('runs/tiny/guard', GuardOnly(controversial='unsafe'), name='guard')
    """
    scheme, defences = build_scheme(config), build_defences(config.defences)
    found = _find_helpfulness(config.helpfulness)
    rubric = None if config.rubric is None else _find_callable(config.rubric, "rubric")
    _check_options_of_helpfulness(config, found)
    if found is None and scheme.needs_helpfulness:
        raise UserError(
            f"helpfulness: the scheme {config.scheme!r} needs it; give a reward model's hub id or folder, or the "
            "dotted path of a callable"
        )
    guard = _load_guard(config)
    named = {"refusal": config.refusal_guard, "shadow": config.shadow_guard}
    others = {kind: load_named_guard(f"{kind}_guard", name) for kind, name in named.items() if name is not None}
    if config.eval_judge is not None:
        others["eval_judge"] = _load_eval_judge(config.eval_judge)
    helpfulness = _load_reward_model(config, policy) if isinstance(found, str) else found
    try:
        return GuardReward(
            guard,
            scheme,
            helpfulness=helpfulness,
            thinking=config.thinking,
            system_prompt=config.guard_system_prompt,
            controversial=_controversial(config.controversial),
            on_outcome=read_outcome_rewards(config.on_outcome),
            prompt_label_column="harmful" if labelled else None,
            eos_token_ids=policy.eos_token_ids,
            thinking_prefilled=policy.thinking_prefilled,
            sleep=config.guard_sleep,
            rubric=rubric,
            defences=defences,
            **others,
        )
    except (OSError, ValueError) as error:
        raise UserError(first_paragraph(error)) from error


def _load_eval_judge(judge: dict[str, Any] | str) -> Any:
    options = _mapping(judge, "eval_judge") if isinstance(judge, dict) or judge.lstrip().startswith("{") else None
    if options is None:
        return load_named_guard("eval_judge", str(judge))
    if "guard" not in options:
        raise UserError(f"eval_judge: a mapping needs a guard, found {', '.join(options) or 'nothing'}")
    others = {name: value for name, value in options.items() if name != "guard"}
    return load_named_guard("eval_judge", options["guard"], **others)


def _load_guard(config: GuardRewardConfig) -> Any:
    own: dict[str, Any] = {
        **{"device": config.guard_device, "dtype": config.guard_dtype, "revision": config.guard_revision},
        **{"model": config.guard_model, "tokenizer": config.guard_tokenizer, "deadline": config.guard_deadline},
    }
    others = _mapping(config.guard_kwargs, "guard_kwargs") or {}
    if twice := [name for name in others if name in own]:
        raise UserError("guard_kwargs: " + ", ".join(f"write {name} as guard_{name}" for name in twice))
    given = {name: value for name, value in own.items() if value is not None}
    return load_named_guard("guard", config.guard, **given, **others)


def guard_named(config: Any, guard_field: str) -> str | None:
    """The guard that a part of the file names, or None if the part is not used.

    Raises:
        UserError: it names none, and sets other options of this part, which would do nothing.
    """
    name: str | None = getattr(config, guard_field)
    if name is not None:
        return name
    others = (one for one in fields(config) if one.name != guard_field)
    if given := [one.name for one in others if getattr(config, one.name) != one.default]:
        raise UserError(f"{given[0]} needs {guard_field}: name a stream guard, or leave {', '.join(given)} out")
    return None


def load_named_guard(field_name: str, name: str, **options: Any) -> Any:
    """The guard that a field of the file names.

    Raises:
        UserError: it cannot be loaded; names the field.
    """
    try:
        return load_guard(name, **options)
    except (*LOADING_ERRORS, TypeError) as error:  # a TypeError: a value in guard_kwargs of a wrong type
        raise UserError(f"{field_name}: {name!r} could not be loaded: {first_paragraph(error)}") from error


def build_scheme(config: GuardRewardConfig) -> Scheme:
    """The scheme with this name and these values.

    Raises:
        UserError: names the field that is wrong.
    """
    if config.scheme not in list(SCHEMES):  # YAML may have a list here
        raise UserError(f"scheme: there is no {config.scheme!r}; there are {', '.join(SCHEMES)}")
    make = SCHEMES[config.scheme]
    values = _mapping(config.scheme_kwargs, "scheme_kwargs") or {}
    known = list(inspect.signature(make).parameters)
    if unknown := [str(name) for name in values if name not in known]:
        raise UserError(
            f"scheme_kwargs: {config.scheme} has no {', '.join(unknown)}; it has {', '.join(known) or 'no values'}"
        )
    try:
        return make(**read_values(make, values))
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"scheme_kwargs: {error}") from error


def _find_helpfulness(name: str | None) -> Any:
    """A callable if `name` is a dotted path; else `name` itself, a reward model's hub id or folder."""
    if name is None or not _DOTTED_PATH.fullmatch(name) or Path(name).exists():
        return name
    return _find_callable(name, "helpfulness")


def _find_callable(name: str, field_name: str) -> Any:
    """What a dotted path points to."""
    if not _DOTTED_PATH.fullmatch(name):
        raise UserError(
            f"{field_name}: {name!r} should be the dotted path of a callable, such as my_rewards.{field_name}"
        )
    found = imported(name, field_name)
    if not callable(found):
        raise UserError(f"{field_name}: {name!r} is not callable; it needs {_SIGNATURES[field_name]}")
    return found


def _check_options_of_helpfulness(config: GuardRewardConfig, found: Any) -> None:
    if isinstance(found, str):
        return
    given = [name for name in ("helpfulness_revision", "helpfulness_dtype") if getattr(config, name)]
    if given:
        raise UserError(
            f"{', '.join(given)}: only with a reward model (a hub id or folder) in helpfulness; found "
            + ("none" if found is None else f"the callable {config.helpfulness}")
        )


def _load_reward_model(config: GuardRewardConfig, policy: PolicyFacts) -> Any:
    assert config.helpfulness is not None
    try:
        return reward_model.RewardModel(
            config.helpfulness,
            dtype=config.helpfulness_dtype,
            revision=config.helpfulness_revision,
            thinking_prefilled=policy.thinking_prefilled,
        )
    except LOADING_ERRORS as error:
        raise UserError(f"helpfulness: {config.helpfulness!r} could not be loaded: {first_paragraph(error)}") from error


def _controversial(value: Any) -> Any:
    return None if value is None else read_controversial(value, "controversial")


def read_outcome_rewards(on_outcome: Mapping[str, Any] | str | None) -> dict[str, Any] | None:
    """Rewards by outcome: words and null as they are, everything else as numbers."""
    rewards = _mapping(on_outcome, "on_outcome")
    return rewards and {name: _outcome_reward(value, f"on_outcome: {name}") for name, value in rewards.items()}


def _outcome_reward(value: Any, name: str) -> Any:
    if value is None or value in ("floor", "windows"):
        return value
    try:
        return read_number(value, name)
    except UserError as error:
        raise UserError(f"{error}; or floor, or null to leave the row out") from error


def _mapping(value: Mapping[str, Any] | str | None, name: str) -> dict[str, Any] | None:
    """A mapping; on the command line it is JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise UserError(f"{name}: not JSON: {error}") from error
    if value is not None and not isinstance(value, Mapping):
        raise UserError(f"{name}: should be a mapping, found {value!r}")
    return None if value is None else dict(value)
