"""Guards that faults are injected into, and what they say without one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.forwards import CONVERSATIONS, guard_like, renewed


@pytest.fixture(scope="session", params=["tiny_guard", "tiny_stream_guard"])
def kind(request: pytest.FixtureRequest) -> Any:
    """A tiny guard of each kind, which stays as it is."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def _reused(kind: Any) -> Any:
    return guard_like(kind)  # made once: each is tried out when it is made


@pytest.fixture
def guard(_reused: Any) -> Any:
    """A guard of each kind, to break."""
    return renewed(_reused)


@pytest.fixture(scope="session")
def _reused_gen(tiny_guard: Any) -> Any:
    return guard_like(tiny_guard)


@pytest.fixture
def gen_guard(_reused_gen: Any) -> Any:
    """A generative guard, to break."""
    return renewed(_reused_gen)


@pytest.fixture(scope="session")
def expected(kind: Any) -> Any:
    """What is said of the conversations without a fault."""
    return kind.moderate(CONVERSATIONS)
