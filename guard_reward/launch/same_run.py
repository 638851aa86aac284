"""Whether a run is the one that a record describes: every setting counts, except a stated list that may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from guard_reward.errors import shortened
from guard_reward.guards.loading import is_served
from guard_reward.launch.record import recorded
from guard_reward.prompts import PromptSet
from guard_reward.redaction import redacted

__all__ = ["guard_changes", "listed", "setting_changes"]

# What may change when a run resumes: its length, logging, saving, evaluating, pushing, and its fit to the machine.
_MAY_CHANGE = frozenset(
    [
        *("output_dir", "resume_from_checkpoint", "max_steps", "num_train_epochs"),
        *(
            "report_to",
            "run_name",
            "project",
            "disable_tqdm",
            "debug",
            "skip_memory_metrics",
            "num_completions_to_print",
        ),
        *("include_num_input_tokens_seen", "include_for_metrics", "batch_eval_metrics", "prediction_loss_only"),
        *("per_device_eval_batch_size", "num_generations_eval", "do_train", "do_eval", "do_predict"),
        *("load_best_model_at_end", "metric_for_best_model", "greater_is_better", "enable_jit_checkpoint"),
        *("restore_callback_states_from_checkpoint", "push_to_hub", "trust_remote_code"),
        *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
        *("dataloader_prefetch_factor", "dataloader_multiprocessing_context"),
        *("use_cpu", "local_rank", "deepspeed", "parallelism_config", "attn_implementation", "device_map"),
        *(
            "torch_empty_cache_steps",
            "ds3_gather_for_generation",
            "use_cache",
            "use_liger_kernel",
            "liger_kernel_config",
        ),
        *("vllm_mode", "vllm_group_port", "vllm_gpu_memory_utilization", "vllm_enable_sleep_mode"),
        *("vllm_tensor_parallel_size", "vllm_max_model_length", "vllm_model_impl"),
        *("guard_device", "guard_sleep", "guard_deadline"),
        *("stream_device", "stream_sleep", "stop_device", "stop_sleep"),
    ]
)
_MAY_CHANGE_PREFIXES = (
    *("logging_", "log_", "trackio_", "save_", "eval_", "hub_", "monitor"),
    *("ddp_", "fsdp", "torch_compile", "gradient_checkpointing", "activation_checkpointing", "vllm_server_"),
)
# What guard_kwargs may say of speed and memory.
_GUARD_MAY_CHANGE = frozenset(
    [
        *("token_budget", "compile", "max_concurrency", "connect_timeout", "request_timeout"),
        *("gpu_memory_utilization", "kv_cache_memory_bytes", "cpu_offload_gb", "enforce_eager", "enable_sleep_mode"),
        *("tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens", "enable_prefix_caching"),
    ]
)
# What a reward says of itself beside its guard's properties: the machine, versions, and what is compared as a setting.
_NOT_OF_THE_GUARD = frozenset(
    [
        *(
            "device",
            "torch",
            "transformers",
            "vllm",
            "guard_reward",
            "guard",
            "scheme",
            "thinking",
            "on_outcome",
            "defences",
            "helpfulness",
            "rubric",
        ),
        "served_by",
    ]
)

_NEW_NAMES = {"scheme_values": "scheme_kwargs", "share": "fraction"}
_NEW_VALUES = {"guard_reward.tiny.grpo.oracle_helpfulness": "guard_reward.tiny.oracle.oracle_helpfulness"}

_Changes = dict[str, tuple[Any, Any]]


def setting_changes(before: Mapping[str, Any], configs: Sequence[Any], trainer: str) -> _Changes:
    """Settings that make it another run.

    A setting that the record does not have counts as its default: the version that wrote the record knew no other
    value. What only the record has is ignored.

    Args:
        before: ``configs`` of a record.
        configs: of the run.
        trainer: the class name of the trainer's config.

    Returns:
        Old and new value by name.
    """
    changes: _Changes = {}
    ours = {type(config).__name__ for config in configs}
    if configs and trainer not in before:
        changes["algorithm"] = (next((name for name in before if name not in ours), None), trainer)
    for config in configs:
        name = type(config).__name__
        found = before.get(name, None if name == trainer else {})  # older recipes had fewer kinds of settings
        if isinstance(found, Mapping):
            old, new = {**_defaults(type(config)), **_normalized(found)}, _normalized(recorded(config))
            for name in new:
                if name in old and not _may_change(name) and not _has_moved(name, old[name], new[name]):
                    changes |= _differences(name, _or_none(old[name]), _or_none(new[name]))
    return changes


def guard_changes(before: Mapping[str, Any], reward: Mapping[str, str]) -> _Changes:
    """Properties of a guard that have changed behind the same name: revision, template, dtype, ….

    Args:
        before: ``reward`` of a record; what it lacks is not compared.
        reward: what the reward says of itself.
    """
    return {
        name: (before[name], value)
        for name, value in redacted(reward).items()
        if name in before and _is_of_a_guard(name) and before[name] != value
    }


def _is_of_a_guard(name: str) -> bool:
    """Whether it is a property of a guard that rewards; a judge of evaluations may change, as their settings may."""
    return not name.startswith("eval_judge") and name.rpartition("/")[2] not in _NOT_OF_THE_GUARD


def listed(changes: _Changes) -> str:
    """All changes in words.

    >>> listed({"beta": (0.04, 0.0), "loss_type": ("dapo", "grpo")})
    "beta was 0.04, now 0.0; loss_type was 'dapo', now 'grpo'"
    """
    return "; ".join(
        f"{name} was {shortened(old, 200)}, now {shortened(new, 200)}" for name, (old, new) in changes.items()
    )


def _has_moved(name: str, old: Any, new: Any) -> bool:
    """Whether it is the address of a served guard, which may move: its name and template are compared."""
    return name == "guard" and is_served(old) and is_served(new)


def _may_change(name: str) -> bool:
    return name in _MAY_CHANGE or name.startswith(_MAY_CHANGE_PREFIXES)


def _defaults(config: type) -> dict[str, Any]:
    """The fields that have a default, as a record shows them."""
    found = {}
    for field in fields(config):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
    return found


def _or_none(value: Any) -> Any:
    """Unset, null, and an empty text, list or mapping are alike."""
    return None if value in ("", [], {}) else value


def _differences(name: str, old: Any, new: Any) -> _Changes:
    """The smallest parts that differ: ``datasets[0].fraction`` rather than ``datasets``."""
    pairs: dict[str, tuple[Any, Any]] = {}
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        pairs = {f"{name}.{key}": (old[key], new[key]) for key in old}
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = {f"{name}[{place}]": pair for place, pair in enumerate(zip(old, new, strict=True))}
    else:
        return {} if old == new else {name: (old, new)}
    return {part: change for name, pair in pairs.items() for part, change in _differences(name, *pair).items()}


def _normalized(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A config under the present names, its prompt sets with all defaults, and without what may change in it."""
    renamed = _renamed(settings)
    if isinstance(sets := renamed.get("datasets"), list):
        known = _defaults(PromptSet)
        renamed["datasets"] = [_filled(_renamed(entry), known) if isinstance(entry, dict) else entry for entry in sets]
    if isinstance(loading := renamed.get("model_init_kwargs"), dict):
        renamed["model_init_kwargs"] = {name: value for name, value in loading.items() if not _may_change(name)}
    if isinstance(options := renamed.get("guard_kwargs"), dict):
        renamed["guard_kwargs"] = {name: value for name, value in options.items() if name not in _GUARD_MAY_CHANGE}
    return renamed


def _filled(entry: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return entry | {name: value for name, value in defaults.items() if name not in entry}


def _renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    old = {_NEW_NAMES[name]: value for name, value in settings.items() if name in _NEW_NAMES}
    settings = {**old, **{name: value for name, value in settings.items() if name not in _NEW_NAMES}}
    return {
        name: _NEW_VALUES.get(value, value) if isinstance(value, str) else value for name, value in settings.items()
    }
