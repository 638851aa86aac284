"""The files of a checkpoint's folder, looked at before any is loaded: what is missing or damaged is named by its file.

A copy that broke off, a clone without Git LFS and an adapter without its base all look like a checkpoint. Loading one
would end in an error from deep inside a library, or in a guard that is not the one that was trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["check_folder", "json_object", "refuse_adapter"]

# File → keys without which the libraries fail.
_JSON_FILES: Mapping[str, tuple[str, ...]] = {
    "config.json": (),
    "generation_config.json": (),
    "tokenizer_config.json": (),
    "tokenizer.json": ("added_tokens", "model"),
    "model.safetensors.index.json": ("weight_map",),
    "pytorch_model.bin.index.json": ("weight_map",),
}
_VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.*",
    "spiece.model",
    "*.bpe.model",
    "tekken.json",
    "*tiktoken*",
)
_AGAIN = "copy it from the checkpoint again"


def check_folder(folder: Path) -> None:
    """Check that a checkpoint's files are there and whole, as far as that can be seen without loading it.

    Raises:
        FileNotFoundError: weights that an index names, or the tokenizer's vocabulary, are missing; an adapter.
        ValueError: a file that is damaged, or only a pointer of Git LFS.
    """
    files = {name: json_object(folder / name) for name in _JSON_FILES if (folder / name).is_file()}
    for name, content in files.items():
        if missing := [key for key in _JSON_FILES[name] if not isinstance(content.get(key), dict | list)]:
            raise ValueError(f"{folder / name} has no {missing[0]!r}: {_AGAIN}")
    if (template := folder / "chat_template.jinja").is_file():
        _text(template)
    if not any(path.is_file() for pattern in _VOCABULARIES for path in folder.glob(pattern)):
        raise FileNotFoundError(
            f"{folder} has no tokenizer.json or other vocabulary: copy the tokenizer's files from the checkpoint"
        )
    _check_end_token(folder, files)
    if (folder / "config.json").is_file():  # without one it is a policy's adapter, whose base PEFT loads
        refuse_adapter(folder)
    for path in _weights(folder, files):
        _check_weights(path)


def refuse_adapter(folder: Path) -> None:
    """Refuse a folder with an adapter's weights and no model's.

    Raises:
        FileNotFoundError: says which model it belongs to.
    """
    file = folder / "adapter_config.json"
    if not file.is_file() or any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin")):
        return
    base = json_object(file).get("base_model_name_or_path")
    raise FileNotFoundError(
        f"{folder} is an adapter of {base!r} without its weights: merge the two (PEFT's merge_and_unload) and save "
        "model and tokenizer in one folder"
    )


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: there is none; names the file.
    """
    text = _text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): {_AGAIN}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} should be a JSON object, found {type(content).__name__}: {_AGAIN}")
    return content


def _text(path: Path) -> str:
    _refuse_pointer(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {_AGAIN}") from error


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(24) == b"version https://git-lfs.":
            raise ValueError(f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` in its folder")


def _check_end_token(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Without it in the vocabulary, transformers would add it under an id that the model knows as another token."""
    tokenizer, settings = files.get("tokenizer.json"), files.get("tokenizer_config.json", {})
    end = settings.get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    if tokenizer is None or not isinstance(end, str):
        return
    added = [token.get("content") for token in tokenizer["added_tokens"] if isinstance(token, dict)]
    vocabulary = tokenizer["model"].get("vocab") if isinstance(tokenizer["model"], dict) else None
    # A unigram model has a list of pairs.
    known = vocabulary if isinstance(vocabulary, dict) else {pair[0] for pair in vocabulary or () if pair}
    if end in added or end in known or str(end) in str(settings.get("added_tokens_decoder")):
        return
    if (more := folder / "added_tokens.json").is_file() and end in json_object(more):
        return
    raise ValueError(
        f"{folder / 'tokenizer.json'} does not have {end!r}, the end token of tokenizer_config.json: are both from the "
        "same checkpoint?"
    )


def _weights(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """The files of weights in the safetensors format that transformers would load."""
    if (whole := folder / "model.safetensors").is_file():
        yield whole
    elif (index := files.get("model.safetensors.index.json")) is not None:
        for name in sorted(set(map(str, index["weight_map"].values()))):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} has no {name}, which its model.safetensors.index.json names: copy it from the checkpoint"
                )
            yield folder / name


def _check_weights(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    _refuse_pointer(path)
    try:
        with safe_open(path, "pt"):  # reads the header, and compares it with the file's length
            pass
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or was not copied whole ({error}): {_AGAIN}") from error
