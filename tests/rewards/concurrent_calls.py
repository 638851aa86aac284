"""A process that gets a pickled reward and calls it eight times at once, as asynchronous GRPO does.

python -m tests.rewards.concurrent_calls REWARD.pickle BATCHES.json

Prints one JSON line: per call, the rewards, the metrics and the columns that it logged.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import sys
from pathlib import Path
from typing import Any

from tests.rewards.helpers import Log


async def call(reward: Any, batch: dict[str, list[Any]]) -> dict[str, Any]:
    log = Log()
    arguments = {**batch, "log_metric": log.metric, "log_extra": log.extra}
    if inspect.iscoroutinefunction(type(reward).__call__):
        rewards = await reward(**arguments)
    else:  # a synchronous reward is called in a thread per group
        rewards = await asyncio.to_thread(reward, **arguments)
    return {"rewards": rewards, "metrics": log.metrics, "columns": log.columns}


async def call_all(reward: Any, batches: list[dict[str, list[Any]]]) -> list[dict[str, Any]]:
    return await asyncio.gather(*(call(reward, batch) for batch in batches))


if __name__ == "__main__":
    reward = pickle.loads(Path(sys.argv[1]).read_bytes())
    batches = json.loads(Path(sys.argv[2]).read_text())
    print(json.dumps(asyncio.run(call_all(reward, batches))))
