"""A guard's servers as this process knows them: open connections, which replicas answer, what they understand."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from guard_reward.guards.inputs import Window
from guard_reward.guards.served.answers import ListedModel, ServedAnswer, read_models, read_tokens
from guard_reward.guards.served.endpoints import ChatEndpoint, CompletionsEndpoint, Endpoint, GenerateEndpoint
from guard_reward.guards.served.failures import Garbled, Rejected, Retriable, WrongModel
from guard_reward.guards.served.replicas import Replica, Replicas
from guard_reward.guards.served.requests import request_json
from guard_reward.guards.served.retries import Deadline, answer_of
from guard_reward.guards.served.settings import ServerSettings

__all__ = ["Connection", "Needs", "Server", "check_model"]

logger = logging.getLogger(__name__)
_KEEP_ALIVE = 4.0  # seconds; uvicorn, which vLLM and SGLang use, closes an idle connection after 5
_BROKEN, _TRIES = 500, 3  # `transformers serve` fails so, while it answers all else
_TOPS = (20, 5, None)  # how many of the likeliest tokens are asked for: vLLM's limit, OpenAI's, none


@dataclass(frozen=True, slots=True)
class Needs:
    """What a guard needs of a server.

    Attributes:
        max_tokens: of an answer.
        label_ids: tokens whose log-probabilities it needs; empty without a tokenizer.
        probe: a short input, by which it is found out what a server understands.
        sends_ids: whether inputs have token ids.
        has_own_template: whether its chat template is not the checkpoint's, so that no server can render it.
        wrapping, template_options: see `ChatEndpoint`.
    """

    max_tokens: int
    label_ids: tuple[int, ...]
    probe: Window
    sends_ids: bool
    has_own_template: bool = False
    wrapping: Mapping[str, str] = field(default_factory=dict)
    template_options: Mapping[str, Any] = field(default_factory=dict)


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
        self._users, self._is_closing = 0, False
        self._client = httpx.AsyncClient(
            # Reading has no timeout of its own: the whole request has one.
            timeout=httpx.Timeout(None, connect=settings.connect_timeout),
            limits=httpx.Limits(
                max_connections=settings.max_concurrency + 1,
                max_keepalive_connections=settings.max_concurrency,
                keepalive_expiry=_KEEP_ALIVE,
            ),
        )

    async def __aenter__(self) -> Connection:
        self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._users -= 1
        await self._close_if_unused()

    async def close(self) -> None:
        """Close all connections, as soon as no call needs them any more."""
        self._is_closing = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._is_closing and not self._users:
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
                if broken < _TRIES or not self.settings.model:
                    raise
                raise Rejected(failure.reason, status=failure.status) from failure

        return await answer_of(self.replicas, b"models", ask, deadline, is_probe=True)

    async def server(self, deadline: Deadline) -> Server:
        """What the servers are; found out once.

        Raises:
            RequestFailed: no server answers before the deadline, or they refuse.
        """
        try:
            async with asyncio.timeout(deadline.left):
                await self._finding.acquire()  # another call may be finding out
        except TimeoutError as error:
            raise deadline.missed(None) from error
        try:
            if self._server is None:
                self._server = await self._find_server(deadline)
            return self._server
        finally:
            self._finding.release()

    async def tokenized(self, window: Window, deadline: Deadline) -> list[int] | None:
        """An input's token ids as the server's own chat template makes them; None if it does not tell.

        Raises:
            RequestFailed: there is no answer before the deadline.
        """
        server = await self.server(deadline)
        assert self.needs is not None
        chat = ChatEndpoint(server.model, 1, None, self.needs.wrapping, self.needs.template_options).body(window)
        body = {name: chat[name] for name in ("model", "messages", "chat_template_kwargs") if name in chat}

        async def ask(replica: Replica) -> list[int]:
            url = f"{replica.url.removesuffix('/v1')}/tokenize"
            return read_tokens(await self._request("POST", url, deadline, body))

        try:
            return await answer_of(self.replicas, b"tokenize", ask, deadline, is_probe=True)
        except Rejected:  # only vLLM has it
            return None

    async def answer(self, window: Window, endpoint: Endpoint, deadline: Deadline) -> ServedAnswer:
        """The guard's answer to an input.

        Raises:
            RequestFailed: there is none before the deadline, or the servers refuse.
        """
        body = endpoint.body(window)

        async def ask(replica: Replica) -> ServedAnswer:
            return await self._answer(replica, endpoint, deadline, body)

        return await answer_of(self.replicas, _prompt_key(window), ask, deadline)

    async def _answer(self, replica: Replica, endpoint: Endpoint, deadline: Deadline, body: Any) -> ServedAnswer:
        async with self._slots:
            answer = endpoint.read(await self._request("POST", endpoint.url(replica.url), deadline, body))
        if self.needs is not None and answer.is_longer_than(self.needs.max_tokens):
            raise Garbled(f"{replica.url}: the answer is longer than the {self.needs.max_tokens} tokens asked for")
        return answer

    async def _request(self, method: str, url: str, deadline: Deadline, body: Any = None) -> Any:
        seconds = min(self.settings.request_timeout, deadline.left)
        try:
            key = self.settings.api_key()
        except ValueError as error:
            raise Rejected(str(error)) from error
        return await request_json(self._client, method, url, body=body, seconds=seconds, api_key=key)

    async def _find_server(self, deadline: Deadline) -> Server:
        listed = await self._listed_models(deadline)
        name = self.settings.model
        assert name is not None
        check_model(self.settings, listed)
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
        chat = [ChatEndpoint(name, needs.max_tokens, top, needs.wrapping, needs.template_options) for top in _TOPS]

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
                if needs.has_own_template:
                    raise
                logger.warning(
                    "the server takes no token ids (%s): it renders and tokenises messages itself, with blanks in what "
                    "looks like a control token",
                    refusal.reason,
                )
        return await self._first_understood(chat, deadline)

    async def _probe(self, endpoint: Endpoint, deadline: Deadline) -> ServedAnswer:
        """The answer to a short input.

        Raises:
            RequestFailed: as `answer`; a server that gives no answer of this endpoint's form a few times refuses it.
        """
        assert self.needs is not None
        body, garbled = endpoint.body(self.needs.probe), 0

        async def ask(replica: Replica) -> ServedAnswer:
            nonlocal garbled
            try:
                return await self._answer(replica, endpoint, deadline, body)
            except Garbled as failure:
                garbled += 1
                if garbled < _TRIES:
                    raise
                raise Rejected(failure.reason) from failure

        return await answer_of(self.replicas, b"probe", ask, deadline, is_probe=True)

    async def _understands(self, endpoint: Endpoint, deadline: Deadline) -> bool:
        try:
            await self._probe(endpoint, deadline)
        except Rejected:
            return False
        return True

    async def _first_understood(self, endpoints: Sequence[Endpoint], deadline: Deadline) -> Endpoint:
        """The first endpoint that the servers understand; the later ones ask for less."""
        refusals: list[Rejected] = []
        for endpoint in endpoints:
            try:
                answer = await self._probe(endpoint, deadline)
            except Rejected as refusal:
                refusals.append(refusal)
                if refusal.status in (401, 403):
                    break
            else:
                if not answer.has_log_probs:  # not asked for, or left out without a word
                    logger.warning("the server gives no log-probabilities: verdicts have no probabilities")
                return endpoint
        raise refusals[0]


def check_model(settings: ServerSettings, listed: Sequence[ListedModel]) -> None:
    """Refuse a model that the server does not list, if it is one that lists all its models.

    Raises:
        WrongModel: names those that it lists.
    """
    names = [model.name for model in listed]
    if listed and listed[0].owner in ("vllm", "sglang") and settings.model not in names:
        url, found = settings.urls[0], ", ".join(names)
        raise WrongModel(f"{url} serves {found}, not {settings.model!r}: check model= (--guard-model)")


def _prompt_key(window: Window) -> bytes:
    """The same for all completions of a prompt, in every process."""
    context = [(turn["role"], turn["content"]) for turn in window.turns[:-1]] or window.turns[-1]["content"]
    return hashlib.blake2b(json.dumps(context).encode(), digest_size=16).digest()
