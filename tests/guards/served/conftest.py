"""The tiny guard behind a stand-in for a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from guard_reward.guards import ServedGuard, TransformersGuard
from tests.guards.served.fault_proxy import FaultProxy, faulty
from tests.guards.served.stand_in import StandIn, running


@pytest.fixture(scope="session")
def local(tiny_guard: Any) -> TransformersGuard:
    """The guard that is served, in this process."""
    return TransformersGuard(tiny_guard.model, tiny_guard.tokenizer)


@pytest.fixture(scope="session")
def server(tiny_guard: Any) -> Iterator[StandIn]:
    """A stand-in for a vLLM server."""
    with running(StandIn(TransformersGuard(tiny_guard.model, tiny_guard.tokenizer))) as found:
        yield found


@pytest.fixture
def serve(tiny_guard: Any) -> Iterator[Callable[..., StandIn]]:
    """Starts further stand-ins, with other properties."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            running(StandIn(TransformersGuard(tiny_guard.model, tiny_guard.tokenizer), **options))
        )


@pytest.fixture
def proxy(server: StandIn) -> Iterator[Callable[..., FaultProxy]]:
    """Starts proxies in front of the server, which break some requests."""
    with ExitStack() as stack:
        yield lambda fault=lambda number: None: stack.enter_context(faulty(server.url, fault))


@pytest.fixture
def connect(local: TransformersGuard) -> Iterator[Callable[..., ServedGuard]]:
    """Makes served guards, with the guard's tokenizer unless it is said otherwise; they are closed."""
    made = []

    def guard(urls: Any, **options: Any) -> ServedGuard:
        made.append(
            ServedGuard(urls, **{"model": "tiny/guard", "tokenizer": local.tokenizer, "deadline": 20, **options})
        )
        return made[-1]

    yield guard
    for one in made:
        one.close()
