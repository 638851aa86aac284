"""One prompt set: read, checked, labelled, as a plain `datasets.Dataset`."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.errors import UserError, one_line, shortened
from guard_reward.prompts.sets import PromptSet
from guard_reward.rewards.labels import read_label

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["load_set"]

logger = logging.getLogger(__name__)

_FORMATS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
# pandas would read the prompt "NA" as missing, and a column of blank cells as numbers.
_EVERY_TEXT = {"keep_default_na": False}
_ROLES = ("system", "user", "assistant", "tool")


def load_set(entry: PromptSet, seed: int, *, keep: Sequence[str] | None = None) -> Dataset:
    """Load one set, in random order and cut to its limit.

    Args:
        entry: the set.
        seed: of the order.
        keep: other columns of the set to keep; with null where the set has no such column.

    Returns:
        Columns ``prompt`` (messages), ``source`` and, if it is known, ``harmful`` (bool); with `keep`, also ``row``
        (the number in the set), ``language``, ``category`` and the kept columns.

    Raises:
        UserError: names the set and the row, column or option that is wrong.
    """
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
    if keep is not None:
        columns |= {**_other_columns(entry, rows, numbers, keep), "row": numbers}
    _warn_of_begun_answers(entry, columns["prompt"])
    shuffled = Dataset.from_dict(columns).shuffle(seed=seed)
    return shuffled.select(range(min(entry.limit or len(shuffled), len(shuffled))))


def _read(entry: PromptSet) -> Dataset:
    """The rows of a file, folder or hub dataset."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    path = Path(entry.path).expanduser()
    suffix = path.suffix.lower()
    if suffix in _FORMATS and not path.is_file():
        raise UserError(f"datasets: the file {entry.path!r} does not exist")
    if entry.path.startswith((".", "/", "~")) and not path.exists():
        raise UserError(f"datasets: {entry.path!r} does not exist")
    if path.is_file() and suffix not in _FORMATS:
        raise UserError(f"datasets: {entry.path}: unknown suffix; use one of {', '.join(_FORMATS)}")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"datasets: {entry.path} has no rows")
    try:
        if not path.is_file():
            return _read_set(str(path) if path.is_dir() else entry.path, entry)
        options = {**_EVERY_TEXT, "sep": "\t" if suffix == ".tsv" else ","} if suffix in (".csv", ".tsv") else {}
        return load_dataset(_FORMATS[suffix], data_files=str(path), split=entry.split, **options)
    except (DatasetsError, OSError, ValueError) as error:
        reason = (error.__cause__ or error) if isinstance(error, DatasetGenerationError) else error
        raise UserError(
            f"datasets: {entry.path} could not be loaded: {one_line(reason)}{_cache_fault(reason)}"
        ) from error


def _cache_fault(error: BaseException) -> str:
    """What to do if the fault is not the data's, but that of the folder where datasets keeps what it has read."""
    from datasets.config import HF_DATASETS_CACHE

    if not isinstance(error, OSError):
        return ""
    try:
        os.makedirs(HF_DATASETS_CACHE, exist_ok=True)
        with tempfile.TemporaryFile(dir=HF_DATASETS_CACHE) as file:
            file.write(b"0" * 65_536)
    except OSError as fault:
        return f"; the cache {str(HF_DATASETS_CACHE)!r} cannot be written ({fault.strerror}): set HF_HOME elsewhere"
    return ""


def _read_set(path: str, entry: PromptSet) -> Dataset:
    """The rows of a folder, or of a dataset on the hub; only the builder knows their format."""
    from datasets import load_dataset, load_dataset_builder

    builder = load_dataset_builder(path, entry.name)
    options = _EVERY_TEXT if hasattr(builder.config, "keep_default_na") else {}
    return load_dataset(path, entry.name, split=entry.split, **options)


def _check_columns(entry: PromptSet, rows: Dataset) -> None:
    wanted = {"prompt_column": [entry.prompt_column], "where": list(entry.where or {})}
    if isinstance(entry.harmful, str):
        wanted["harmful"] = [entry.harmful]
    for option in ("language_column", "category_column"):
        wanted[option] = [name] if (name := getattr(entry, option)) else []
    for option, names in wanted.items():
        for name in names:
            if name not in rows.column_names:
                raise UserError(
                    f"datasets: {entry.path} has no column {name!r} ({option}); it has {', '.join(rows.column_names)}"
                )


def _wanted_rows(entry: PromptSet, rows: Dataset) -> list[int]:
    """Numbers of the rows that match all of `where`."""
    wanted = set(range(len(rows)))
    for name, value in (entry.where or {}).items():
        allowed = value if isinstance(value, list) else [value]
        wanted &= {number for number, found in enumerate(rows[name][:]) if found in allowed}
    return sorted(wanted)


def _messages(prompt: Any, entry: PromptSet, number: int) -> list[dict[str, str]]:
    """The prompt as chat messages, with the set's system prompt if it has none."""
    where = f"datasets: {entry.path}, row {number} (the first is 0), column {entry.prompt_column!r}"
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(messages, list) or not messages:
        raise UserError(f"{where}: should be a text or chat messages, found {shortened(prompt)}")
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
            raise UserError(f"{where}: a message needs a role ({', '.join(_ROLES)}), found {shortened(message)}")
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise UserError(f"{where}: a message needs a text as its content, found {shortened(message)}")
    cleaned = [{"role": message["role"], "content": message["content"]} for message in messages]
    if entry.system_prompt and cleaned[0]["role"] != "system":
        return [{"role": "system", "content": entry.system_prompt}, *cleaned]
    return cleaned


def _other_columns(
    entry: PromptSet, rows: Dataset, numbers: Sequence[int], keep: Sequence[str]
) -> dict[str, list[Any]]:
    """Language, category and the columns to keep; null where the set has no such column."""
    named = {"language": entry.language_column or "language", "category": entry.category_column or "category"}
    found: dict[str, list[Any]] = {}
    for name, column in {**named, **{name: name for name in keep}}.items():
        values = rows[column][:] if column in rows.column_names else None
        found[name] = [None if values is None else values[number] for number in numbers]
    for name in named:  # a list of categories, or a class's number
        found[name] = [None if value is None else str(value) for value in found[name]]
    return found


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
            "both as one answer. For a new answer, leave that turn out of the data",
            entry.path,
            begun,
            len(prompts),
        )
