"""Which prompts a run trains on, as a config file says it.

    datasets:
      - {path: data/harmful.jsonl, harmful: true, fraction: 0.6}
      - {path: data/chats.parquet, prompt_column: messages, harmful: is_harmful, fraction: 0.4}

Mix harmful, benign and jailbreak prompts: harmful ones alone teach a policy to refuse everything.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from guard_reward.errors import UserError, shortened

__all__ = ["DataConfig", "PromptSet"]

_EXAMPLES = {"path": "prompts.jsonl", "split": "train", "prompt_column": "prompt"}


@dataclass(frozen=True)
class PromptSet:
    """One source of prompts.

    Attributes:
        path: a file (.jsonl, .json, .csv, .tsv, .parquet), a folder of such files, or a dataset's hub id.
        name: the dataset's configuration on the hub.
        split: as in ``datasets.load_dataset``.
        prompt_column: column with the prompt: a text, which becomes one user message, or chat messages.
        harmful: whether its prompts ask for something harmful: true or false for all of them, or the name of a column
            with a label per row; None if it is unknown.
        where: which rows to take: column → the value it should have, or a list of values.
        fraction: of the mixture, in any unit; either all sets of a mixture have one, or none. One that comes to less
            than a row is an error.
        limit: maximum number of rows, drawn at random.
        system_prompt: added to prompts that have no system message.
        source: the set's name in the column ``source``; by default the last part of the path.
        language_column: column that says a prompt's language, for evaluation by part; by default ``language``, if there
            is such a column.
        category_column: column that says a prompt's category, in the same way.
        share: old name of `fraction`.

    Raises:
        UserError: an option has the wrong type; names it.

    >>> PromptSet("data/prompts.jsonl", harmful=True).source
    'prompts'
    """

    path: str
    name: str | None = None
    split: str = "train"
    prompt_column: str = "prompt"
    harmful: bool | str | None = None
    where: Mapping[str, Any] | None = None
    fraction: float | None = None
    limit: int | None = None
    system_prompt: str | None = None
    source: str | None = None
    language_column: str | None = None
    category_column: str | None = None
    share: InitVar[float | None] = None

    def __post_init__(self, share: float | None) -> None:
        if share is not None:
            self._take_old_name(share)
        for name in _EXAMPLES:
            if not isinstance(value := getattr(self, name), str) or not value:
                raise self._wrong(f"{name} should be a text such as {_EXAMPLES[name]}", value)
        for name in ("name", "system_prompt", "source", "language_column", "category_column"):
            if not isinstance(value := getattr(self, name), str | None):
                raise self._wrong(f"{name} should be a text, or left out", value)
        if not isinstance(self.where, Mapping | None):
            raise self._wrong("where should be a mapping, column: value", self.where)
        self._check_numbers()
        object.__setattr__(self, "harmful", self._read_harmful(self.harmful))
        object.__setattr__(self, "source", self.source or Path(self.path).stem)

    def _take_old_name(self, share: float) -> None:
        if self.fraction is not None:
            raise self._wrong("share is the old name of fraction: give only fraction", share)
        warnings.warn("datasets: share is now called fraction", FutureWarning, stacklevel=4)
        object.__setattr__(self, "fraction", share)

    def _check_numbers(self) -> None:
        for name in ("fraction", "limit"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise self._wrong(f"{name} should be above 0", value)
        if self.limit is not None and self.limit != int(self.limit):
            raise self._wrong("limit should be a whole number of rows", self.limit)
        object.__setattr__(self, "limit", None if self.limit is None else int(self.limit))

    def _read_harmful(self, value: Any) -> bool | str | None:
        if isinstance(value, bool | str | None):
            return value
        if value in (0, 1):  # as it is in a label column
            return bool(value)
        raise self._wrong("harmful should be true, false or the name of a column", value)

    def _wrong(self, should: str, found: Any) -> UserError:
        return UserError(f"datasets: {self.path}: {should}, found {shortened(found)}")


@dataclass
class DataConfig:
    """The prompts to train and to evaluate on: lists of prompt sets, or one set in a short form.

    >>> DataConfig(dataset_name="data/prompts.jsonl", harmful="true").datasets
    [PromptSet(path='data/prompts.jsonl', name=None, split='train', prompt_column='prompt', harmful=True, ...)]
    """

    _argument_group_name: ClassVar[str] = "prompts"

    datasets: list[PromptSet] = field(
        default_factory=list,
        metadata={
            "help": "Prompt sets to train on; files, folders or hub ids here, mappings in YAML: path, name, split, "
            "prompt_column, harmful (true, false or a column), where, fraction, limit, system_prompt, source."
        },
    )
    eval_datasets: list[PromptSet] = field(
        default_factory=list,
        metadata={"help": "The same for evaluation; used if eval_strategy is steps or epoch."},
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "One prompt set (file, folder or hub id) instead of datasets."}
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Its configuration on the hub."})
    dataset_split: str = field(default="train", metadata={"help": "Its split."})
    prompt_column: str = field(default="prompt", metadata={"help": "Its column of texts or chat messages."})
    harmful: str | None = field(
        default=None, metadata={"help": "Whether its prompts are harmful: true, false, or the column that says so."}
    )

    def __post_init__(self) -> None:
        self.datasets = _prompt_sets(self.datasets, "datasets")
        self.eval_datasets = _prompt_sets(self.eval_datasets, "eval_datasets")
        alone = [name for name in ("dataset_config", "harmful") if getattr(self, name)]
        alone += ["prompt_column"] if self.prompt_column != "prompt" else []
        if alone and not self.dataset_name:
            raise UserError(f"{', '.join(alone)}: only with dataset_name; in datasets, write them in each entry")
        if self.dataset_name:
            self.datasets = [
                PromptSet(
                    self.dataset_name,
                    name=self.dataset_config,
                    split=self.dataset_split,
                    prompt_column=self.prompt_column,
                    harmful=_bool_or_column(self.harmful),
                )
            ]


def _prompt_sets(entries: Any, name: str) -> list[PromptSet]:
    """A list of prompt sets from a list, a single one or None."""
    if isinstance(entries, Mapping):
        raise UserError(f"{name}: should be a list, found a mapping; begin each prompt set with '- path: ...'")
    if isinstance(entries, str | PromptSet):
        entries = [entries]
    if not isinstance(entries, list | tuple | None):
        raise UserError(f"{name}: should be a list of prompt sets, found {shortened(entries)}")
    return [_prompt_set(entry, name) for entry in entries or ()]


def _prompt_set(entry: Any, name: str) -> PromptSet:
    """A prompt set from a mapping, a path, or a prompt set."""
    if isinstance(entry, PromptSet):
        return entry
    if isinstance(entry, str):
        return PromptSet(entry)
    known = [option.name for option in fields(PromptSet)]  # without `share`, the old name of `fraction`
    if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise UserError(f"{name}: each entry needs a path, found {shortened(entry)}")
    if unknown := [option for option in entry if option not in (*known, "share")]:
        raise UserError(
            f"{name}: {entry['path']} has no option {', '.join(map(str, unknown))}; there are {', '.join(known)}"
        )
    return PromptSet(**entry)


def _bool_or_column(value: str | bool | None) -> bool | str | None:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
