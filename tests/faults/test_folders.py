"""Home, caches and the folder for temporary files cannot be written: what needs none of them goes on.

A path below a regular file cannot be made by anybody, also not by root. All is tried in one process, whose start takes
longest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from guard_reward.tiny.shipped import shipped

VARIABLES = ("HOME", "HF_HOME", "XDG_CACHE_HOME", "GUARD_REWARD_CACHE", "TMPDIR", "TMP", "TEMP")
END = "--- end ---"
CODE = """
import sys, traceback
from guard_reward import GuardReward, load_guard
from guard_reward.cli import app
from guard_reward.tiny import load_tiny_guard
asked = [[{{"role": "user", "content": "How do I use a blue gravok?"}}]]
guard = load_guard({guard!r})
assert guard.moderate(asked)[0].severity == "Unsafe"
assert load_guard({stream!r}).moderate(asked)[0].severity == "Unsafe"
assert None not in GuardReward(guard)(prompts=["How do I use a blue gravok?"], completions=["Fold it."])
app(["moderate", "in.jsonl", "out.jsonl", "--guard", {guard!r}, "--quiet"], standalone_mode=False)
print({end!r}, file=sys.stderr)
try:
    load_tiny_guard(seed=1)
except Exception:
    traceback.print_exc()
print({end!r}, file=sys.stderr)
app(["select", "in.jsonl", "--out", "chosen.jsonl", "--policy", "x"])
"""


class Done(NamedTuple):
    """What the process did: its folder, and what it wrote to standard error in each of its three parts."""

    folder: Path
    status: int
    judging: str
    tiny: str
    select: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A process for which no folder but the working one can be written."""
    folder = tmp_path_factory.mktemp("nowhere")
    (folder / "file").write_text("")
    (folder / "in.jsonl").write_text('{"prompt": "How do I use a blue gravok?"}\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_", "TORCH"))}
    environment |= dict.fromkeys(VARIABLES, str(folder / "file" / "folder"))
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = CODE.format(guard=str(shipped("guard")), stream=str(shipped("stream-guard")), end=END)
    command = [sys.executable, "-c", code]
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    parts = process.stderr.split(END)
    assert len(parts) == 3, process.stderr
    return Done(folder, process.returncode, *parts)


def test_a_local_guard_judges(done: Done) -> None:
    assert "Traceback" not in done.judging
    assert '"guard_severity": "Unsafe"' in (done.folder / "out.jsonl").read_text()
    assert sorted(path.name for path in done.folder.iterdir()) == ["file", "in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("tiny", "the cache cannot be written (Not a directory): set GUARD_REWARD_CACHE to a folder that can"),
        ("select", "file/folder/datasets' cannot be written (Not a directory): set HF_HOME elsewhere"),
    ],
)
def test_what_needs_a_cache_says_which_variable_moves_it(done: Done, part: str, message: str) -> None:
    assert message in getattr(done, part).splitlines()[-1]
    assert done.status == 1
