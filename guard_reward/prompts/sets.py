"""Prompt sets, labelled and mixed: what a safety run trains on.

    datasets:
      - {path: data/harmful.jsonl, harmful: true, share: 0.6}
      - {path: data/chats.parquet, prompt_column: messages, harmful: is_harmful, share: 0.4}

Harmful, benign and jailbreak prompts belong together: harmful ones alone teach a policy to refuse everything. No model
and no trainer here; what comes out is a plain `datasets.Dataset`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from guard_reward.errors import UserError
from guard_reward.rewards.labels import read_label

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainingArguments

__all__ = ["DataConfig", "PromptSet", "load_prompts", "mix"]

logger = logging.getLogger(__name__)

_FORMATS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
# A prompt that reads NA is a prompt, whatever pandas thinks; and ten thousand blank cells are no column of numbers.
_EVERY_TEXT = {"keep_default_na": False}
_EXAMPLES = {"path": "prompts.jsonl", "split": "train", "prompt_column": "prompt"}
_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class PromptSet:
    """One source of prompts.

    Attributes:
        path: a file (.jsonl, .json, .csv, .tsv, .parquet), a folder of such files, or a dataset's hub id.
        name: the dataset's configuration on the hub.
        split: as in ``datasets.load_dataset``.
        prompt_column: column with the prompt: a text, which becomes one user message, or chat messages.
        harmful: whether its prompts ask for something harmful: true or false for all of them, or the name of a column
            that says so row by row; None where nobody knows.
        where: which rows to take: column → the value it should have, or a list of such values.
        share: of the mixture, in any unit; either all sets of a mixture have one, or none.
        limit: most rows to take, drawn at random.
        system_prompt: put before prompts that have none of their own.
        source: the set's name in the column ``source``; by default the last part of the path.

    Raises:
        UserError: an option that is not of its kind; names it.

    >>> PromptSet("data/prompts.jsonl", harmful=True).source
    'prompts'
    """

    path: str
    name: str | None = None
    split: str = "train"
    prompt_column: str = "prompt"
    harmful: bool | str | None = None
    where: Mapping[str, Any] | None = None
    share: float | None = None
    limit: int | None = None
    system_prompt: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for name in _EXAMPLES:
            if not isinstance(value := getattr(self, name), str) or not value:
                raise self._wrong(f"{name} should be a text such as {_EXAMPLES[name]}", value)
        for name in ("name", "system_prompt", "source"):
            if not isinstance(value := getattr(self, name), str | None):
                raise self._wrong(f"{name} should be a text, or left out", value)
        if not isinstance(self.where, Mapping | None):
            raise self._wrong("where should be a mapping, column: value", self.where)
        self._check_numbers()
        object.__setattr__(self, "harmful", self._read_harmful(self.harmful))
        object.__setattr__(self, "source", self.source or Path(self.path).stem)

    def _check_numbers(self) -> None:
        for name in ("share", "limit"):
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
        return UserError(f"datasets: {self.path}: {should}, found {_short(found)}")


@dataclass
class DataConfig:
    """The prompts to train on, and those to evaluate on, as lists of prompt sets; or one set in its short form.

    >>> DataConfig(dataset_name="data/prompts.jsonl", harmful="true").datasets
    [PromptSet(path='data/prompts.jsonl', name=None, split='train', prompt_column='prompt', harmful=True, ...)]
    """

    _argument_group_name: ClassVar[str] = "prompts"

    datasets: list[PromptSet] = field(
        default_factory=list,
        metadata={
            "help": "Prompt sets to train on; files, folders or hub ids here, mappings in YAML: path, name, split, "
            "prompt_column, harmful (true, false or a column), where, share, limit, system_prompt, source."
        },
    )
    eval_datasets: list[PromptSet] = field(
        default_factory=list,
        metadata={"help": "The same for evaluation; used where eval_strategy is steps or epoch."},
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "One prompt set (file, folder or hub id) in the place of datasets."}
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
            raise UserError(
                f"{', '.join(alone)}: goes with dataset_name; each entry of datasets has options of its own"
            )
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


def load_prompts(config: DataConfig, args: TrainingArguments) -> tuple[Dataset, Dataset | None]:
    """The training prompts, and the evaluation prompts where the run evaluates.

    Each has the columns ``prompt`` (messages), ``source`` (name of the set) and, where every set says so, ``harmful``
    (bool).

    Args:
        config: the prompt sets.
        args: its ``seed`` decides what is drawn and in which order, ``eval_strategy`` whether the run evaluates.

    Raises:
        UserError: names the set and the row, column or field that is wrong.
    """
    if not config.datasets:
        raise UserError("datasets: name at least one prompt set, or one with --dataset_name")
    evaluates = str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no"
    if evaluates and not config.eval_datasets:
        raise UserError("eval_datasets: eval_strategy asks for evaluation, and there is no prompt set for it")
    mixtures = [mix(sets, args.seed) for sets in (config.datasets, *([config.eval_datasets] if evaluates else []))]
    labelled = ["harmful" in rows.column_names for rows in mixtures]
    if any(labelled) and not all(labelled):
        logger.warning("harmful is known for training or for evaluation only: the metrics are not split by it")
        mixtures = [rows.select_columns(["prompt", "source"]) for rows in mixtures]
    return mixtures[0], mixtures[1] if evaluates else None


def mix(sets: Sequence[PromptSet], seed: int) -> Dataset:
    """Load the sets and mix them; a set without enough rows for its share makes the mixture smaller.

    Args:
        sets: either all with a share or all without one; without, every row is taken.
        seed: of what is drawn and of the order.
    """
    from datasets import concatenate_datasets

    loaded = [_load(entry, seed) for entry in sets]
    labelled = ["harmful" in rows.column_names for rows in loaded]
    if any(labelled) and not all(labelled):
        missing = ", ".join(entry.path for entry, known in zip(sets, labelled, strict=True) if not known)
        logger.warning("harmful is not known for %s: the metrics are not split by it", missing)
        loaded = [rows.select_columns(["prompt", "source"]) for rows in loaded]
    counts = _counts([entry.share for entry in sets], [len(rows) for rows in loaded])
    return concatenate_datasets(
        [rows.select(range(count)) for rows, count in zip(loaded, counts, strict=True)]
    ).shuffle(seed=seed)


def _counts(shares: Sequence[float | None], rows: Sequence[int]) -> list[int]:
    """How many rows of each set make the largest mixture of these shares in which none occurs twice.

    >>> _counts([3, 1], [60, 100])
    [60, 20]
    """
    given = [share for share in shares if share is not None]
    if not given:
        return list(rows)
    if len(given) < len(shares):
        raise UserError("datasets: give every prompt set a share, or none")
    total = min(count / share for count, share in zip(rows, given, strict=True))
    return [min(count, round(total * share)) for count, share in zip(rows, given, strict=True)]


def _load(entry: PromptSet, seed: int) -> Dataset:
    """One set: ``prompt``, ``source``, ``harmful`` where it is known; in random order, cut to its limit."""
    from datasets import Dataset

    rows = _read(entry)
    _check_columns(entry, rows)
    numbers = _wanted_rows(entry, rows)
    if not numbers:
        raise UserError(f"datasets: {entry.path} has no rows" + (f" where {dict(entry.where)}" if entry.where else ""))
    prompts = rows[entry.prompt_column][:]
    columns: dict[str, list[Any]] = {
        "prompt": [_messages(prompts[number], entry, number) for number in numbers],
        "source": [entry.source] * len(numbers),
    }
    if entry.harmful is not None:
        columns["harmful"] = _labels(entry, rows, numbers)
    _warn_of_begun_answers(entry, columns["prompt"])
    shuffled = Dataset.from_dict(columns).shuffle(seed=seed)
    return shuffled.select(range(min(entry.limit or len(shuffled), len(shuffled))))


def _read(entry: PromptSet) -> Dataset:
    """The rows as they are stored."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    path = Path(entry.path).expanduser()
    suffix = path.suffix.lower()
    if suffix in _FORMATS and not path.is_file():
        raise UserError(f"datasets: the file {entry.path!r} does not exist")
    if entry.path.startswith((".", "/", "~")) and not path.exists():
        raise UserError(f"datasets: {entry.path!r} does not exist")
    if path.is_file() and suffix not in _FORMATS:
        raise UserError(f"datasets: {entry.path}: the suffix says no format; use one of {', '.join(_FORMATS)}")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"datasets: {entry.path} has no rows")
    try:
        if not path.is_file():
            return _read_set(str(path) if path.is_dir() else entry.path, entry)
        options = {**_EVERY_TEXT, "sep": "\t" if suffix == ".tsv" else ","} if suffix in (".csv", ".tsv") else {}
        return load_dataset(_FORMATS[suffix], data_files=str(path), split=entry.split, **options)
    except (DatasetsError, OSError, ValueError) as error:
        reason = (error.__cause__ or error) if isinstance(error, DatasetGenerationError) else error
        raise UserError(f"datasets: {entry.path} could not be loaded: {' '.join(str(reason).split())}") from error


