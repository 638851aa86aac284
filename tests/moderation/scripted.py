"""A process that moderates a file with a scripted guard, so that a test can kill it.

python -m tests.moderation.scripted SOURCE TARGET LOG CHUNK_ROWS SECONDS_PER_CHUNK
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from guard_reward import Unjudged, Verdict
from guard_reward.moderation.moderate import moderate_file
from tests.scripted_guard import ScriptedGuard


class SlowGuard(ScriptedGuard):
    """Takes its time, and writes down the first message of every conversation that it is asked about."""

    def __init__(self, log: Path, seconds: float):
        super().__init__()
        self.log = log
        self.seconds = seconds

    def moderate(self, conversations: Sequence[list[dict[str, str]]]) -> list[Verdict | Unjudged]:
        with self.log.open("a") as file:
            file.writelines(f"{conversation[0]['content']}\n" for conversation in conversations)
        time.sleep(self.seconds)
        return super().moderate(conversations)


if __name__ == "__main__":
    source, target, log, chunk_rows, seconds = sys.argv[1:]
    moderate_file(source, target, guard=SlowGuard(Path(log), float(seconds)), chunk_rows=int(chunk_rows))
