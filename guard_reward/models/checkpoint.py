"""Loading a frozen checkpoint: whole, on its device, not sharded by the trainer's DeepSpeed or FSDP."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guard_reward.errors import LOADING_ERRORS, first_paragraph
from guard_reward.models.checkpoint_files import check_folder, json_object, refuse_adapter
from guard_reward.models.modelscope import Snapshot, find_snapshot, is_modelscope, repository_of
from guard_reward.models.precision import is_slow, warn_if_slow
from guard_reward.models.vocabulary import check_vocabulary
from guard_reward.models.weights import check_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Checkpoint", "checked_name", "default_device", "outside_deepspeed", "weights_revision"]

logger = logging.getLogger(__name__)


def checked_name(model: str | Path) -> str:
    """The hub id, ``modelscope:`` and ModelScope's id, or the path of an existing checkpoint folder.

    Raises:
        ValueError: a URL, or no id behind ``modelscope:``.
        FileNotFoundError: a path that does not exist, or a folder without ``config.json``.
    """
    name = os.fspath(model)
    if name.startswith(("http://", "https://")):
        raise ValueError(f"{name!r} is a URL; a model is loaded from a hub id or a folder")
    if is_modelscope(name):
        repository_of(name)
        return name
    looks_like_path = isinstance(model, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1
    path = Path(name).expanduser()
    if looks_like_path and not path.exists():
        raise FileNotFoundError(f"model folder {name!r} does not exist")
    if path.is_dir() and not (path / "config.json").is_file():
        refuse_adapter(path)
        raise FileNotFoundError(f"model folder {name!r} has no config.json: is it a model checkpoint?")
    return str(path) if path.is_dir() else name


@dataclass(frozen=True)
class Checkpoint:
    """Where a model comes from and how it is loaded. A guard pickles as its checkpoint.

    Attributes:
        name: hub id, ``modelscope:`` and ModelScope's id, or folder.
        device: by default `default_device`.
        dtype: of the weights; by default the checkpoint's own, but float32 on a CPU that `is_slow` in it.
        revision: branch, tag or commit on the hub.
        options: further arguments of ``from_pretrained``.
    """

    name: str
    device: str | None = None
    dtype: str | torch.dtype | None = None
    revision: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_snapshot"}  # of this machine

    @cached_property
    def _snapshot(self) -> Snapshot | None:
        """What ModelScope's client has downloaded; None for other sources. It is asked once."""
        return find_snapshot(self.name, self.revision) if is_modelscope(self.name) else None

    @property
    def _source(self) -> str:
        """What transformers loads from."""
        return str(self._snapshot.folder) if self._snapshot else self.name

    def load(self, auto_class: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Model (frozen, in eval mode, whole on its device) and tokenizer.

        Args:
            auto_class: the transformers class that builds the model, such as ``AutoModelForCausalLM``.

        Raises:
            ValueError: the checkpoint needs Python code of its own, without ``trust_remote_code=True`` in the options;
                or it lacks weights, or has some of another shape, all zero, or of layers that its config does not
                have; or a file is damaged.
            FileNotFoundError: a file is missing.
            OSError, ModuleNotFoundError: as `guard_reward.models.modelscope.find_snapshot`.
        """
        source = self._source
        if Path(source).is_dir():
            check_folder(Path(source))
        if auto_class.__name__ == "AutoModelForCausalLM":
            self._refuse_classifier()
        try:
            return self._load(auto_class)
        except ValueError as error:
            if self.name in str(error):
                raise
            raise self._unloadable(str(error).split("\n")[0]) from error  # some go on with a list of all architectures
        except LOADING_ERRORS:
            raise
        except Exception as error:  # the libraries' own classes, for what they did not expect in a file
            raise self._unloadable(f"{type(error).__name__}: {first_paragraph(error)}") from error

    def _unloadable(self, fault: str) -> ValueError:
        return ValueError(f"{self.name} could not be loaded: {fault}")

    def _load(self, auto_class: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        from transformers import AutoTokenizer

        device = torch.device(self.device) if self.device else default_device()
        # None would ask at the terminal whether to run a checkpoint's own code.
        trust = {"trust_remote_code": bool(self.options.get("trust_remote_code"))}
        snapshot, source = self._snapshot, self._source
        tokenizer = AutoTokenizer.from_pretrained(source, revision=self.revision, **trust)
        with outside_deepspeed(), _on_every_rank():
            model, loading = auto_class.from_pretrained(
                source,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are named below
                revision=self.revision,
                dtype=self.dtype or "auto",
                # Quantized weights cannot be moved later, so they are loaded onto the device.
                **({"device_map": {"": device}} if "quantization_config" in self.options else {}),
                **{**self.options, **trust},
            )
        check_weights(self.name, model, loading)
        check_vocabulary(self.name, model, tokenizer)
        if snapshot:  # as transformers does it for a checkpoint from its own hub
            model.name_or_path, model.config._commit_hash = self.name, snapshot.revision
        if "quantization_config" not in self.options:
            model = self._fast(model.to(device))
        warn_if_slow(self.name, model.dtype, model.device)
        return model.eval().requires_grad_(False), tokenizer

    def architectures(self) -> list[str]:
        """The model classes that the checkpoint's config names, as far as it can be read; no weights are loaded.

        Raises:
            ValueError: a folder whose ``config.json`` is damaged.
        """
        from transformers import PretrainedConfig

        source = self._source
        if (file := Path(source) / "config.json").is_file():
            return _checked_architectures(file, json_object(file).get("architectures"))
        try:
            config, _ = PretrainedConfig.get_config_dict(source, revision=self.revision)
        except OSError as error:  # loading says better what is wrong
            logger.debug("%s has no config that can be read: %s", self.name, error)
            return []
        return list(config.get("architectures") or ())

    def _refuse_classifier(self) -> None:
        found = self.architectures()
        if found and all(name.endswith(("Classification", "QuestionAnswering")) for name in found):
            raise ValueError(
                f"{self.name} is a classifier ({found[0]}), which writes no text; a causal language model is needed"
            )

    def _fast(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model in float32, if nobody chose a number format and its own is slow here."""
        is_quantized = getattr(model, "hf_quantizer", None) is not None
        if self.dtype is not None or is_quantized or not is_slow(model.dtype, model.device):
            return model
        logger.info("%s: float32 instead of %s, for which this CPU has no instructions", self.name, model.dtype)
        return model.float()


def _checked_architectures(file: Path, found: Any) -> list[str]:
    """The names under ``architectures`` of a config file."""
    if found is not None and not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
        raise ValueError(f"{file}: architectures should be a list of names, found {found!r}")
    return found or []


def weights_revision(config: Any, folder: str | None) -> str:
    """Which weights a model has, for the run's record: the hub's commit, else the state of the folder's files.

    Args:
        config: of the model.
        folder: where it was loaded from; None if it was built in memory.
    """
    commit: str | None = getattr(config, "_commit_hash", None)
    if commit or folder is None:
        return commit or "unknown"
    files = sorted(path for path in Path(folder).glob("*") if path.is_file())
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"files {hashlib.sha256(repr(state).encode()).hexdigest()[:12]}"


def default_device() -> torch.device:
    """This process's accelerator, by the launcher's local rank (a trainer may not have chosen it yet); else the CPU."""
    use_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    accelerator = None if use_cpu else torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device(accelerator.type, local_rank % torch.accelerator.device_count())


@contextlib.contextmanager
def _on_every_rank() -> Iterator[None]:
    """Load weights on this rank, although accelerate's FSDP plugin loads on rank 0 only and sends them on later.

    A guard's weights are not sent: on all other ranks it would silently judge with random weights.
    """
    variable = "FSDP_CPU_RAM_EFFICIENT_LOADING"
    before = os.environ.pop(variable, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[variable] = before


@contextlib.contextmanager
def outside_deepspeed() -> Iterator[None]:
    """Load models whole, although a ZeRO-3 trainer is configured in this process.

    While a ZeRO-3 config object exists, ``from_pretrained`` partitions every model over the ranks. A guard without a
    DeepSpeed engine would then fail with "weight must be 2-D". The config is restored on leaving.
    """
    from transformers.integrations import deepspeed as integration

    reference = getattr(integration, "_hf_deepspeed_config_weak_ref", None)
    config = reference() if reference is not None else None
    if config is None:
        yield
        return
    integration.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        integration.set_hf_deepspeed_config(config)
