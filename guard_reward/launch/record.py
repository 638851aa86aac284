"""What is saved beside the model: how the run was made, for machines and for people.

``run_config.json`` holds the guard and its revision, the scheme and its values, every config, the prompts, the versions
and how many processes of which kind trained. The model card ``README.md`` is TRL's, with a section of ours. Both are
there from the first step on, so that an interrupted run has them too.
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

from guard_reward import __version__

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from guard_reward.reward import GuardReward

__all__ = ["write_record"]

_LIBRARIES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "peft", "datasets", "vllm")
_HEADING = "## The guard that rewarded it"


def write_record(trainer: GRPOTrainer, reward: GuardReward, configs: Sequence[Any]) -> None:
    """Write ``run_config.json`` and ``README.md`` to the output folder; call it before ``trainer.train()``.

    Args:
        trainer: of TRL's make; its ``args.resume_from_checkpoint`` is the checkpoint that the run goes on from, if any.
        reward: whose `describe` tells what decided the rewards.
        configs: the dataclasses that the run was started with.

    Written by the main process alone; all of them may call. The record of a run that is gone on from is kept in
    ``earlier``, the first launch first.
    """
    record = _record(trainer, reward, configs)
    _extend_model_card(trainer, record)
    if not trainer.is_world_process_zero():
        return
    file = Path(trainer.args.output_dir) / "run_config.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    if record["launch"]["resumed_from"] and file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        record["earlier"] = [*before.pop("earlier", []), before]
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    trainer.create_model_card(model_name=file.parent.name)


def _record(trainer: GRPOTrainer, reward: GuardReward, configs: Sequence[Any]) -> dict[str, Any]:
    state = trainer.accelerator.state
    plugin = getattr(state, "deepspeed_plugin", None)
    return {
        "reward": reward.describe(),
        "configs": {type(config).__name__: _values(config) for config in configs},
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


def _values(config: Any) -> dict[str, Any]:
    """A config's fields; training arguments leave out tokens by themselves."""
    return config.to_dict() if hasattr(config, "to_dict") else asdict(config)


def _without_tokens(arguments: Sequence[str]) -> list[str]:
    """The command line without what follows an option that is called a token.

    >>> _without_tokens(["grpo.py", "--hub_token", "hf_abc", "--seed", "1"])
    ['grpo.py', '--hub_token', 'HIDDEN', '--seed', '1']
    """
    kept: list[str] = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        follows = bool(kept) and kept[-1].startswith("--") and kept[-1].replace("-", "_").endswith("_token")
        is_token = bool(value) and name.replace("-", "_").endswith("_token")
        kept.append("HIDDEN" if follows else f"{name}=HIDDEN" if is_token else argument)
    return kept


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _extend_model_card(trainer: GRPOTrainer, record: Mapping[str, Any]) -> None:
    """Add our section wherever the card is made: TRL writes it anew at every checkpoint and before every push."""
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

The rewards of this run are the verdicts of a guard model, given by guard-reward. Whoever evaluates this model should
take another judge.

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
