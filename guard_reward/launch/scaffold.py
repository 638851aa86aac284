"""Recipes and configs, of an installed package or a checkout, copied into a new project."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from guard_reward.errors import UserError

__all__ = ["copy_files", "files_folder"]

_FOLDERS = ("recipes", "configs")


def files_folder() -> Path:
    """The folder that holds ``recipes/`` and ``configs/``: in the installed package, else the checkout's root."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_files", package.parent):
        if all((folder / name).is_dir() for name in _FOLDERS):
            return folder
    raise UserError("this installation has no recipes and configs; install the package again")


def copy_files(target: Path, *, force: bool = False) -> list[Path]:
    """Copy recipes and configs into `target`; all of them, or nothing.

    Everything is checked first and copied to a temporary folder next; only then are files moved to their places.

    Args:
        target: created if missing; may be a link to a folder.
        force: replace existing files. Links inside `target` are never replaced or followed.

    Returns:
        The files written, relative to `target`.

    Raises:
        UserError: files exist and `force` is False; a link, or a file where a folder belongs, or the reverse; a folder
            that cannot be written to. Names them.
    """
    source = files_folder()
    names = sorted(
        path.relative_to(source)
        for folder in _FOLDERS
        for path in (source / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    _check_places(target, names)
    if not force and (there := [str(name) for name in names if (target / name).exists()]):
        raise UserError(f"{target} already has {', '.join(there)}: nothing was written; --force replaces them")
    with tempfile.TemporaryDirectory(dir=_nearest_folder(target), prefix=".guard-reward-") as temporary:
        staging = Path(temporary)
        for name in names:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, staging / name)
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, target / name)
    return names


def _check_places(target: Path, names: Sequence[Path]) -> None:
    """Refuse what would stop the copying halfway, or would send a file elsewhere."""
    files = [target / name for name in names]
    inside = {target / folder for name in names for folder in name.parents if folder != Path()}
    above = (target.absolute(), *target.absolute().parents)
    faults = [
        *(f"{path} is a link" for path in (*inside, *files) if path.is_symlink()),
        *(f"{path} is not a folder" for path in (*above, *inside) if path.exists() and not path.is_dir()),
        *(f"{path} is not a file" for path in files if path.exists() and not path.is_file()),
        *(f"{path} cannot be written to" for path in (_nearest_folder(target), *inside) if not _is_writable(path)),
    ]
    if faults:
        raise UserError(
            f"{', '.join(sorted(faults))}: nothing was written; give another folder, or remove what is there"
        )


def _nearest_folder(path: Path) -> Path:
    """The folder itself, or the first one above it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())


def _is_writable(path: Path) -> bool:
    return not path.is_dir() or os.access(path, os.W_OK | os.X_OK)
