"""The model card ``README.md``: TRL's, with the policy's name where TRL names only hub ids, and one more section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.models.modelscope import is_modelscope
from guard_reward.redaction import redacted_text

if TYPE_CHECKING:
    from trl import GRPOTrainer

__all__ = ["extend_model_card"]

_HEADING = "## Guard used as the reward"
# What TRL writes for a policy that is no hub id, and for a model that is not pushed.
_NO_POLICY = "[None](https://huggingface.co/None)"
_NO_MODEL = 'model="None"'


def extend_model_card(trainer: GRPOTrainer, record: Mapping[str, Any]) -> None:
    """Change the card whenever TRL writes it: at every checkpoint and before every push.

    Args:
        trainer: its ``create_model_card`` is replaced.
        record: of `guard_reward.launch.record`.
    """
    make = trainer.create_model_card

    def create_model_card(*args: Any, **kwargs: Any) -> None:
        make(*args, **kwargs)
        if trainer.is_world_process_zero():
            file = Path(trainer.args.output_dir) / "README.md"
            text = _with_names(file.read_text(encoding="utf-8"), trainer, record)
            file.write_text(f"{text.rstrip()}\n\n{_section(record)}", encoding="utf-8")

    trainer.create_model_card = create_model_card


def _with_names(card: str, trainer: GRPOTrainer, record: Mapping[str, Any]) -> str:
    """Where the policy came from, a folder or ModelScope, without a link; the output folder as the model to try."""
    asked = record["configs"].get("ModelConfig", {}).get("model_name_or_path") or ""
    policy = asked if is_modelscope(asked) else getattr(trainer.model.config, "_name_or_path", "")
    named = f"`{redacted_text(policy)}`" if policy else "a model without a name"
    output = json.dumps(redacted_text(str(trainer.args.output_dir)), ensure_ascii=False)
    return card.replace(_NO_POLICY, named).replace(_NO_MODEL, f"model={output}")


def _section(record: Mapping[str, Any]) -> str:
    rows = [*record["reward"].items(), *((name, record["launch"][name]) for name in ("distributed_type", "world_size"))]
    table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in rows)
    sources = record["prompts"].get("train", {}).get("sources", {})
    prompts = ", ".join(f"{name} ({count:,})" for name, count in sources.items())
    return f"""{_HEADING}

The rewards of this run are verdicts of a guard model, computed by guard-reward. Evaluate this model with a different
guard from the one it was trained on.

| | |
|---|---|
{table}

{f"Prompts: {prompts}. " if prompts else ""}All settings are in `run_config.json`; the command was

```bash
{record["launch"]["command"]}
```
"""


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
