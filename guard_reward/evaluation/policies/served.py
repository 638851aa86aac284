"""A policy behind an OpenAI-compatible server: vLLM, SGLang, ``transformers serve`` or another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from guard_reward.errors import one_line
from guard_reward.evaluation.policies.replies import Prompt, Reply
from guard_reward.guards.served import event_loop
from guard_reward.guards.served.connection import Connection
from guard_reward.guards.served.failures import Garbled, Rejected, RequestFailed
from guard_reward.guards.served.replicas import Replica, Replicas
from guard_reward.guards.served.requests import request_json
from guard_reward.guards.served.retries import Deadline, answer_of
from guard_reward.guards.served.settings import ServerSettings, checked_urls
from guard_reward.thinking import split_thinking

if TYPE_CHECKING:
    import httpx

__all__ = ["ServedPolicy"]

_BASE_SECONDS, _SECONDS_PER_REPLY = 600.0, 5.0
_TRIES = 3  # of an answer that is none


class _Message(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Answer(BaseModel):
    choices: list[_Choice]


class ServedPolicy:
    """Asks ``/v1/chat/completions`` for one reply per prompt, with a seed of its own each.

    Args:
        urls: of one server, or of several replicas (separated by commas).
        model: the name that the servers know the policy by; by default the first that they list.
        max_new_tokens: at which a reply is cut off.
        temperature: of sampling.
        template_kwargs: for the chat template, such as ``{"enable_thinking": False}``.
        deadline: seconds that one call of `reply` may take; by default 600, and 5 more per reply.
        max_concurrency: requests at a time.

    The servers' API key is read from the environment variable ``GUARD_REWARD_API_KEY``.

    Raises:
        ValueError: a URL that is none, or a number out of range.
        OSError: no model was named, and no server says which it has.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        model: str | None = None,
        max_new_tokens: int = 512,
        temperature: float = 1.0,
        template_kwargs: Mapping[str, Any] | None = None,
        deadline: float | None = None,
        max_concurrency: int = 64,
    ):
        self._settings = ServerSettings(
            checked_urls(urls), model=model, deadline=deadline, request_timeout=600.0, max_concurrency=max_concurrency
        )
        self.max_new_tokens, self.temperature = max_new_tokens, temperature
        self.template_kwargs = dict(template_kwargs or {})
        self.name = model or self._first_listed()

    def reply(self, prompts: Sequence[Prompt], *, seed: int) -> list[Reply]:
        """One reply per prompt; see `guard_reward.evaluation.policies.replies.Policy`."""
        seconds = self._settings.deadline or _BASE_SECONDS + _SECONDS_PER_REPLY * len(prompts)
        future = event_loop.start(self._replies(prompts, seed, Deadline(seconds)))
        try:
            return future.result()
        finally:
            future.cancel()  # of no effect unless this thread was interrupted

    def with_template(self, template_kwargs: Mapping[str, Any]) -> ServedPolicy:
        """The same policy under other arguments of its chat template."""
        other = copy(self)
        other.template_kwargs = dict(template_kwargs)
        return other

    def describe(self) -> dict[str, str]:
        """What decides the replies."""
        return {
            "policy": self.name,
            "served_by": ", ".join(self._settings.urls),
            "max_new_tokens": str(self.max_new_tokens),
            "temperature": str(self.temperature),
            "template_kwargs": str(self.template_kwargs),
        }

    def _first_listed(self) -> str:
        async def ask() -> str:
            async with Connection(self._settings) as connection:
                try:
                    models = await connection.models(Deadline(30.0))
                finally:
                    await connection.close()
            if not models:
                raise RequestFailed(f"{self._settings.urls[0]} lists no model: name it")
            return models[0].name

        try:
            return event_loop.start(ask()).result()
        except RequestFailed as failure:
            raise OSError(failure.reason) from failure

    async def _replies(self, prompts: Sequence[Prompt], seed: int, deadline: Deadline) -> list[Reply]:
        import httpx

        replicas = Replicas(self._settings.urls)
        slots = asyncio.Semaphore(self._settings.max_concurrency)
        timeout = httpx.Timeout(None, connect=self._settings.connect_timeout)
        limits = httpx.Limits(max_connections=self._settings.max_concurrency)

        async def reply(number: int, prompt: Prompt) -> Reply:
            try:
                async with slots:
                    return await self._reply(client, replicas, prompt, (seed + number) % 2**31, deadline)
            except RequestFailed as failure:
                return Reply(error=failure.reason)

        async with httpx.AsyncClient(timeout=timeout, limits=limits) as client:
            return await asyncio.gather(*(reply(*one) for one in enumerate(prompts)))

    async def _reply(
        self, client: httpx.AsyncClient, replicas: Replicas, prompt: Prompt, seed: int, deadline: Deadline
    ) -> Reply:
        """One reply.

        Raises:
            RequestFailed: there is none before the deadline, or the servers refuse.
        """
        body = self._body(prompt, seed)

        garbled = 0

        async def ask(replica: Replica) -> Reply:
            nonlocal garbled
            answer = await request_json(
                client,
                "POST",
                f"{replica.url}/chat/completions",
                body=body,
                seconds=min(self._settings.request_timeout, max(deadline.left, 0.001)),
                api_key=self._settings.api_key(),
            )
            try:
                return _read(answer)
            except Garbled as failure:
                garbled += 1
                if garbled < _TRIES:
                    raise
                raise Rejected(failure.reason) from failure

        return await answer_of(replicas, json.dumps(body["messages"]).encode(), ask, deadline)

    def _body(self, prompt: Prompt, seed: int) -> dict[str, Any]:
        begun = {"add_generation_prompt": False, "continue_final_message": True}
        return {
            "model": self.name,
            "messages": [dict(message) for message in prompt],
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
            "seed": seed,
            **({"chat_template_kwargs": self.template_kwargs} if self.template_kwargs else {}),
            **(begun if prompt[-1]["role"] == "assistant" else {}),
        }


def _read(answer: Any) -> Reply:
    """The first choice of a server's answer.

    Raises:
        Garbled: it is not one.
    """
    try:
        choices = _Answer.model_validate(answer).choices
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Garbled(f"the answer is no chat completion: {place}: {one_line(first['msg'])}") from error
    if not choices:
        raise Garbled("the answer is no chat completion: it has no choices")
    message = choices[0].message
    parsed = message.reasoning_content if message.reasoning_content is not None else message.reasoning
    text = message.content or ""
    # Without a parser at the server the tags are in the text.
    thinking, reply = (parsed, text) if parsed is not None else split_thinking(text)
    reason = choices[0].finish_reason
    return Reply(reply, thinking, None if reason is None else reason == "length")