def _read_set(path: str, entry: PromptSet) -> Dataset:
    """The rows of a folder, or of a dataset on the hub; their format is known once the builder is there."""
    from datasets import load_dataset, load_dataset_builder

    builder = load_dataset_builder(path, entry.name)
    options = _EVERY_TEXT if hasattr(builder.config, "keep_default_na") else {}
    return load_dataset(path, entry.name, split=entry.split, **options)


def _check_columns(entry: PromptSet, rows: Dataset) -> None:
    wanted = {"prompt_column": [entry.prompt_column], "where": list(entry.where or {})}
    if isinstance(entry.harmful, str):
        wanted["harmful"] = [entry.harmful]
    for option, names in wanted.items():
        for name in names:
            if name not in rows.column_names:
                raise UserError(
                    f"datasets: {entry.path} has no column {name!r} ({option}); it has {', '.join(rows.column_names)}"
                )


def _wanted_rows(entry: PromptSet, rows: Dataset) -> list[int]:
    """Numbers of the rows that fulfil all of `where`."""
    wanted = set(range(len(rows)))
    for name, value in (entry.where or {}).items():
        allowed = value if isinstance(value, list) else [value]
        wanted &= {number for number, found in enumerate(rows[name][:]) if found in allowed}
    return sorted(wanted)


