"""Recipes and configs, of an installed package or a checkout, copied into a new project."""

from __future__ import annotations

import shutil
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

    Args:
        target: created if missing.
        force: replace existing files.

    Returns:
        The files written, relative to `target`.

    Raises:
        UserError: files exist and `force` is False; names them.
    """
    source = files_folder()
    names = sorted(
        path.relative_to(source)
        for folder in _FOLDERS
        for path in (source / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    if not force and (there := [str(name) for name in names if (target / name).exists()]):
        raise UserError(f"{target} already has {', '.join(there)}: nothing was written; --force replaces them")
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return names
