"""Which models vLLM and SGLang can serve as a guard: a check of names and folders before anything is started."""

from __future__ import annotations

import json
import re
from pathlib import Path

from guard_reward.errors import UserError

__all__ = ["servable_name"]

_MODELSCOPE = "modelscope:"
_STREAM_ARCHITECTURE = "Qwen3ForGuardModel"


def servable_name(model: str) -> tuple[str, bool]:
    """The name to serve a model by, and whether it comes from ModelScope.

    A folder's is its absolute path, which is then also the model's name for clients: those on the same machine find
    the tokenizer by it.

    Raises:
        UserError: no hub id and no checkpoint folder, or a model that the servers do not know.
    """
    if model.startswith(_MODELSCOPE):
        name = model.removeprefix(_MODELSCOPE)
        _check_hub_id(name)
        return name, True
    path = Path(model).expanduser()
    if path.is_dir():
        _check_folder(model, path)
        return str(path.absolute()), False
    if model.startswith((".", "/", "~")) or (model.count("/") > 1 and "://" not in model):
        raise UserError(f"model folder {model!r} does not exist")
    _check_hub_id(model)
    return model, False


def _check_hub_id(name: str) -> None:
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise UserError(f"{name!r} is neither a hub id, such as Qwen/Qwen3Guard-Gen-4B, nor a folder")
    if "guard-stream" in name.lower():
        raise _not_servable(name)


def _check_folder(model: str, path: Path) -> None:
    file = path / "config.json"
    if not file.is_file():
        raise UserError(f"model folder {model!r} has no config.json: is it a model checkpoint?")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        architectures = config.get("architectures") or []
    except (ValueError, AttributeError) as error:
        raise UserError(f"'{file}' is not a model's configuration: {error}") from error
    if _STREAM_ARCHITECTURE in architectures:
        raise _not_servable(model)


def _not_servable(model: str) -> UserError:
    return UserError(
        f"{model!r} is a stream guard, which vLLM and SGLang do not serve: load_guard runs it in this process"
    )
