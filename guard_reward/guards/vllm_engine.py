"""A vLLM engine that answers a guard's inputs, which are added while others are answered."""

from __future__ import annotations

import inspect
import itertools
import os
import threading
import weakref
from collections.abc import Hashable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from guard_reward.guards.codec import Codec
from guard_reward.guards.inputs import Window
from guard_reward.guards.served.label_log_probs import decision_log_probs
from guard_reward.guards.vllm_start import start_engine
from guard_reward.guards.vllm_watch import EngineWatch
from guard_reward.scoring import Generation

if TYPE_CHECKING:
    from vllm import LLMEngine, RequestOutput, SamplingParams

__all__ = ["Requests", "VLLMEngine"]

_MAX_LABELS = 128  # of the tokens whose log-probabilities vLLM gives
_LIKELIEST = 20  # of a vLLM that gives those of the likeliest tokens only
_numbers = itertools.count()


class VLLMEngine:
    """A running engine. Its methods are not for several threads at a time.

    Args:
        arguments: of vLLM's ``EngineArgs``.
        codec: of the guard.

    Attributes:
        pid: the process whose engine it is; in a fork of that process it must not be used.
        is_asleep: whether its accelerator's memory has been given back.
    """

    def __init__(self, arguments: Mapping[str, Any], codec: Codec):
        self._llm = start_engine(arguments)
        watch = EngineWatch(self._llm)
        self._ended = watch.ended
        self.pid = os.getpid()
        self.is_asleep = False
        self._can_sleep = bool(arguments.get("enable_sleep_mode"))
        self._codec = codec
        self._params = {kind: self._sampling_params(is_response=kind) for kind in (False, True)}
        self._stop = weakref.finalize(self, _shut_down, self._llm, watch, self.pid)  # at exit too

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of input and answer together."""
        return int(self._llm.model_config.max_model_len)

    @property
    def dtype(self) -> str:
        """Of the weights."""
        return str(self._llm.model_config.dtype).removeprefix("torch.")

    def requests(self) -> Requests:
        """For the inputs of one call."""
        return Requests(self._llm, self._params, self._codec, self._ended)

    def sleep(self) -> None:
        """Give the accelerator's memory back, if the engine can; one that has died has none."""
        if self._can_sleep and not self.is_asleep and not self._ended.is_set():
            # The cached keys and values will be lost, and not every vLLM forgets by itself that it had them.
            self._llm.reset_prefix_cache()
            self._llm.sleep(level=1)
            self.is_asleep = True

    def wake(self) -> None:
        """Undo `sleep`.

        Raises:
            RuntimeError: the engine has died.
        """
        if self.is_asleep:
            try:
                self._llm.wake_up()
            except Exception as error:
                raise _named(error, self._ended) from error
            self.is_asleep = False

    def close(self) -> None:
        """End the engine and its process."""
        self._stop()

    def _sampling_params(self, *, is_response: bool) -> SamplingParams:
        """Greedy decoding, with the log-probabilities of the labels' tokens at each place."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        labels = list(self._codec.grammar(is_response=is_response).label_token_ids)
        log_probs: dict[str, Any] = {"logprob_token_ids": labels}
        if "logprob_token_ids" not in inspect.signature(SamplingParams).parameters or len(labels) > _MAX_LABELS:
            most = self._llm.model_config.max_logprobs
            log_probs = {"logprobs": _LIKELIEST if most < 0 else min(_LIKELIEST, most)}
        return SamplingParams(
            temperature=0.0,
            repetition_penalty=1.0,
            max_tokens=self._codec.spec.max_new_tokens,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            **log_probs,
        )


class Requests:
    """The inputs of one call, on their way through an engine. On leaving, what is not answered is taken back.

    Args:
        llm: the engine.
        params: how prompts (False) and responses (True) are answered.
        codec: of the guard.
        ended: set when the engine's process has ended.
    """

    def __init__(self, llm: LLMEngine, params: Mapping[bool, SamplingParams], codec: Codec, ended: threading.Event):
        self._llm = llm
        self._params = params
        self._codec = codec
        self._ended = ended
        self._waiting: dict[str, Window] = {}  # by the request's name
        self._answers: dict[Hashable, Generation | Exception] = {}

    def __enter__(self) -> Requests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._take_back()

    def add(self, windows: Iterable[Window]) -> None:
        """Send inputs to the engine, which begins at once. One that it refuses is answered by the reason."""
        for window in windows:
            name = f"guard-reward-{next(_numbers)}"
            prompt = {"type": "token", "prompt_token_ids": window.ids.tolist()}
            try:
                _check(self._ended)
                self._llm.add_request(name, prompt, self._params[window.is_response])
            except Exception as error:
                self._answers[window.key] = _named(error, self._ended)
            else:
                self._waiting[name] = window

    def wait(self, at_most: int = 0) -> None:
        """Wait until at most so many inputs are not answered; if the engine fails, its error answers them all."""
        while len(self._waiting) > at_most:
            try:
                _check(self._ended)
                outputs = self._llm.step()
            except Exception as error:
                lost = list(self._waiting.values())
                self._take_back()
                self._answers.update((window.key, _named(error, self._ended)) for window in lost)
                return
            for output in outputs:
                if output.finished and (window := self._waiting.pop(output.request_id, None)) is not None:
                    self._answers[window.key] = self._generation(output, window)

    def answer(self, window: Window) -> Generation | Exception:
        """The answer to an input, which must have come; an exception for one that could not be answered."""
        return self._answers[window.key]

    def _generation(self, output: RequestOutput, window: Window) -> Generation | Exception:
        completion = output.outputs[0]
        if completion.finish_reason not in ("stop", "length"):
            return RuntimeError(f"vLLM ended the request before its answer ({completion.finish_reason})")
        grammar = self._codec.grammar(is_response=window.is_response)
        ids = list(completion.token_ids)
        by_id = [{token: found.logprob for token, found in place.items()} for place in completion.logprobs or []]
        found = decision_log_probs(grammar, ids, by_id)
        return Generation(ids, ended=completion.finish_reason == "stop", passes=len(ids), log_probs=found)

    def _take_back(self) -> None:
        names = list(self._waiting)
        self._waiting.clear()
        if names and not self._ended.is_set():
            try:
                self._llm.abort_request(names)
            except Exception:  # an engine that has died has nothing to take back
                return


def _check(ended: threading.Event) -> None:
    if ended.is_set():
        raise RuntimeError("its process has ended")


def _named(error: Exception, ended: threading.Event) -> Exception:
    """The error of an engine; of a dead one, what that means."""
    if type(error).__name__ != "EngineDeadError" and not ended.is_set():
        return error
    return RuntimeError(f"the guard's vLLM engine has died; close() the guard to start a new one ({error})")


def _shut_down(llm: LLMEngine, watch: EngineWatch, pid: int) -> None:
    if pid == os.getpid():  # not in a fork: the engine is the parent's
        llm.engine_core.shutdown()
        watch.stop()
