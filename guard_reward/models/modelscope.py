"""Checkpoints from ModelScope: the folder behind a name such as ``modelscope:Qwen/Qwen3Guard-Gen-0.6B``.

ModelScope's own client downloads (the package ``modelscope-hub``, extra ``modelscope``): into its cache
(``MODELSCOPE_CACHE``), from its endpoint (``MODELSCOPE_ENDPOINT``), with its token (``MODELSCOPE_API_TOKEN``).
Here is what it lacks: only the files of a checkpoint, one process at a time, which version came, and the cache if the
hub cannot be reached.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from guard_reward.errors import one_line
from guard_reward.files import replacing

if TYPE_CHECKING:
    from modelscope_hub import HubApi

__all__ = ["Snapshot", "find_snapshot", "is_modelscope", "repository_of"]

logger = logging.getLogger(__name__)

_PREFIX = "modelscope:"
_DEFAULT_REVISION = "master"
_RECORD = ".guard_reward.json"  # in the folder: which files of which revision it has

# What transformers reads, beside weights. Python code is never downloaded.
_PATTERNS = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_FOLDERS = (".", "additional_chat_templates")
_WEIGHTS, _PICKLED_WEIGHTS, _OTHER_WEIGHTS = "*.safetensors", "pytorch_model*.bin", "consolidated*"

_Files = Mapping[str, tuple[int, str]]
"""Size and SHA-256 by path; the hash is empty if nobody tells it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A downloaded checkpoint.

    Attributes:
        folder: where it is.
        revision: which version it is: the commit, or a branch or tag with a hash over the files.
    """

    folder: str
    revision: str


def is_modelscope(name: str) -> bool:
    """Whether a name asks for a checkpoint from ModelScope.

    >>> is_modelscope("modelscope:Qwen/Qwen3-4B"), is_modelscope("Qwen/Qwen3-4B")
    (True, False)
    """
    return name.startswith(_PREFIX)


def repository_of(name: str) -> str:
    """ModelScope's id in a name.

    Raises:
        ValueError: it is not an owner and a name.

    >>> repository_of("modelscope:Qwen/Qwen3-4B")
    'Qwen/Qwen3-4B'
    """
    repository = name.removeprefix(_PREFIX)
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repository):
        raise ValueError(f"{name!r} is not a model on ModelScope; write modelscope:owner/name, as on its page")
    return repository


def find_snapshot(name: str, revision: str | None = None) -> Snapshot:
    """The checkpoint of this name, downloaded now if it is not in ModelScope's cache or has changed on the hub.

    A commit that is in the cache is not asked for again. If the hub cannot be reached, what is in the cache is used,
    with a warning.

    Args:
        name: such as ``modelscope:Qwen/Qwen3Guard-Gen-0.6B``.
        revision: branch, tag or commit; by default ``master``.

    Raises:
        ValueError: a name that is not an id.
        ModuleNotFoundError: without ModelScope's client.
        OSError: an unknown model or revision, a hub that cannot be reached, a download that failed.
    """
    repository, revision = repository_of(name), revision or _DEFAULT_REVISION
    hub = _client(name)
    with _loading_errors(hub, f"{name}, revision {revision!r}"):
        source = _Source(hub.HubApi(), hub, repository, revision)
        if _is_commit(revision) and (snapshot := source.finished()):
            return snapshot
        try:
            files = source.files()
        except (hub.NetworkError, hub.ServerError, hub.RateLimitError) as error:
            if (snapshot := source.unchecked()) is None:
                raise
            logger.warning(
                "%s is loaded from the cache, because ModelScope does not answer: %s", name, _headline(error)
            )
            return snapshot
        return source.download(files)


def _client(name: str) -> Any:
    """ModelScope's client."""
    try:
        import modelscope_hub
    except ModuleNotFoundError as error:
        if error.name != "modelscope_hub":
            raise
        raise ModuleNotFoundError(
            f"{name} needs ModelScope's client: pip install 'guard-reward[modelscope]'", name=error.name
        ) from error
    return modelscope_hub


@contextmanager
def _loading_errors(hub: Any, what: str) -> Iterator[None]:
    """Raise whatever the client raises (its own classes, those of requests and urllib3) as an OSError in one line."""
    try:
        yield
    except Exception as error:
        # The client's errors go on with the request and the response, except this one, which lists files.
        text = str(error) if isinstance(error, hub.FileDownloadError) else _headline(error)
        raise OSError(f"{what}: {one_line(text) or type(error).__name__}") from error


def _headline(error: Exception) -> str:
    return str(error).partition("\n")[0]


