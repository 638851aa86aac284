"""`VLLMGuard`: a guard that vLLM runs beside this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guard_reward._ahead import ahead
from guard_reward._fork_safe_lock import ForkSafeLock
from guard_reward.guards.answer_reader import AnswerReader
from guard_reward.guards.codec import Codec
from guard_reward.guards.inputs import (
    MAX_CHUNK,
    InputEncoder,
    Reading,
    Window,
    checked_rows,
    chunks,
    guard_error,
    merged_verdict,
    new_windows,
)
from guard_reward.guards.served.servable import servable_name
from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.specs import find_spec
from guard_reward.guards.vllm_engine import VLLMEngine
from guard_reward.guards.vllm_start import check_arguments, import_vllm
from guard_reward.models.chat_template import own_template
from guard_reward.models.checkpoint import checked_name, weights_revision
from guard_reward.models.modelscope import find_snapshot, is_modelscope
from guard_reward.models.precision import is_slow, warn_if_slow
from guard_reward.verdict import Conversation, Unjudged, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["VLLMGuard"]

logger = logging.getLogger(__name__)
_MAX_WAITING = 2 * MAX_CHUNK  # inputs that an engine holds
_INHERITED: list[VLLMEngine] = []  # of the process that this one was forked from, whose engines must not be ended here


class VLLMGuard:
    """A guard that vLLM runs for this process; usually made by `guard_reward.load_guard` with ``vllm:`` and its name.

    Inputs are rendered and tokenised here, as for a guard in this process, and its verdicts and probabilities are those
    of the same checkpoint in `guard_reward.TransformersGuard`. The engine has a process of its own, which ends with the
    guard, with this process (a killed one too), or at `close`; it joins no process group. Under ``torchrun`` or
    ``accelerate launch`` each rank has an engine on its own device. Beside a policy, say how much memory it may take:
    ``gpu_memory_utilization=0.3``.

    It pickles as its settings and starts an engine at first use where it arrives; a forked process also starts its own.
    Several threads may call it, one at a time is answered.

    Not supported: one engine across several ranks (``tensor_parallel_size`` above 1 needs a single process),
    ``data_parallel_size``, ``distributed_executor_backend="external_launcher"``, and AsyncGRPO on GPUs, which judges in
    a process without any; serve the guard for these (``guard-reward serve``).

    Args:
        name: hub id, folder, or ``modelscope:`` and ModelScope's id.
        spec: the guard's family; by default found by the architecture, the chat template or the name.
        dtype: of the weights; by default the checkpoint's own, but float32 on a CPU without instructions for it.
        revision: branch, tag or commit on the hub.
        **engine_arguments: of vLLM's ``EngineArgs``: ``gpu_memory_utilization``, ``max_model_len``, ``quantization``,
            …. Here ``enable_prefix_caching`` is on by default, and ``enable_sleep_mode`` where vLLM supports it.

    Raises:
        ModuleNotFoundError: without vLLM.
        ValueError: an engine argument that vLLM does not have or whose value it refuses; a tokenizer without chat
            template or with ambiguous labels.
        OSError: a folder, hub id or revision that does not exist.
        RuntimeError: the engine does not start; its log says why.

    >>> guard = VLLMGuard("Qwen/Qwen3Guard-Gen-4B", gpu_memory_utilization=0.3)               # doctest: +SKIP
    >>> guard.moderate([[{"role": "user", "content": "How do I pick a lock?"}]])[0].severity  # doctest: +SKIP
    <Severity.CONTROVERSIAL: 'Controversial'>
    """

    def __init__(
        self,
        name: str | Path,
        *,
        spec: GuardSpec | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        **engine_arguments: Any,
    ):
        self._settings = _Settings(checked_name(name), spec, dtype, revision, engine_arguments)
        self._start_empty()
        self._running()  # now: what is wrong should fail on the user's own line

    def _start_empty(self) -> None:
        self._lock = ForkSafeLock()
        self._checkpoint: _Checkpoint | None = None
        self._engine: VLLMEngine | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_empty()

    def __repr__(self) -> str:
        return f"VLLMGuard({self.name!r})"

    @property
    def name(self) -> str:
        """Hub id or folder."""
        return self._settings.name

    @property
    def spec(self) -> GuardSpec:
        """What the guard is shown and what its answers mean."""
        return self._loaded().codec.spec

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The guard's tokenizer. In another thread than the one that judges, use a copy (``copy.deepcopy``)."""
        return self._loaded().codec.tokenizer

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of input and answer together: the engine's ``max_model_len``."""
        return self._running().context_length

    def encode(self, messages: Conversation) -> list[int]:
        """Exactly what the guard sees of a conversation: the token ids of its whole input.

        Raises:
            ValueError: a conversation that cannot be shown to the guard; names the message and the fault.
        """
        return self._loaded().codec.encode(messages)

    def describe(self) -> dict[str, str]:
        """What decides the verdicts, for the run's record."""
        checkpoint = self._loaded()
        return {
            "guard": self.name,
            "revision": checkpoint.revision,
            "spec": checkpoint.codec.spec.name,
            "template_hash": checkpoint.codec.prompter.template_hash,
            "dtype": self._running().dtype,
            "vllm": str(import_vllm(self.name).__version__),
        }

    def sleep(self) -> None:
        """Give the accelerator's memory back: weights move to CPU memory, cached keys and values are dropped.

        `wake` or the next use brings them back. Nothing happens on a CPU, where vLLM has no sleep mode, with
        ``enable_sleep_mode=False``, or if the engine is not running.
        """
        with self._lock:
            self._forget_inherited()
            if self._engine is not None:
                self._engine.sleep()

    def wake(self) -> None:
        """Bring the weights back to where they were before `sleep`."""
        with self._lock:
            self._forget_inherited()
            if self._engine is not None:
                self._engine.wake()

    def close(self) -> None:
        """End the engine. Another one is started when the guard is used again."""
        with self._lock:
            self._forget_inherited()
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message; see `guard_reward.TransformersGuard.moderate`.

        While the engine answers some conversations, the next ones are encoded in another thread and added. A row that
        the engine does not answer ends as ``guard_error``, with the reason.

        Returns:
            One `Verdict` or `Unjudged` per conversation, in the same order.

        Raises:
            TypeError: not a list of conversations.
        """
        rows = checked_rows(conversations)
        if not rows:
            return []
        with self._lock:
            engine = self._running()
            try:
                engine.wake()
            except Exception as error:  # an engine that has died asleep
                return [guard_error(error) for _ in rows]
            return self._judge(rows, engine)

    def _judge(self, rows: Sequence[Any], engine: VLLMEngine) -> list[Verdict | Unjudged]:
        codec = self._loaded().codec
        readings: dict[int, list[Reading]] = {}
        windows: list[Window] = []
        made = _encoded(rows, codec.encoder(engine.context_length))
        with engine.requests() as requests, closing(ahead(made)) as encoded:
            for chunk, new in encoded:
                readings.update(chunk)
                windows.extend(new)
                requests.add(new)
                requests.wait(at_most=_MAX_WAITING)
            requests.wait()
        judged = AnswerReader(codec).read(windows, [requests.answer(window) for window in windows])
        return [merged_verdict(readings[number], judged) for number in range(len(rows))]

    def _loaded(self) -> _Checkpoint:
        """The checkpoint without its weights."""
        with self._lock:
            if self._checkpoint is None:
                self._checkpoint = self._settings.load()
            return self._checkpoint

    def _running(self) -> VLLMEngine:
        """The engine, started now if there is none; perhaps asleep."""
        with self._lock:
            self._forget_inherited()
            if self._engine is None:
                checkpoint = self._loaded()
                self._engine = VLLMEngine(checkpoint.arguments, checkpoint.codec)
            return self._engine

    def _forget_inherited(self) -> None:
        """In a fork, leave the engine to the process that it belongs to."""
        if self._engine is not None and self._engine.pid != os.getpid():
            _INHERITED.append(self._engine)
            self._engine = None


def _encoded(rows: Sequence[Any], encoder: InputEncoder) -> Iterator[tuple[Mapping[int, list[Reading]], list[Window]]]:
    """Chunk by chunk: the readings of each conversation by its number, and the windows that none before equals."""
    seen: set[Hashable] = set()
    for numbers in chunks(rows):
        found = encoder.encode([rows[number] for number in numbers])
        yield dict(zip(numbers, found, strict=True)), list(new_windows(found, seen))


@dataclass(frozen=True)
class _Checkpoint:
    """A checkpoint without its weights, which vLLM loads.

    Attributes:
        codec: of the guard.
        revision: which weights these are, for the record.
        arguments: of the engine.
    """

    codec: Codec
    revision: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class _Settings:
    """What a guard was made with."""

    name: str
    spec: GuardSpec | None
    dtype: str | torch.dtype | None
    revision: str | None
    options: dict[str, Any] = field(default_factory=dict)

    def load(self) -> _Checkpoint:
        """Find the checkpoint and read everything but its weights.

        Raises:
            ModuleNotFoundError, ValueError, OSError: see `VLLMGuard`.
        """
        import_vllm(f"vllm:{self.name}")
        servable_name(self.name)
        check_arguments(self.options)
        from transformers import AutoConfig, AutoTokenizer
        from vllm.platforms import current_platform

        snapshot = find_snapshot(self.name, self.revision) if is_modelscope(self.name) else None
        source = snapshot.folder if snapshot else self.name
        # None would ask at the terminal whether to run a checkpoint's own code.
        options = {"revision": self.revision, "trust_remote_code": bool(self.options.get("trust_remote_code"))}
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        architectures = getattr(config, "architectures", None) or []
        spec = self.spec or find_spec(self.name, own_template(tokenizer), architectures)
        # The very commit whose tokenizer this is, even if the branch moves on.
        commit = None if Path(source).is_dir() else getattr(config, "_commit_hash", None) or self.revision
        arguments = {
            "enable_prefix_caching": True,
            "enable_sleep_mode": current_platform.is_sleep_mode_available(),
            "disable_log_stats": True,
            **self.options,
            "model": source,
            "revision": commit,
            "tokenizer_revision": commit,
            "dtype": self._dtype(config, on_cpu=current_platform.is_cpu()),
        }
        revision = snapshot.revision if snapshot else weights_revision(config, source)
        return _Checkpoint(Codec.of(spec, tokenizer), revision, arguments)

    def _dtype(self, config: Any, *, on_cpu: bool) -> str:
        """The weights' number format; never vLLM's ``auto`` if it is known, which makes half precision of float32."""
        own = _torch_dtype(getattr(config.get_text_config(), "dtype", None))
        chosen = own if self.dtype in (None, "auto") else self.dtype
        cpu = torch.device("cpu")
        is_open = self.dtype is None and not hasattr(config, "quantization_config")
        if on_cpu and is_open and own is not None and is_slow(own, cpu):
            logger.info("%s: float32 instead of %s, for which this CPU has no instructions", self.name, own)
            chosen = torch.float32
        if on_cpu and (known := _torch_dtype(chosen)) is not None:
            warn_if_slow(self.name, known, cpu)
        return "auto" if chosen is None else str(chosen).removeprefix("torch.")


def _torch_dtype(value: Any) -> torch.dtype | None:
    """A number format, by its name too; None for what is none."""
    found = getattr(torch, str(value).removeprefix("torch."), None)
    return found if isinstance(found, torch.dtype) else None
