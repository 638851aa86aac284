"""Whether a checkpoint is whole: every file was written to its end, and none is missing.

A trainer writes ``trainer_state.json`` last, so a folder without it was not finished. A copy that was cut short, a
machine that lost its power, or a deletion that was killed half-way can leave other files short or missing.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

__all__ = ["STATE_FILE", "fault_of", "read_state"]

STATE_FILE = "trainer_state.json"
_WEIGHTS = ("*.safetensors", "*model*.bin", "*model_states.pt", "*.distcp")  # of transformers, DeepSpeed and FSDP
_HEADER = 8  # bytes of a safetensors file that say how long its header is


def fault_of(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None if it is whole.

    What is checked is cheap, whatever the size: that the files of the trainer's state, of the weights' index and of
    tensors end where they should. It finds files that are missing, empty or cut short, not flipped bits.

    Args:
        folder: of the checkpoint.

    >>> fault_of(Path("no/such/checkpoint"))
    'it has no trainer_state.json'
    """
    if not (folder / STATE_FILE).is_file():
        return f"it has no {STATE_FILE}"
    if read_state(folder) is None:
        return f"{STATE_FILE} was not written to its end"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _is_whole(path):
            return f"{path.relative_to(folder)} was not written to its end"
    return _missing(folder)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The trainer's state in a folder; None if it was not written to its end."""
    state = _read_json(folder / STATE_FILE)
    return state if isinstance(state, dict) and isinstance(state.get("global_step"), int) else None


def _missing(folder: Path) -> str | None:
    """Weights that are not there, or a shard of them that the index names."""
    if not any(path for pattern in _WEIGHTS for path in folder.rglob(pattern)):
        return "it has no weights"
    for index in folder.glob("*.index.json"):
        named = _read_json(index)
        weights = named.get("weight_map") if isinstance(named, dict) else None
        if not isinstance(weights, dict):
            return f"{index.name} names no weights"
        for shard in sorted({str(shard) for shard in weights.values()}):
            if not (folder / shard).is_file():
                return f"{shard} is missing"
    return None


def _is_whole(path: Path) -> bool:
    """Whether a file's own form says that nothing of its end is missing; other forms count as whole."""
    if path.suffix == ".safetensors":
        return _is_whole_safetensors(path)
    if path.suffix in (".pt", ".pth", ".bin"):
        return zipfile.is_zipfile(path) or _is_old_pickle(path)  # a zip file's directory stands at its end
    if path.name.endswith(".index.json"):
        return _read_json(path) is not None
    return True


def _is_old_pickle(path: Path) -> bool:
    """Whether it is what torch saved before 2020, whose end says nothing."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _is_whole_safetensors(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER), "little")
        if size < _HEADER + length:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return False
    return bool(size == _HEADER + length + max(ends, default=0))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
