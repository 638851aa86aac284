"""What is killed: `guard-reward moderate`, `select` and `evaluate` on the tiny world, and how their outputs compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from benchmarks.kill_parts.tables import Tally, compared, json_lines
from guard_reward.tiny.files import write_world
from guard_reward.tiny.world import Style, sample_reply, sample_requests

__all__ = ["Evaluate", "Job", "Moderate", "Select", "write_inputs"]


class Job(Protocol):
    """A command whose output is a folder.

    Attributes:
        launched: the command is a whole command line with processes of its own.
        kinds: of blows that it can be hit by.
    """

    launched: bool
    kinds: tuple[str, ...]

    def command(self, out: Path) -> Sequence[str]:
        """The command that writes to `out`, and that resumes."""
        ...

    def has_begun(self, out: Path) -> bool:
        """Whether there is progress in `out`."""
        ...

    def compare(self, whole: Path, out: Path) -> Tally:
        """The output in `out` with that of a run without kills."""
        ...


def write_inputs(folder: Path, rows: int, seed: int) -> None:
    """Write the tiny world, and ``replies.jsonl`` with an id, a prompt and a response in each row."""
    write_world(folder, seed)
    random = Random(seed)
    requests = sample_requests(seed, rows, harmful_share=0.5)
    with (folder / "replies.jsonl").open("w", encoding="utf-8") as file:
        for number, request in enumerate(requests):
            reply = sample_reply(random, request, random.choice(list(Style)))
            row = {"id": number, "prompt": request.text, "response": reply.text}
            file.write(json.dumps(row) + "\n")


@dataclass(frozen=True)
class Moderate:
    """``guard-reward moderate`` on ``replies.jsonl``, in chunks of 16 rows."""

    world: Path
    launched: bool = False
    kinds: tuple[str, ...] = ("moment", "operation", "write")

    def command(self, out: Path) -> Sequence[str]:
        """See `Job`."""
        files = (str(self.world / "replies.jsonl"), str(out / "judged.jsonl"))
        return ["guard-reward", "moderate", *files, *_guard(self.world), "--chunk-rows", "16", "--quiet"]

    def has_begun(self, out: Path) -> bool:
        """See `Job`."""
        return _lines(out / "judged.jsonl.journal") > 1

    def compare(self, whole: Path, out: Path) -> Tally:
        """See `Job`."""
        return _compared("judged.jsonl", ("id",), whole, out)


@dataclass(frozen=True)
class Select:
    """``guard-reward select`` of the training prompts, with two samples of each."""

    world: Path
    prompts: int
    launched: bool = False
    kinds: tuple[str, ...] = ("moment", "operation", "write")

    def command(self, out: Path) -> Sequence[str]:
        """See `Job`."""
        sampled = ["--policy", str(self.world / "policy"), "--samples", "2", "--max-new-tokens", "24"]
        return [
            "guard-reward",
            "select",
            *_prompts(self.world, self.prompts),
            *sampled,
            *_guard(self.world),
            *_out(out),
        ]

    def has_begun(self, out: Path) -> bool:
        """See `Job`."""
        return _lines(out / "selected.jsonl.journal") > 1

    def compare(self, whole: Path, out: Path) -> Tally:
        """See `Job`."""
        kept = _compared("selected.jsonl", ("prompt",), whole, out)
        rest = [_same_file(name, whole, out) for name in ("selection.json", "README.md")]
        decided = _compared("decisions.jsonl", ("prompt_id",), whole, out)
        return sum(rest, kept + decided + _compared("samples.jsonl", ("prompt_id", "sample"), whole, out))


@dataclass(frozen=True)
class Evaluate:
    """``guard-reward evaluate`` of the policy on training prompts."""

    world: Path
    prompts: int
    launched: bool = False
    kinds: tuple[str, ...] = ("moment", "operation", "write")

    def command(self, out: Path) -> Sequence[str]:
        """See `Job`."""
        sampled = ["--policy", str(self.world / "policy"), "--max-new-tokens", "24"]
        judge = ["--judge", f"tiny={self.world / 'guard'}", "--device", "cpu", "--quiet"]
        return ["guard-reward", "evaluate", *_prompts(self.world, self.prompts), *sampled, *judge, "--out", str(out)]

    def has_begun(self, out: Path) -> bool:
        """See `Job`."""
        return _lines(out / "replies.jsonl.journal") > 1

    def compare(self, whole: Path, out: Path) -> Tally:
        """See `Job`."""
        replies = _compared("replies.jsonl", ("prompt_id", "sample"), whole, out)
        return replies + _same_file("results.json", whole, out)


def _guard(world: Path) -> list[str]:
    return ["--guard", str(world / "guard"), "--device", "cpu"]


def _prompts(world: Path, count: int) -> list[str]:
    return [str(world / "train.jsonl"), "--harmful", "harmful", "--limit", str(count)]


def _out(folder: Path) -> list[str]:
    return ["--out", str(folder), "--quiet"]


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _compared(name: str, key: Sequence[str], whole: Path, out: Path) -> Tally:
    def rows(folder: Path) -> list[tuple[Any, Any]]:
        return [(json.dumps([row[part] for part in key]), row) for row in json_lines(folder / name)]

    return compared(rows(whole), rows(out))


def _same_file(name: str, whole: Path, out: Path) -> Tally:
    """A file that must have the same bytes, as one row."""
    there = [(name, (out / name).read_bytes())] if (out / name).exists() else []
    return compared([(name, (whole / name).read_bytes())], there)
