"""Commands that are killed at random moments and started again: are their outputs those of runs without kills?

    python benchmarks/kills.py --command moderate --kills 50 --seed 0 --json runs/kills_moderate.json
    python benchmarks/kills.py --command grpo --kills 5                            # also select, evaluate, ppo, zero3

Everything is on the tiny world and the CPU. A command runs once without a kill. Then it is started, killed, and given
again as it was, until it ends by itself; its output is compared row by row; and it begins anew in another folder until
there were enough kills. A kill comes at a random moment after the first progress, before a random operation on a file
of the output, or in the middle of a write, at a random byte (`kill_parts.blows`). The commands run in forks of a
process that has the libraries loaded; ``zero3`` under ``accelerate launch``, where all processes are killed. Exit
status 1 if a row is lost, twice or different, or if a command cannot be resumed. Needs a system with ``fork``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # so that it runs from anywhere

from benchmarks.kill_parts.attempts import Attempt, attempt, load  # noqa: E402
from benchmarks.kill_parts.blows import Reach, draw  # noqa: E402
from benchmarks.kill_parts.jobs import Evaluate, Job, Moderate, Select, write_inputs  # noqa: E402
from benchmarks.kill_parts.tables import Tally  # noqa: E402
from benchmarks.kill_parts.trainings import Training  # noqa: E402

COMMANDS = ("moderate", "select", "evaluate", "grpo", "ppo", "zero3")
_MOST_KILLS = 4  # of one output, before it may end
_COMPLETE = "exists: use --overwrite"  # killed between its last row and its exit


@dataclass
class Found:
    """What has happened.

    Attributes:
        kills: how often a command was killed, by kind.
        resumes: how often it was given again after a kill.
        outputs: that were finished and compared.
        complete_already: outputs that were whole when the command was killed, so it refused to replace them.
        tally: of all outputs together.
        failures: what a command said that could not be resumed.
        passed_over: checkpoints that were not whole, which a training has named and passed over.
        leftovers: temporary files in finished outputs.
        seconds: of the whole benchmark.
    """

    kills: Counter[str] = field(default_factory=Counter)
    resumes: int = 0
    outputs: int = 0
    complete_already: int = 0
    tally: Tally = field(default_factory=Tally)
    failures: list[str] = field(default_factory=list)
    passed_over: int = 0
    leftovers: int = 0
    seconds: float = 0.0

    def to_json(self, command: str, seed: int) -> dict[str, Any]:
        """The numbers as JSON values."""
        return {
            "command": command,
            "seed": seed,
            "kills": self.kills.total(),
            "kills_by_kind": dict(sorted(self.kills.items())),
            "resumes": self.resumes,
            "outputs": self.outputs,
            "complete_already": self.complete_already,
            "rows": self.tally.rows,
            "rows_lost": self.tally.lost,
            "rows_twice": self.tally.twice,
            "rows_different": self.tally.different,
            "examples": self.tally.examples,
            "checkpoints_passed_over": self.passed_over,
            "leftovers": self.leftovers,
            "failures": self.failures,
            "seconds": round(self.seconds, 1),
        }


def measure(job: Job, folder: Path, kills: int, seed: int) -> Found:
    """Kill a job until there were enough kills, and compare every output."""
    start, random, found = time.perf_counter(), Random(seed), Found()
    whole = folder / "whole"
    unbroken = attempt(job.command(whole), whole, None, lambda: job.has_begun(whole), launched=job.launched)
    if unbroken.status:
        raise SystemExit(f"the command fails without a kill:\n{unbroken.said[-3000:]}")
    load(unbroken.modules)
    reach = Reach(unbroken.worked, unbroken.operations, unbroken.size)
    while found.kills.total() < kills and not found.failures:
        out = folder / f"out-{found.outputs}"
        until = min(kills - found.kills.total(), random.randint(1, _MOST_KILLS))
        last = _killed_and_resumed(job, out, reach, until, random, found)
        found.complete_already += _COMPLETE in last.said
        if last.status and _COMPLETE not in last.said:
            found.failures.append(last.said[-3000:])
            break
        found.outputs += 1
        found.tally += job.compare(whole, out)
        found.leftovers += len(list(out.rglob("*.part")))
        shutil.rmtree(out)
    found.seconds = time.perf_counter() - start
    return found


def _killed_and_resumed(job: Job, out: Path, reach: Reach, kills: int, random: Random, found: Found) -> Attempt:
    """Start a job and kill it until it has ended by itself; how it has ended."""
    done, was_killed = 0, False
    while True:
        blow = draw(random, reach, job.kinds) if done < kills else None
        one = attempt(job.command(out), out, blow, lambda: job.has_begun(out), launched=job.launched)
        found.resumes += was_killed
        found.passed_over += one.said.count(": skipped")
        if not one.was_killed:
            return one
        assert blow is not None, "it was killed by something else"
        was_killed = True
        done += 1
        found.kills[blow.kind] += 1


def job_named(name: str, world: Path, rows: int) -> Job:
    """The job of a command, its input made."""
    write_inputs(world, rows, seed=0)
    jobs: dict[str, Callable[[], Job]] = {
        "moderate": lambda: Moderate(world),
        "select": lambda: Select(world, rows),
        "evaluate": lambda: Evaluate(world, rows),
        "grpo": lambda: Training("grpo", world, steps=8),
        "ppo": lambda: Training("ppo", world, steps=8),
        "zero3": lambda: Training("grpo", world, steps=4, launched=True, kinds=("moment",)),
    }
    return jobs[name]()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", choices=COMMANDS, default="moderate")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rows", type=int, default=400, help="Rows to moderate; prompts to select from or evaluate on."
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = job_named(options.command, Path(folder) / "world", options.rows)
        found = measure(job, Path(folder), options.kills, options.seed).to_json(options.command, options.seed)
    text = json.dumps(found, indent=2)
    print(text)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")
    raise SystemExit(bool(found["failures"] or found["examples"]))


if __name__ == "__main__":
    main()
