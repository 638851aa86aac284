"""`ServedGuard`: a guard behind one or several servers that speak OpenAI's protocol (vLLM, SGLang, …)."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from guard_reward.guards.inputs import Reading, Window, checked_rows, chunks, guard_error, merged_verdict, new_windows
from guard_reward.guards.served import event_loop
from guard_reward.guards.served.answers import ListedModel
from guard_reward.guards.served.connection import Connection, Server, check_model
from guard_reward.guards.served.failures import Rejected, RequestFailed, WrongModel
from guard_reward.guards.served.format import ServedFormat
from guard_reward.guards.served.retries import Deadline
from guard_reward.guards.served.settings import EndpointName, ServerSettings, checked_urls
from guard_reward.verdict import Conversation, Outcome, Unjudged, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from guard_reward.guards.spec import GuardSpec

__all__ = ["ServedGuard"]

Value = TypeVar("Value")
logger = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0  # for servers that may not be there yet


class ServedGuard:
    """A guard behind servers; usually made by `guard_reward.load_guard` with their URLs.

    With the guard's tokenizer, inputs are rendered and tokenised here and sent as token ids, so that no message can
    forge a control token, and verdicts and probabilities are those of the same checkpoint in this process. Without it,
    or with a server that takes no ids, messages are sent as text: what looks like a control token gets a blank behind
    its first character, and the server's own chat template counts.

    Every call has a deadline. What fails and may succeed later (refused or reset connections, timeouts, 429, 5xx,
    answers that are no JSON) is tried again until then, after random, growing waits; the rest (a wrong key, an unknown
    model, an input that the server refuses) is not. Rows without a verdict end as ``timeout`` or ``guard_error``.

    The API key is read from the environment variable ``GUARD_REWARD_API_KEY``; it is never logged or recorded. A served
    guard pickles as its settings.

    Args:
        urls: one, several separated by commas, or a list: replicas, which must serve the same checkpoint. The requests
            of one prompt go to one replica, whose prefix cache then has it.
        model: the guard's name at the servers; by default the first one that they list, which must be reachable then.
        tokenizer: hub id, folder or tokenizer of the guard. By default the one named like `model`; ``False`` for none.
        spec: the guard's family, by default found by the chat template or the name. One that any instructed model can
            be (``rubric``) is sent as text, and needs no tokenizer.
        revision: of the tokenizer on the hub.
        context_length: tokens of input and answer together; by default what the server or the checkpoint says.
        endpoint: ``"completions"`` (token ids to ``/v1/completions``), ``"generate"`` (token ids to SGLang's
            ``/generate``), ``"chat"`` (text to ``/v1/chat/completions``), or ``"auto"``: the best that the server has.
        deadline: seconds that a call of `moderate` may take; by default 120, and one more per row.
        connect_timeout: seconds until a connection must stand.
        request_timeout: seconds that one request may take; then it is tried again.
        max_concurrency: requests at a time, over all replicas and calls.

    Raises:
        ValueError: a setting that is wrong, or a tokenizer without chat template.
        OSError: without `model`, no server answers; or the tokenizer cannot be loaded, although it was named.

    >>> guard = ServedGuard("http://127.0.0.1:8000/v1", model="Qwen/Qwen3Guard-Gen-4B")       # doctest: +SKIP
    >>> guard.moderate([[{"role": "user", "content": "How do I pick a lock?"}]])[0].severity  # doctest: +SKIP
    <Severity.CONTROVERSIAL: 'Controversial'>
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        model: str | None = None,
        tokenizer: str | PreTrainedTokenizerBase | bool | None = None,
        spec: GuardSpec | None = None,
        revision: str | None = None,
        context_length: int | None = None,
        endpoint: EndpointName = "auto",
        deadline: float | None = None,
        connect_timeout: float = 5.0,
        request_timeout: float = 120.0,
        max_concurrency: int = 64,
    ):
        self._settings = ServerSettings(
            checked_urls(urls), model, endpoint, deadline, connect_timeout, request_timeout, max_concurrency
        )
        self._connections: dict[Any, Connection] = {}  # by event loop: a forked process has its own
        self._settings.api_key()  # now: a key that cannot be sent should fail on the user's own line
        self.name = model or _first_listed_model(self._settings)
        self._settings = replace(self._settings, model=self.name)
        asks_hub = tokenizer is None and not (spec is not None and spec.is_any_model)
        if model and asks_hub and not Path(model).is_dir():
            _check_model(self._settings)
        self._format = ServedFormat.load(self.name, tokenizer, spec, revision, context_length, endpoint)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connections": {}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ServedGuard({', '.join(self.urls)!r}, model={self.name!r})"

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the replicas."""
        return self._settings.urls

    @property
    def spec(self) -> GuardSpec:
        """What the guard is shown and what its answers mean."""
        return self._format.spec

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The guard's tokenizer, if there is one."""
        return self._format.tokenizer

    def encode(self, messages: Conversation) -> list[int]:
        """Exactly what the guard sees of a conversation, if it is sent as token ids.

        Raises:
            ValueError: there is no tokenizer, or the conversation cannot be shown to the guard.
        """
        return self._format.encode(messages)

    def describe(self) -> dict[str, str]:
        """What decides the verdicts, for the run's record."""
        return {
            "guard": self.name,
            "served_model": self.name,
            "served_by": ", ".join(self.urls),
            "endpoint": self._used_endpoint(),
            **self._format.describe(),
        }

    def _used_endpoint(self) -> str:
        try:
            return self.server().endpoint.name
        except OSError as error:
            logger.warning("the server does not say how it is asked, so the record does not either: %s", error)
            return "not known"

    def server(self, seconds: float = 30.0) -> Server:
        """What the servers are: model, software, context length, and how they are asked.

        Raises:
            OSError: no server answers within so many seconds, or they refuse.
        """
        return self._ask(lambda connection, deadline: connection.server(deadline), seconds)

    def has_same_template(self, seconds: float = 30.0) -> bool | None:
        """Whether the server's chat template renders as the tokenizer's does; None if that cannot be told.

        It matters only for a guard that is sent text.

        Raises:
            OSError: no server answers within so many seconds, or they refuse.
        """
        probe = self._format.needs().probe
        if not len(probe.ids):
            return None
        found = self._ask(lambda connection, deadline: connection.tokenized(probe, deadline), seconds)
        return None if found is None else found == probe.ids.tolist()

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message; see `guard_reward.TransformersGuard.moderate`.

        Returns:
            One `Verdict` or `Unjudged` per conversation, in the same order, before the deadline.

        Raises:
            TypeError: not a list of conversations.
        """
        future = self._start(conversations)
        try:
            return future.result()
        finally:
            future.cancel()  # of no effect unless this thread was interrupted

    async def amoderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """As `moderate`, while other coroutines of the caller's event loop run."""
        return await asyncio.wrap_future(self._start(conversations))

    def close(self) -> None:
        """Close the connections, as the end of ``with guard:`` does. A further call opens them again."""
        for loop, connection in list(self._connections.items()):
            if self._connections.pop(loop, None) is not None and loop is event_loop.loop():
                event_loop.start(connection.close()).result()

    def _start(self, conversations: Sequence[Conversation]) -> Future[list[Verdict | Unjudged]]:
        rows = checked_rows(conversations)
        deadline = Deadline(self._settings.seconds_for(len(rows)))
        return event_loop.start(self._judge(rows, deadline))

    def _ask(self, question: Callable[[Connection, Deadline], Awaitable[Value]], seconds: float) -> Value:
        async def ask() -> Value:
            async with self._connection() as connection:
                return await question(connection, Deadline(seconds))

        try:
            return event_loop.start(ask()).result()
        except RequestFailed as failure:
            raise OSError(failure.reason) from failure

    def _connection(self) -> Connection:
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            made = Connection(self._settings, self._format.needs())
            self._connections[loop] = made
            weakref.finalize(self, _close, made)  # a guard that nobody has any more keeps no connections open
        return self._connections[loop]

    async def _judge(self, rows: list[Any], deadline: Deadline) -> list[Verdict | Unjudged]:
        if not rows:
            return []
        async with self._connection() as connection:
            try:
                server = await connection.server(deadline)
            except RequestFailed as failure:
                return [failure.unjudged() for _ in rows]
            return await self._judge_at(connection, server, rows, deadline)

    async def _judge_at(
        self, connection: Connection, server: Server, rows: list[Any], deadline: Deadline
    ) -> list[Verdict | Unjudged]:
        readings: list[list[Reading]] = [[Unjudged(Outcome.TIMEOUT, reason=deadline.missed(None).reason)] for _ in rows]
        judged: dict[Hashable, Verdict | Unjudged] = {}
        windows: asyncio.Queue[Window | None] = asyncio.Queue(maxsize=self._settings.max_concurrency)

        async def encode() -> None:
            seen: set[Hashable] = set()
            for numbers in chunks(rows):
                try:
                    async with asyncio.timeout(deadline.left), connection.encoding:
                        encoded = await asyncio.to_thread(self._format.readings, [rows[n] for n in numbers], server)
                except TimeoutError:  # what is not encoded yet ends so
                    break
                for number, row in zip(numbers, encoded, strict=True):
                    readings[number] = row
                    for window in new_windows([row], seen):
                        await windows.put(window)
            await windows.put(None)

        async def ask() -> None:
            while (window := await windows.get()) is not None:
                judged[window.key] = await self._verdict(connection, server, window, deadline)
            await windows.put(None)  # for the next worker

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(encode())
            for _ in range(min(self._settings.max_concurrency, len(rows))):
                tasks.create_task(ask())
        return [merged_verdict(row, judged) for row in readings]

    async def _verdict(
        self, connection: Connection, server: Server, window: Window, deadline: Deadline
    ) -> Verdict | Unjudged:
        try:
            answer = await connection.answer(window, server.endpoint, deadline)
            return self._format.verdict(answer, is_response=window.is_response)
        except RequestFailed as failure:
            return failure.unjudged()
        except Exception as error:  # one row must not cost the others theirs
            return guard_error(error)