@dataclass(frozen=True, slots=True)
class _Source:
    """One revision of a repository, on the hub and in the cache."""

    api: HubApi
    hub: Any
    repository: str
    revision: str

    def files(self) -> _Files:
        """The checkpoint's files, as the hub lists them."""
        listed = self.api.list_repo_files(self.repository, "model", revision=self.revision)
        files = _wanted({file.path: (file.size, file.sha256 or "") for file in listed if not file.is_dir})
        if "config.json" not in files:  # the client also answers with no files where it gets an error it does not know
            raise FileNotFoundError("has no config.json: is it a model checkpoint?")
        return files

    def folder(self) -> Path:
        """Where the client has this revision (caches of its older versions have one folder for all), or will have."""
        try:
            return self.api.download_repo(self.repository, "model", revision=self.revision, local_files_only=True)
        except self.hub.CacheNotFound:
            return self._cache / "models" / self._name / "snapshots" / self.revision

    def finished(self) -> Snapshot | None:
        """What an earlier download has finished."""
        folder = self.folder()
        record = _read_record(folder)
        if record is None or record[0] != self.revision or not _has_files(folder, record[1]):
            return None
        return self._snapshot(folder, record[1])

    def unchecked(self) -> Snapshot | None:
        """What an earlier download has finished, or what the client downloaded for somebody else, complete or not."""
        folder = self.folder()
        is_somebody_elses = _read_record(folder) is None and (folder / "config.json").is_file()
        if is_somebody_elses and folder.as_posix().endswith(f"/snapshots/{self.revision}"):
            return self._snapshot(folder, _wanted(_on_disk(folder)))
        return self.finished()

    def download(self, files: _Files) -> Snapshot:
        """Download what is missing, while other processes wait; the first one of them downloads for all."""
        with self._alone():
            folder = self.folder()
            snapshot = self._snapshot(folder, files)
            if self.finished() == snapshot:
                return snapshot
            _write_record(folder, self.revision, {})
            self.api.download_repo(
                self.repository, "model", revision=self.revision, local_dir=folder, allow_patterns=[*files]
            )
            if old := sorted(_wanted(_on_disk(folder)).keys() - files.keys()):
                raise FileExistsError(f"{folder} has files that the hub does not have; remove {', '.join(old)}")
            _write_record(folder, self.revision, files)
        return snapshot

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes out, for as long as it takes: they would give up at the client's locks after minutes."""
        from filelock import FileLock

        path = self._cache / ".lock" / f"guard_reward_{self._name}.lock"
        with ExitStack() as stack:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(path))
            except (OSError, NotImplementedError) as error:  # a cache that is read-only, or cannot be locked
                logger.info("%s cannot be locked: %s", path, error)
            yield

    @property
    def _cache(self) -> Path:
        return Path(self.hub.get_default_config().cache_dir)

    @property
    def _name(self) -> str:
        return self.repository.replace("/", "--")

    def _snapshot(self, folder: Path, files: _Files) -> Snapshot:
        digest = hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:12]
        return Snapshot(str(folder), self.revision if _is_commit(self.revision) else f"{self.revision}, files {digest}")


def _is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _wanted(files: _Files) -> _Files:
    """The files of a checkpoint: pickled weights only if there are no others."""
    paths = [PurePosixPath(path) for path in files]
    # The client takes names as patterns, and would match other files of a hostile listing.
    kept = [path for path in paths if str(path.parent) in _FOLDERS and re.fullmatch(r"\w[\w.-]*", path.name)]
    weights = [path for path in kept if fnmatch(path.name, _WEIGHTS) and not fnmatch(path.name, _OTHER_WEIGHTS)]
    weights = weights or [path for path in kept if fnmatch(path.name, _PICKLED_WEIGHTS)]
    others = [path for path in kept if any(fnmatch(path.name, pattern) for pattern in _PATTERNS)]
    return {str(path): files[str(path)] for path in (*weights, *others)}


def _on_disk(folder: Path) -> _Files:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, "") for path in folder.rglob("*") if path.is_file()
    }


def _has_files(folder: Path, files: _Files) -> bool:
    found = _on_disk(folder)
    return bool(files) and all(path in found and found[path][0] == size for path, (size, _) in files.items())


def _read_record(folder: Path) -> tuple[str, _Files] | None:
    """The revision in a folder and its files, none if the download was not finished; None without a record."""
    try:
        text = (folder / _RECORD).read_text(encoding="utf-8")
    except OSError:
        return None
    try:
        record = json.loads(text)
        return record["revision"], {path: (size, sha256) for path, (size, sha256) in record["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):  # damaged: as if it was not finished
        return "", {}


def _write_record(folder: Path, revision: str, files: _Files) -> None:
    """Say what is in a folder, as far as it can be written to."""
    with suppress(OSError), replacing(folder / _RECORD) as part:
        part.write_text(json.dumps({"revision": revision, "files": files}, indent=2), encoding="utf-8")
