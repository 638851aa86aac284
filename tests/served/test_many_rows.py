"""10,000 rows through one served guard: nothing grows, and nothing is left."""

from __future__ import annotations

import asyncio
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from guard_reward.guards.served import event_loop
from tests.guards.served.conversations import conversation
from tests.served.comparison import outcomes

pytestmark = pytest.mark.served
ROWS, ROWS_PER_CALL, WARM_UP = 10_000, 500, 2_000
MOST_GROWTH = 0.5  # MiB per 1,000 rows


def sockets(url):
    """Of this process, to the server."""
    port = urlsplit(url).port
    found = psutil.Process().net_connections("tcp")
    return sum(bool(one.raddr) and one.raddr.port == port and one.status != psutil.CONN_CLOSE_WAIT for one in found)


async def count_tasks():
    return len(asyncio.all_tasks()) - 1


def measured(url):
    return {
        "sockets": sockets(url),
        "threads": threading.active_count(),
        "tasks": event_loop.start(count_tasks()).result(),
        "MiB": psutil.Process().memory_info().rss / 2**20,
    }


def test_nothing_grows(vllm_url, connect):
    guard = connect(vllm_url)
    seen, started = {}, time.monotonic()
    for first in range(0, ROWS, ROWS_PER_CALL):
        numbers = range(first, first + ROWS_PER_CALL)
        found = guard.moderate([conversation("How do I use a lamp?", f"Take {number}.") for number in numbers])
        assert set(outcomes(found)) <= {"scored", "no_verdict"}
        seen[first + ROWS_PER_CALL] = measured(vllm_url)
    seconds = time.monotonic() - started
    later = {row: one for row, one in seen.items() if row >= WARM_UP}
    slope = float(np.polyfit([row / 1000 for row in later], [one["MiB"] for one in later.values()], 1)[0])
    print(f"{ROWS} rows in {seconds:.0f} s; {slope:.3f} MiB per 1,000 rows from row {WARM_UP}; {later}")
    assert slope < MOST_GROWTH
    assert max(one["sockets"] for one in later.values()) <= 64 + 1
    assert max(one["tasks"] for one in later.values()) == 0
    assert max(one["threads"] for one in later.values()) <= later[WARM_UP]["threads"] + 1
    guard.close()
    assert sockets(vllm_url) == 0
    assert measured(vllm_url)["tasks"] == 0
