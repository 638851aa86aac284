"""A guard's servers as this process knows them: open connections, which replicas answer, what they understand."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.guards.inputs import Window
from guard_reward.guards.served.answers import ListedModel, ServedAnswer, read_models, read_tokens
from guard_reward.guards.served.endpoints import ChatEndpoint, CompletionsEndpoint, Endpoint, GenerateEndpoint
from guard_reward.guards.served.failures import Garbled, Rejected, Retriable
from guard_reward.guards.served.replicas import Replica, Replicas
from guard_reward.guards.served.requests import request_json
from guard_reward.guards.served.retries import Deadline, answer_of
from guard_reward.guards.served.settings import ServerSettings

__all__ = ["Connection", "Needs", "Server"]

logger = logging.getLogger(__name__)
_KEEP_ALIVE = 4.0  # seconds; uvicorn, which vLLM and SGLang use, closes an idle connection after 5
_BROKEN, _TRIES_OF_A_BROKEN_LIST = 500, 3  # `transformers serve` fails so, while it answers all else
_TOPS = (20, 5, None)  # how many of the likeliest tokens are asked for: vLLM's limit, OpenAI's, none


@dataclass(frozen=True, slots=True)
class Needs:
    """What a guard needs of a server.

    Attributes:
        max_tokens: of an answer.
        label_ids: tokens whose log-probabilities it needs; empty without a tokenizer.
        probe: a short input, by which it is found out what a server understands.
        sends_ids: whether inputs have token ids.
    """

    max_tokens: int
    label_ids: tuple[int, ...]
    probe: Window
    sends_ids: bool


@dataclass(frozen=True, slots=True)
class Server:
    """What the servers are.

    Attributes:
        model: the guard's name there.
        owner: their software, if they say: ``vllm``, ``sglang``, …
        context_length: tokens of input and answer together; None if they do not say.
        endpoint: how they are asked.
    """

    model: str
    owner: str
    context_length: int | None
    endpoint: Endpoint


class Connection:
    """Asks the servers of one guard. All its methods run in one event loop.

    Args:
        settings: where the servers are, and how long they may take.
        needs: of the guard; None to ask for the models only.
    """

    def __init__(self, settings: ServerSettings, needs: Needs | None = None):
        import httpx

        self.settings = settings
        self.needs = needs
        self.loop = asyncio.get_running_loop()
        self.replicas = Replicas(settings.urls)
        self.encoding = asyncio.Lock()  # a tokenizer may be used by one thread at a time
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        self._finding = asyncio.Lock()
        self._server: Server | None = None
        self._client = httpx.AsyncClient(
            # Reading has no timeout of its own: the whole request has one.
            timeout=httpx.Timeout(None, connect=settings.connect_timeout),
            limits=httpx.Limits(
                max_connections=settings.max_concurrency + 1,
                max_keepalive_connections=settings.max_concurrency,
                keepalive_expiry=_KEEP_ALIVE,
            ),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def models(self, deadline: Deadline) -> list[ListedModel]:
        """What the first server lists that answers.

        Raises:
            RequestFailed: no server answers before the deadline, or they refuse.
        """

        broken = 0

        async def ask(replica: Replica) -> list[ListedModel]:
            nonlocal broken
            try:
                return read_models(await self._request("GET", f"{replica.url}/models", deadline))
            except Garbled:
                if self.settings.model is None:
                    raise
                return []  # a server that lists none; its answers will tell what it is
            except Retriable as failure:
                broken += failure.status == _BROKEN
                if broken < _TRIES_OF_A_BROKEN_LIST or not self.settings.model:
                    raise
                raise Rejected(failure.reason, status=failure.status) from failure

        return await answer_of(self.replicas, b"models", ask, deadline)

    async def server(self, deadline: Deadline) -> Server:
        """What the servers are; found out once.

        Raises:
            RequestFailed: no server answers before the deadline, or they refuse.
        """
        async with self._finding:
            if self._server is None:
                self._server = await self._find_server(deadline)
            return self._server

    async def tokenized(self, window: Window, deadline: Deadline) -> list[int] | None:
        """An input's token ids as the server's own chat template makes them; None if it does not tell.

        Raises:
            RequestFailed: there is no answer before the deadline.
        """
        server = await self.server(deadline)
        body = {"model": server.model, "messages": list(window.turns)}

        async def ask(replica: Replica) -> list[int]:
            url = f"{replica.url.removesuffix('/v1')}/tokenize"
            return read_tokens(await self._request("POST", url, deadline, body))

        try:
            return await answer_of(self.replicas, b"tokenize", ask, deadline)
        except Rejected:  # only vLLM has it
            return None

    async def answer(self, window: Window, endpoint: Endpoint, deadline: Deadline) -> ServedAnswer:
        """The guard's answer to an input.

        Raises:
            RequestFailed: there is none before the deadline, or the servers refuse.
        """
        body = endpoint.body(window)

        async def ask(replica: Replica) -> ServedAnswer:
            async with self._slots:
                return endpoint.read(await self._request("POST", endpoint.url(replica.url), deadline, body))

        return await answer_of(self.replicas, _prompt_key(window), ask, deadline)

    async def _request(self, method: str, url: str, deadline: Deadline, body: Any = None) -> Any:
        seconds = min(self.settings.request_timeout, deadline.left)
        return await request_json(
            self._client, method, url, body=body, seconds=seconds, api_key=self.settings.api_key()
        )

    async def _find_server(self, deadline: Deadline) -> Server:
        listed = await self._listed_models(deadline)
        name = self.settings.model or (listed[0].name if listed else "")
        if not name:
            raise Rejected(f"{self.settings.urls[0]} lists no models: name one with model=")
        found = next((model for model in listed if model.name == name), ListedModel(name))
        owner = found.owner or (listed[0].owner if listed else "")
        endpoint = await self._find_endpoint(name, owner, deadline)
        logger.info("the guard %s at %s is asked at %s", name, ", ".join(self.settings.urls), endpoint.name)
        return Server(name, owner, found.context_length, endpoint)

    async def _listed_models(self, deadline: Deadline) -> list[ListedModel]:
        """Empty for servers that list none."""
        try:
            return await self.models(deadline)
        except Rejected as refusal:
            if refusal.status in (404, 405, 501, _BROKEN) and self.settings.model:
                return []
            raise

    async def _find_endpoint(self, name: str, owner: str, deadline: Deadline) -> Endpoint:
        """The endpoint that the user chose, or the best one that the servers understand."""
        needs, wish = self.needs, self.settings.endpoint
        assert needs is not None
        generate = GenerateEndpoint(needs.max_tokens, needs.label_ids)
        if wish == "generate" or (wish == "auto" and owner == "sglang" and needs.sends_ids):
            return generate

        # vLLM's extensions first: behind a proxy it may call itself otherwise, and others ignore or refuse them.
        completions = [
            CompletionsEndpoint(name, needs.max_tokens, needs.label_ids, top, is_vllm=is_vllm)
            for is_vllm, top in ((True, _TOPS[0]), *((False, top) for top in _TOPS))
        ]
        chat = [ChatEndpoint(name, needs.max_tokens, top) for top in _TOPS]

        if wish == "completions":
            return await self._first_understood(completions, deadline)
        if wish == "auto" and needs.sends_ids:
            try:
                return await self._first_understood(completions, deadline)
            except Rejected as refusal:
                if refusal.status in (401, 403):
                    raise
                if await self._understands(generate, deadline):  # SGLang behind its router
                    return generate
                logger.warning(
                    "the server takes no token ids (%s): it renders and tokenises messages itself, with blanks in what "
                    "looks like a control token",
                    refusal.reason,
                )
        return await self._first_understood(chat, deadline)

    async def _understands(self, endpoint: Endpoint, deadline: Deadline) -> bool:
        assert self.needs is not None
        try:
            await self.answer(self.needs.probe, endpoint, deadline)
        except Rejected:
            return False
        return True

    async def _first_understood(self, endpoints: Sequence[Endpoint], deadline: Deadline) -> Endpoint:
        """The first endpoint that the servers understand; the later ones ask for less."""
        assert self.needs is not None
        refusals: list[Rejected] = []
        for endpoint in endpoints:
            try:
                answer = await self.answer(self.needs.probe, endpoint, deadline)
            except Rejected as refusal:
                refusals.append(refusal)
                if refusal.status in (401, 403):
                    break
            else:
                if not answer.has_log_probs:  # not asked for, or left out without a word
                    logger.warning("the server gives no log-probabilities: verdicts have no probabilities")
                return endpoint
        raise refusals[0]


def _prompt_key(window: Window) -> bytes:
    """The same for all completions of a prompt, in every process."""
    context = [(turn["role"], turn["content"]) for turn in window.turns[:-1]] or window.turns[-1]["content"]
    return hashlib.blake2b(json.dumps(context).encode(), digest_size=16).digest()
