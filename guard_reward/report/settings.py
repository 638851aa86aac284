"""How a run was made, flat, and in what two runs differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guard_reward.redaction import redacted
from guard_reward.report.json_files import is_regular, read_object
from guard_reward.report.log import checkpoints
from guard_reward.report.run import Run

__all__ = ["Difference", "read_settings", "settings_diff"]

RECORD = "run_config.json"
_PICKLED = "training_args.bin"
_MAX_TEXT = 500
# Of a trainer's state, what somebody chose.
_STATE = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
_ADAPTER = ("base_model_name_or_path", "peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora")
_MODEL = ("architectures", "_name_or_path", "dtype", "torch_dtype")
# Names, places and times: different in any two runs, and no reason for anything.
_NOISE = re.compile(
    r"(?:^|\.)(?:output_dir|logging_dir|callbacks|run_name|project|hub_model_id|hub_revision|command|resumed_from"
    r"|resume_from_checkpoint|trackio_\w+|disable_tqdm|report_to|log_completions|num_completions_to_print|model_name"
    r"|best_\w+|sleep_seconds|[\w]*timestamp|date|save_\w+|log_\w+|logging_(?:first_step|strategy|nan_inf_filter))$"
)
_CARD = re.compile(r"fine-tuned version of \[?`?([^`\]\n]{1,300})")
_LIBRARIES = r"TRL|Transformers|Pytorch|PEFT[^:\n]{0,20}|Datasets|Tokenizers"
_VERSION = re.compile(rf"^- ({_LIBRARIES}): ([^\s]{{1,40}})\s*$", re.MULTILINE)


class Difference(NamedTuple):
    """A setting in which runs differ.

    Attributes:
        setting: its name.
        values: one per run; None if the run's folder does not say it.
    """

    setting: str
    values: tuple[str | None, ...]


def read_settings(folder: Path, state: Mapping[str, Any], notes: list[str]) -> dict[str, str]:
    """A run's settings by flat name, without secrets.

    Args:
        folder: of the run.
        state: the trainer's, see `guard_reward.report.log.Log`.
        notes: gets what could not be read.

    Returns:
        Of a run with ``run_config.json``: the reward's facts (``scheme``), the configs (``GRPOConfig.beta``), prompts,
        launch and versions. Of a run of plain TRL: what the model card, the model's and the adapter's configuration
        and the trainer's state say.
    """
    record = read_object(folder / RECORD, notes)
    if not record:
        found = _of_plain_trl(folder, state, notes)
    else:
        earlier = record.pop("earlier", None)
        if isinstance(earlier, list) and earlier:
            times = "once" if len(earlier) == 1 else f"{len(earlier)} times"
            notes.append(f"The run was resumed {times}; the settings are those of its last launch.")
        reward, configs = record.pop("reward", None), record.pop("configs", None)
        base = _CARD.search(_card(folder / "README.md"))
        found = {
            **(_mapping(reward)),
            **_mapping(configs),
            **({"model": {"base": base[1].strip()}} if base else {}),
            **record,
        }
    return {name: _text(value) for name, value in _flat(redacted(found)) if value is not None}


def settings_diff(runs: Sequence[Run]) -> list[Difference]:
    """The settings in which runs differ, those of the reward first.

    A setting that a run's folder does not say counts as different only if the folder says others of its group, such as
    another field of the same config. Names, folders and logging are left out.

    >>> one, two = (Run(scheme, "runs", settings={"scheme": scheme}) for scheme in ("hybrid", "guard_only"))
    >>> settings_diff([one, two])[0]
    Difference(setting='scheme', values=('hybrid', 'guard_only'))
    """
    names = dict.fromkeys(name for run in runs for name in run.settings)
    groups = [{_group(name) for name in run.settings} for run in runs]
    differences = []
    for name in names:
        if _NOISE.search(name):
            continue
        values = tuple(run.settings.get(name) for run in runs)
        said = {
            value for value, known in zip(values, groups, strict=True) if value is not None or _group(name) in known
        }
        if len(said) > 1:
            differences.append(Difference(name, values))
    return sorted(differences, key=lambda row: _rank(row.setting))


def _rank(name: str) -> int:
    """The reward, then the configs, then data, launch and versions; otherwise in the record's order."""
    order = {"": 0, "prompts": 2, "launch": 3, "versions": 4}
    return order.get(_group(name), 1)


def _group(name: str) -> str:
    return name.split(".", 1)[0] if "." in name else ""


def _of_plain_trl(folder: Path, state: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    places = [folder, *(path for _, path in checkpoints(folder)[:1])]
    trainer = {name: state[name] for name in _STATE if state.get(name) is not None}
    found: dict[str, Any] = {"trainer": trainer} if trainer else {}
    for place in places:
        found = {**_model_files(place, notes), **found}
    if any(is_regular(place / _PICKLED) for place in places):
        notes.append(
            f"The settings are incomplete: {_PICKLED} is a pickle file, which can run any code when it is read, so it "
            "was not read."
        )
    return found


def _model_files(folder: Path, notes: list[str]) -> dict[str, Any]:
    adapter = read_object(folder / "adapter_config.json", notes)
    model = read_object(folder / "config.json", notes)
    card = _card(folder / "README.md")
    found = {
        "adapter": {name: adapter[name] for name in _ADAPTER if name in adapter},
        "model": {name: model[name] for name in _MODEL if name in model},
        "versions": dict(_VERSION.findall(card)),
    }
    base = _CARD.search(card)
    if base:
        found["model"] = {"base": base[1].strip(), **found["model"]}
    return {group: values for group, values in found.items() if values}


def _card(path: Path) -> str:
    if not is_regular(path):
        return ""
    try:
        with path.open("rb") as file:
            return file.read(200_000).decode("utf-8", "replace")
    except OSError:
        return ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"[:200]
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
