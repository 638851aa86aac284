"""Folders that are built once: keyed by what determines them, written whole or not at all.

    >>> folder = cached("tiny-guard", {"seed": 0, "code": "9f2c…"}, build)  # doctest: +SKIP
    >>> # build(folder) is given an empty folder to fill

The cache is in ``$GUARD_REWARD_CACHE``, else in ``$XDG_CACHE_HOME/guard_reward``, else in ``~/.cache/guard_reward``.
It can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["MANIFEST", "cache_folder", "cached", "hash_of_sources", "hashes_of_files", "is_whole"]

MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """The folder of the cache."""
    if folder := os.environ.get("GUARD_REWARD_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "guard_reward"


def cached(name: str, key: Mapping[str, object], build: Callable[[Path], None]) -> Path:
    """The folder that `build` fills for this key, built now if it is missing or damaged.

    Args:
        name: readable first part of the folder's name.
        key: everything that determines the content, JSON values only.
        build: called with an empty folder; when it raises, nothing is kept.

    Raises:
        OSError: the cache's folder cannot be written; says how to choose another.

    Of several processes that ask at once (the ranks of a distributed run, parallel tests) one builds, the others wait.
    """
    from filelock import FileLock

    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / f"{name}-{digest}"
    if is_whole(folder):
        return folder
    _make_cache(folder.parent)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if is_whole(folder):  # another process built it while this one waited
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            build(unfinished)
            manifest = {"key": dict(key), "files": hashes_of_files(unfinished)}
            (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True), encoding="utf-8")
            unfinished.chmod(0o755)  # mkdtemp's folders are private
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _make_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            error.errno,
            f"the cache cannot be written ({error.strerror}): set GUARD_REWARD_CACHE to a folder that can",
            str(folder),
        ) from error


def hash_of_sources(*paths: Path) -> str:
    """One hash over the files' contents, for keys: other code, other build."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether every file is there as it was built, by the folder's manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return hashes_of_files(folder) == manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def hashes_of_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file except the manifest, by its path in the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
