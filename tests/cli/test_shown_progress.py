"""What long commands show: a bar with the remaining time on a terminal, lines elsewhere, nothing with ``--quiet``.

All commands run for real on the tiny world, one after the other in one process, because imports take longer than they.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for package in ("trl", "plotly", "scipy", "sklearn"):
    pytest.importorskip(package)

pytestmark = pytest.mark.slow
MARK = "=== "
CHILD = """
import json, sys
from guard_reward.cli import app

def shorten_demo():
    import guard_reward.tiny.demo as demo
    short = demo.DemoSettings(steps=2, batch_size=16, evaluation_prompts=20, agreement_conversations=20)
    demo.DemoSettings = lambda: short

def shorten_speed():  # it measures this machine for a second before each turn
    import guard_reward.speed.check as check, guard_reward.speed.compare as compare
    check.matmul_rate = compare.matmul_rate = lambda *_: 1e10

shorten = {"demo": shorten_demo, "speed": shorten_speed}
for line in sys.stdin:
    name, arguments = json.loads(line)
    shorten.pop(arguments[0], lambda: None)()
    for stream in (sys.stdout, sys.stderr):
        print("=== " + name, file=stream, flush=True)
    app(arguments, standalone_mode=False)
"""


def commands(folder: Path, *more: str) -> dict[str, list[str]]:
    """The long commands, small."""
    guard = ["--guard", str(folder / "tiny" / "guard")]
    policy = ["--policy", str(folder / "tiny" / "policy"), "--max-new-tokens", "12"]
    prompts, rows = str(folder / "prompts.jsonl"), str(folder / "rows.jsonl")
    judge = ["--judge", guard[1]]
    return {
        "evaluate": ["evaluate", prompts, *policy, *judge, "--out", str(folder / "evaluated"), "--overwrite", *more],
        "select": ["select", prompts, *policy, *guard, "--out", str(folder / "selected"), "--overwrite", *more],
        "moderate": ["moderate", rows, str(folder / "judged.jsonl"), *guard, "--overwrite", *more],
        "grade": ["grade", rows, *guard, *more],
        "speed": [
            "speed",
            *guard,
            "--prompts",
            "1",
            "--group-size",
            "2",
            "--completion-tokens",
            "8",
            "--rounds",
            "1",
            *more,
        ],
        "demo": ["demo", "--out", str(folder / "demo"), *more],
        "tiny": ["tiny", str(folder / "again"), *more],
    }


def run(folder: Path, jobs: dict[str, list[str]], stderr: Any = subprocess.PIPE) -> tuple[str, str]:
    """Run commands; standard output and error. On a terminal, the second is what `stderr` gets."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        environment.pop(name, None)
    lines = "".join(json.dumps(job) + "\n" for job in jobs.items())
    command = [sys.executable, "-c", CHILD]
    options: dict[str, Any] = {"input": lines, "text": True, "env": environment, "timeout": 500}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, **options)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{(done.stderr or '')[-4000:]}"
    return done.stdout, done.stderr or ""


def by_command(text: str) -> dict[str, str]:
    """The part of each command."""
    parts = (part.partition("\n") for part in text.replace("\r\n", "\n").split(MARK)[1:])
    return {name: rest for name, _, rest in parts}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world and a few rows."""
    from guard_reward.tiny.files import write_world

    folder = tmp_path_factory.mktemp("world")
    write_world(folder / "tiny")
    lines = (folder / "tiny" / "eval.jsonl").read_text().splitlines()[:8]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    rows = [json.loads(line) for line in lines]
    rows = [{"prompt": row["prompt"], "response": "No, I can not.", "prompt_harm": row["harmful"]} for row in rows]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def piped(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What each command writes to pipes, and again with ``--quiet``."""
    jobs = commands(folder) | {f"{name} --quiet": job for name, job in commands(folder, "--quiet").items()}
    out, err = run(folder, jobs)
    return by_command(out), by_command(err)


def test_pipes_get_neither_carriage_returns_nor_escapes(piped: Any) -> None:
    for parts in piped:
        for name, text in parts.items():
            assert set(re.findall(r"[\r\x1b\x08]", text)) == set(), name


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("evaluate", r"evaluate: 8/8 prompts, \d\d:\d\d passed, 00:00 left"),
        ("select", r"select: 8/8 prompts, "),
        ("moderate", r"moderate: 8/8 rows, "),
        ("grade", r"grade: \d+/\d+ conversations, "),
        ("speed", r"round 1 of 1: \w+: 6/6 turns, "),
        ("demo", r"GRPO, hybrid: step 2/2, reward -?[\d.]+, safe \d+%, refused .*benign"),
    ],
)
def test_pipes_get_lines_with_the_progress(piped: Any, command: str, line: str) -> None:
    assert re.search(f"^{line}", piped[1][command], re.MULTILINE)
    assert len(piped[1][command].splitlines()) < 12, piped[1][command]


@pytest.mark.parametrize("noise", ["Loading weights", "torchao", "opaque value type", "Generating", "FutureWarning"])
def test_libraries_are_quiet(piped: Any, noise: str) -> None:
    assert [name for parts in piped for name, text in parts.items() if noise in text] == []


def test_quiet_shows_nothing(piped: Any) -> None:
    quiet = {name: parts[name] for parts in piped for name in parts if "--quiet" in name and parts[name].strip()}
    assert quiet == {}


def test_a_terminal_gets_bars_with_the_remaining_time(folder: Path) -> None:
    main, terminal = pty.openpty()
    parts: list[bytes] = []
    reader = threading.Thread(target=read_into, args=(main, parts.append), daemon=True)
    reader.start()
    jobs = commands(folder)
    del jobs["tiny"]  # it copies what comes with the package: there is nothing to wait for
    del jobs["demo"]  # its bar is that of tests/monitoring/test_progress.py
    run(folder, jobs, stderr=terminal)
    os.close(terminal)
    reader.join(timeout=30)
    drawn = by_command(b"".join(parts).decode())
    assert list(drawn) == list(jobs)
    for name, text in drawn.items():
        assert re.search(r"\d+/\d+ \[\d\d:\d\d<\d\d:\d\d", text), (name, text)


def read_into(descriptor: int, keep: Callable[[bytes], None]) -> None:
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            return
        if not part:
            return
        keep(part)
