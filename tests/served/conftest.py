"""Real servers of the tiny guard, each started once, and the same guard in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server_process import free_port, serving, transformers_command, vllm_command
from guard_reward.guards import ServedGuard, TransformersGuard
from tests.guards.served.fault_proxy import FaultProxy, faulty
from tests.served.servers import API_KEY, served_python


@pytest.fixture(scope="session")
def guard_folder() -> Path:
    """The checkpoint folder of the tiny guard."""
    from guard_reward.tiny import build_tiny_guard

    return build_tiny_guard().absolute()


@pytest.fixture(scope="session")
def local(tiny_guard: Any) -> TransformersGuard:
    """The guard that is served, in this process."""
    return TransformersGuard(tiny_guard.model, tiny_guard.tokenizer)


@pytest.fixture(scope="session")
def vllm_url(guard_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM server that wants a key."""
    python, port = served_python(), free_port()
    folder, key = tmp_path_factory.mktemp("vllm"), {"VLLM_API_KEY": API_KEY}
    with serving(vllm_command(python, guard_folder, port), port, folder, key) as url:
        yield url


@pytest.fixture(scope="session")
def transformers_url(guard_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of transformers."""
    python, port = served_python(), free_port()
    folder = tmp_path_factory.mktemp("transformers")
    with serving(transformers_command(python, guard_folder, port), port, folder) as url:
        yield url


@pytest.fixture(autouse=True)
def api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of vLLM's server, where the user has it."""
    monkeypatch.setenv("GUARD_REWARD_API_KEY", API_KEY)


@pytest.fixture
def connect(guard_folder: Path) -> Iterator[Callable[..., ServedGuard]]:
    """Makes served guards; they are closed."""
    with ExitStack() as stack:

        def guard(urls: Any, **options: Any) -> ServedGuard:
            made = ServedGuard(urls, **{"model": str(guard_folder), **options})
            stack.callback(made.close)
            return made

        yield guard


@pytest.fixture
def proxy(vllm_url: str) -> Iterator[Callable[..., FaultProxy]]:
    """Starts proxies in front of vLLM's server, which break some requests."""
    with ExitStack() as stack:
        yield lambda fault=lambda number: None: stack.enter_context(faulty(vllm_url, fault))