def _messages(prompt: Any, entry: PromptSet, number: int) -> list[dict[str, str]]:
    """The prompt as chat messages, with the set's system prompt where it has none."""
    where = f"datasets: {entry.path}, row {number} (the first is 0), column {entry.prompt_column!r}"
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(messages, list) or not messages:
        raise UserError(f"{where}: should be a text or chat messages, found {_short(prompt)}")
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
            raise UserError(f"{where}: a message needs a role ({', '.join(_ROLES)}), found {_short(message)}")
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise UserError(f"{where}: a message needs a text as its content, found {_short(message)}")
    cleaned = [{"role": message["role"], "content": message["content"]} for message in messages]
    if entry.system_prompt and cleaned[0]["role"] != "system":
        return [{"role": "system", "content": entry.system_prompt}, *cleaned]
    return cleaned


def _labels(entry: PromptSet, rows: Dataset, numbers: Sequence[int]) -> list[bool]:
    if isinstance(entry.harmful, bool):
        return [entry.harmful] * len(numbers)
    values = rows[entry.harmful][:]
    return [_label(values[number], entry, number) for number in numbers]


def _label(value: Any, entry: PromptSet, number: int) -> bool:
    where = f"datasets: {entry.path}, row {number} (the first is 0)"
    try:
        label = read_label(value, str(entry.harmful))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    if label is None:
        raise UserError(f"{where}: column {entry.harmful!r} is empty; every prompt of the set needs its label")
    return label


def _warn_of_begun_answers(entry: PromptSet, prompts: Sequence[Sequence[Mapping[str, str]]]) -> None:
    begun = sum(messages[-1]["role"] == "assistant" for messages in prompts)
    if begun:
        logger.warning(
            "%s: %d of %d prompts end with the assistant's turn: the policy continues that turn, and the guard judges "
            "both as one answer. To have it answer anew, leave that turn out of the data",
            entry.path,
            begun,
            len(prompts),
        )


def _prompt_sets(entries: Any, name: str) -> list[PromptSet]:
    """Prompt sets from a list, from one alone, or none from null."""
    if isinstance(entries, Mapping):
        raise UserError(f"{name}: should be a list, found a mapping; begin each prompt set with '- path: ...'")
    if isinstance(entries, str | PromptSet):
        entries = [entries]
    if not isinstance(entries, list | tuple | None):
        raise UserError(f"{name}: should be a list of prompt sets, found {_short(entries)}")
    return [_prompt_set(entry, name) for entry in entries or ()]


def _prompt_set(entry: Any, name: str) -> PromptSet:
    """A prompt set from a mapping, from a path alone, or itself."""
    if isinstance(entry, PromptSet):
        return entry
    if isinstance(entry, str):
        return PromptSet(entry)
    known = [option.name for option in fields(PromptSet)]
    if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise UserError(f"{name}: each entry needs a path, found {_short(entry)}")
    if unknown := [option for option in entry if option not in known]:
        raise UserError(
            f"{name}: {entry['path']} has no option {', '.join(map(str, unknown))}; there are {', '.join(known)}"
        )
    return PromptSet(**entry)


def _bool_or_column(value: str | bool | None) -> bool | str | None:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