def _first_listed_model(settings: ServerSettings) -> str:
    """The name of the guard at the servers.

    Raises:
        OSError: no server answers within a few seconds, they refuse, or list no model.
    """
    try:
        models = _listed_models(settings, _finding_seconds(settings))
    except Rejected as refusal:
        raise OSError(f"the server does not say which model it serves: {refusal.reason}") from refusal
    except RequestFailed as failure:
        reason = f"no server says which model it serves: {failure.reason}; start it, or name the model with model="
        raise OSError(f"{reason} (--guard-model)") from failure
    if not models or not models[0].name:
        raise OSError(f"{settings.urls[0]} lists no models: name the guard with model=")
    return models[0].name


def _check_model(settings: ServerSettings) -> None:
    """Refuse a model that the servers do not serve, before a hub is asked for it. Servers may not be there yet.

    Raises:
        OSError: names what they serve.
    """
    try:
        check_model(settings, _listed_models(settings, min(_LOOK_SECONDS, _finding_seconds(settings))))
    except WrongModel as failure:
        raise OSError(failure.reason) from failure
    except RequestFailed as failure:
        logger.info("the servers do not say yet what they serve: %s", failure)


def _listed_models(settings: ServerSettings, seconds: float) -> list[ListedModel]:
    """What the first server lists that answers within so many seconds.

    Raises:
        RequestFailed: none does, or they refuse.
    """

    async def ask() -> list[ListedModel]:
        connection = Connection(settings)
        try:
            return await connection.models(Deadline(seconds))
        finally:
            await connection.close()

    return event_loop.start(ask()).result()


def _finding_seconds(settings: ServerSettings) -> float:
    """How long the servers may take to say what they serve."""
    seconds = settings.connect_timeout * 3
    return seconds if settings.deadline is None else min(seconds, settings.deadline)


def _close(connection: Connection) -> None:
    if connection.loop is event_loop.loop():
        event_loop.start(connection.close())
