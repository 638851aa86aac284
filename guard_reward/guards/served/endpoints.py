"""The requests that servers understand: what is sent for an input of the guard, and how the answer is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from guard_reward.guards.inputs import Window
from guard_reward.guards.served.answers import ServedAnswer, read_chat, read_completion, read_generate
from guard_reward.models.wrapping import wrapped

__all__ = ["ChatEndpoint", "CompletionsEndpoint", "Endpoint", "GenerateEndpoint"]


class Endpoint(Protocol):
    """One way to ask a server."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    @property
    def top(self) -> int | None:
        """How many of the likeliest tokens it asks for; None if it asks for no log-probabilities."""
        ...

    def url(self, base: str) -> str:
        """Where requests go; `base` is the server's URL, which usually ends in ``/v1``."""
        ...

    def body(self, window: Window) -> dict[str, Any]:
        """The request for an input."""
        ...

    def read(self, answer: Any) -> ServedAnswer:
        """The answer's JSON.

        Raises:
            Retriable: it is not an answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class CompletionsEndpoint:
    """OpenAI's ``/v1/completions`` with token ids as the prompt; vLLM's extensions where the server has them.

    Attributes:
        model: the guard's name at the server.
        max_tokens: of an answer.
        label_ids: tokens whose log-probabilities are wanted at each place.
        top: how many of the likeliest tokens are wanted instead, if the server does not know `label_ids`.
        is_vllm: whether the server has vLLM's extensions.
    """

    model: str
    max_tokens: int
    label_ids: Sequence[int]
    top: int | None
    is_vllm: bool
    name: str = "completions"

    def url(self, base: str) -> str:
        return f"{base}/completions"

    def body(self, window: Window) -> dict[str, Any]:
        body = {
            "model": self.model,
            "prompt": window.ids.tolist(),
            "max_tokens": self.max_tokens,
            "temperature": 0,
            **({} if self.top is None else {"logprobs": self.top}),
        }
        if self.is_vllm:
            # The checkpoint's own sampling settings, which a server may apply, would not be greedy decoding.
            body |= {"repetition_penalty": 1.0, "return_token_ids": True, "return_tokens_as_token_ids": True}
            if self.top is not None:
                body["logprob_token_ids"] = list(self.label_ids)
        return body

    def read(self, answer: Any) -> ServedAnswer:
        return read_completion(answer)


@dataclass(frozen=True, slots=True)
class GenerateEndpoint:
    """SGLang's own ``/generate``, which takes token ids and gives log-probabilities of chosen tokens.

    Attributes:
        max_tokens, label_ids: as in `CompletionsEndpoint`.
        top: none, as it asks for those of the labels only.
    """

    max_tokens: int
    label_ids: Sequence[int]
    name: str = "generate"
    top: int = 0

    def url(self, base: str) -> str:
        return f"{base.removesuffix('/v1')}/generate"

    def body(self, window: Window) -> dict[str, Any]:
        return {
            "input_ids": window.ids.tolist(),
            "sampling_params": {"temperature": 0, "max_new_tokens": self.max_tokens},
            "return_logprob": True,
            "token_ids_logprob": list(self.label_ids),
        }

    def read(self, answer: Any) -> ServedAnswer:
        return read_generate(answer)


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """OpenAI's ``/v1/chat/completions``: the server renders its own chat template.

    Attributes:
        model, max_tokens, top: as in `CompletionsEndpoint`.
        wrapping: of the guard's family (`guard_reward.GuardSpec.wrapping`).
        template_options: what the server's chat template is given; vLLM and SGLang take it.
    """

    model: str
    max_tokens: int
    top: int | None
    wrapping: Mapping[str, str] = field(default_factory=dict)
    template_options: Mapping[str, Any] = field(default_factory=dict)
    name: str = "chat"

    def url(self, base: str) -> str:
        return f"{base}/chat/completions"

    def body(self, window: Window) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": wrapped(window.turns, self.wrapping) if self.wrapping else list(window.turns),
            "max_tokens": self.max_tokens,
            "temperature": 0,
            **({} if self.top is None else {"logprobs": True, "top_logprobs": self.top}),
            **({"chat_template_kwargs": dict(self.template_options)} if self.template_options else {}),
        }

    def read(self, answer: Any) -> ServedAnswer:
        return read_chat(answer)
