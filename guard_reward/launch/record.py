"""What is saved next to the model: how the run was made.

``run_config.json`` has the guard and its revision, the scheme and its values, all configs, the prompts, the versions,
and the number and kind of processes. It and the model card are written before the first step, so that an interrupted
run has them too.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward._version import __version__
from guard_reward.files import replacing
from guard_reward.launch.model_card import extend_model_card
from guard_reward.redaction import redacted, redacted_command

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from guard_reward.rewards.reward import GuardReward

__all__ = ["read_record", "recorded", "write_record"]

_LIBRARIES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "peft", "datasets", "vllm")
_FILE = "run_config.json"


def write_record(trainer: GRPOTrainer, reward: GuardReward, configs: Sequence[Any]) -> None:
    """Write ``run_config.json`` and ``README.md`` to the output folder; call it before ``trainer.train()``.

    Args:
        trainer: a TRL trainer; its ``args.resume_from_checkpoint`` is the checkpoint that the run resumes from, if any.
        reward: its `describe` says what decides the rewards.
        configs: the dataclasses that the run was started with.

    All ranks may call it; the main process writes. The record of a resumed run keeps those of earlier launches in
    ``earlier``, oldest first.
    """
    record = _record(trainer, reward, configs)
    extend_model_card(trainer, record)
    if not trainer.is_world_process_zero():
        return
    file = Path(trainer.args.output_dir) / _FILE
    if record["launch"]["resumed_from"] and (before := read_record(file.parent)):
        record["earlier"] = [*before.pop("earlier", []), before]
    with replacing(file) as part:  # a run that is killed here leaves the record of the one before
        part.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    trainer.create_model_card(model_name=file.parent.name)


def read_record(folder: Path) -> dict[str, Any]:
    """The record of the last launch in an output folder, without secrets; empty if there is none that can be read."""
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return _redacted_record(found) if isinstance(found, dict) else {}


def _redacted_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without secrets, and so those of earlier launches in it: older versions hid fewer secrets."""
    kept: dict[str, Any] = redacted(record)
    launch = kept.get("launch")
    if isinstance(launch, dict) and isinstance(command := launch.get("command"), str):
        launch["command"] = _redacted_shell_command(command)
    if isinstance(earlier := record.get("earlier"), list):
        kept["earlier"] = [_redacted_record(entry) for entry in earlier if isinstance(entry, Mapping)]
    return kept


def _redacted_shell_command(command: str) -> str:
    try:
        return shlex.join(redacted_command(shlex.split(command)))
    except ValueError:  # changed by hand: an unclosed quote
        return " ".join(redacted_command(command.split()))


def recorded(config: Any) -> dict[str, Any]:
    """A config's fields as JSON values, without secrets."""
    values = config.to_dict() if hasattr(config, "to_dict") else asdict(config)
    kept: dict[str, Any] = redacted(json.loads(json.dumps(values, default=str)))
    return kept


def _record(trainer: GRPOTrainer, reward: GuardReward, configs: Sequence[Any]) -> dict[str, Any]:
    state = trainer.accelerator.state
    plugin = getattr(state, "deepspeed_plugin", None)
    settings = {type(config).__name__: recorded(config) for config in configs}
    dense_rewards = [
        function.describe() if hasattr(function, "describe") else {"name": repr(function)}
        for function in getattr(trainer, "token_reward_funcs", ())
    ]
    stopping = getattr(getattr(trainer, "rollout_func", None), "describe", None)
    handler = getattr(trainer, "callback_handler", None)
    callbacks = [one.describe() for one in getattr(handler, "callbacks", ()) if hasattr(one, "describe")]
    return {
        "reward": redacted(reward.describe()),
        **({"stopping": redacted(stopping())} if stopping is not None else {}),
        **({"callbacks": redacted(callbacks)} if callbacks else {}),
        **({"dense_rewards": redacted(dense_rewards)} if dense_rewards else {}),
        "configs": settings,
        "prompts": {
            name: _prompts(rows)
            for name, rows in (("train", trainer.train_dataset), ("eval", trainer.eval_dataset))
            if rows is not None
        },
        "launch": {
            "command": shlex.join(
                redacted_command(sys.argv, options={name for fields in settings.values() for name in fields})
            ),
            "distributed_type": state.distributed_type.value,
            "world_size": state.num_processes,
            "zero_stage": plugin.zero_stage if plugin else None,
            "device": str(state.device.type),
            "resumed_from": trainer.args.resume_from_checkpoint,
        },
        "versions": {"guard-reward": __version__, "python": platform.python_version(), **_versions()},
    }


def _prompts(rows: Any) -> dict[str, Any]:
    """How many prompts, by source if the set names sources; of a stream or a dictionary of sets, what can be known."""
    count = len(rows) if hasattr(rows, "__len__") else None
    has_sources = "source" in (getattr(rows, "column_names", None) or ()) and count is not None
    return {"rows": count, "sources": redacted(dict(Counter(rows["source"]))) if has_sources else {}}


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
