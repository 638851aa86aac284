"""What is saved next to the model: how the run was made, for machines and for people.

``run_config.json`` has the guard and its revision, the scheme and its values, all configs, the prompts, the versions,
and the number and kind of processes. The model card ``README.md`` is TRL's, with one more section. Both are written
before the first step, so that an interrupted run has them too.
"""

from __future__ import annotations

import json
import platform
import re
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

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from guard_reward.rewards.reward import GuardReward

__all__ = ["read_record", "recorded", "write_record"]

_LIBRARIES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "peft", "datasets", "vllm")
_FILE = "run_config.json"
_HIDDEN = "HIDDEN"
# Names of secrets; not eos_token, tokenizer_name or num_tokens.
_SECRET = re.compile(r"(?<!eos_)(?<!bos_)(?<!pad_)token(?!s|iz)|secret|password|api_?key", re.IGNORECASE)
_HUB_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_HEADING = "## Guard used as the reward"


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
    _extend_model_card(trainer, record)
    if not trainer.is_world_process_zero():
        return
    file = Path(trainer.args.output_dir) / _FILE
    if record["launch"]["resumed_from"] and (before := read_record(file.parent)):
        record["earlier"] = [*before.pop("earlier", []), before]
    with replacing(file) as part:  # a run that is killed here leaves the record of the one before
        part.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    trainer.create_model_card(model_name=file.parent.name)


def read_record(folder: Path) -> dict[str, Any]:
    """The record of the last launch in an output folder; empty if there is none that can be read."""
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def recorded(config: Any) -> dict[str, Any]:
    """A config's fields as JSON values, without secrets."""
    values = config.to_dict() if hasattr(config, "to_dict") else asdict(config)
    return json.loads(json.dumps(_without_secrets(values), default=str))


def _record(trainer: GRPOTrainer, reward: GuardReward, configs: Sequence[Any]) -> dict[str, Any]:
    state = trainer.accelerator.state
    plugin = getattr(state, "deepspeed_plugin", None)
    return {
        "reward": reward.describe(),
        "configs": {type(config).__name__: recorded(config) for config in configs},
        "prompts": {
            name: {"rows": len(rows), "sources": dict(Counter(rows["source"]))}
            for name, rows in (("train", trainer.train_dataset), ("eval", trainer.eval_dataset))
            if rows is not None
        },
        "launch": {
            "command": shlex.join(_without_tokens(sys.argv)),
            "distributed_type": state.distributed_type.value,
            "world_size": state.num_processes,
            "zero_stage": plugin.zero_stage if plugin else None,
            "device": str(state.device.type),
            "resumed_from": trainer.args.resume_from_checkpoint,
        },
        "versions": {"guard-reward": __version__, "python": platform.python_version(), **_versions()},
    }


def _is_secret(name: str) -> bool:
    """Whether a setting with this name holds a secret.

    >>> [_is_secret(name) for name in ("hub_token", "wandb-api-key", "eos_token", "tokenizer_name", "max_tokens")]
    [True, True, False, False, False]
    """
    return bool(_SECRET.search(name.replace("-", "_")))


def _without_secrets(value: Any) -> Any:
    """`value` with the values of all secret keys hidden, at any depth."""
    if isinstance(value, Mapping):
        return {
            key: _HIDDEN
            if _is_secret(str(key)) and found is not None and not isinstance(found, bool)
            else _without_secrets(found)
            for key, found in value.items()
        }
    return [_without_secrets(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _without_tokens(arguments: Sequence[str]) -> list[str]:
    """The command line without its secrets: behind an option or key that is called one, or a token by its looks.

    >>> _without_tokens(["grpo.py", "--hub_token", "abc", "--seed", "1", "--model_init_kwargs", '{"token": "abc"}'])
    ['grpo.py', '--hub_token', 'HIDDEN', '--seed', '1', '--model_init_kwargs', '{"token": "HIDDEN"}']
    >>> _without_tokens(["grpo.py", "--dataset_name=https://me:hf_0123456789@host"])
    ['grpo.py', '--dataset_name=https://me:HIDDEN@host']
    """
    kept: list[str] = []
    is_hidden = False  # whether this argument is the value of a secret option
    for argument in arguments:
        if is_hidden:
            kept.append(_HIDDEN)
            is_hidden = False
            continue
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if equals and _is_secret(option):
            value = _HIDDEN
        is_hidden = bool(option) and not equals and _is_secret(option)
        kept.append(_HUB_TOKEN.sub(_HIDDEN, f"{option}{equals}{_hidden_in_json(value)}"))
    return kept


def _hidden_in_json(text: str) -> str:
    """`text` itself unless it is a JSON mapping with a secret in it."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    hidden = _without_secrets(value)
    return text if hidden == value else json.dumps(hidden, ensure_ascii=False)


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _extend_model_card(trainer: GRPOTrainer, record: Mapping[str, Any]) -> None:
    """Add our section whenever TRL writes the card: at every checkpoint and before every push."""
    make = trainer.create_model_card

    def create_model_card(*args: Any, **kwargs: Any) -> None:
        make(*args, **kwargs)
        if trainer.is_world_process_zero():
            file = Path(trainer.args.output_dir) / "README.md"
            file.write_text(f"{file.read_text(encoding='utf-8').rstrip()}\n\n{_section(record)}", encoding="utf-8")

    trainer.create_model_card = create_model_card


def _section(record: Mapping[str, Any]) -> str:
    rows = [*record["reward"].items(), *((name, record["launch"][name]) for name in ("distributed_type", "world_size"))]
    table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in rows)
    prompts = ", ".join(f"{name} ({count:,})" for name, count in record["prompts"]["train"]["sources"].items())
    return f"""{_HEADING}

The rewards of this run are verdicts of a guard model, computed by guard-reward. Evaluate this model with a different
guard from the one it was trained on.

| | |
|---|---|
{table}

Prompts: {prompts}. All settings are in `run_config.json`; the command was

```bash
{record["launch"]["command"]}
```
"""


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
