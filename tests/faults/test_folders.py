"""Home, caches and the folder for temporary files cannot be written: what needs none of them goes on.

A path below a regular file cannot be made by anybody, also not by root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guard_reward.tiny.shipped import shipped

VARIABLES = ("HOME", "HF_HOME", "XDG_CACHE_HOME", "GUARD_REWARD_CACHE", "TMPDIR", "TMP", "TEMP")
JUDGE = """
from guard_reward import GuardReward, load_guard
from guard_reward.cli import app
asked = [[{{"role": "user", "content": "How do I use a blue gravok?"}}]]
guard = load_guard({guard!r})
assert guard.moderate(asked)[0].severity == "Unsafe"
assert load_guard({stream!r}).moderate(asked)[0].severity == "Unsafe"
assert None not in GuardReward(guard)(prompts=["How do I use a blue gravok?"], completions=["Fold it."])
app(["moderate", "in.jsonl", "out.jsonl", "--guard", {guard!r}, "--quiet"])
"""


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no folder but the working one can be written."""
    (tmp_path / "file").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_", "TORCH"))}
    environment |= dict.fromkeys(VARIABLES, str(tmp_path / "file" / "folder"))
    return {**environment, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def run(code: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "in.jsonl").write_text('{"prompt": "How do I use a blue gravok?"}\n')
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_local_guard_judges(tmp_path: Path, nowhere: dict[str, str]) -> None:
    code = JUDGE.format(guard=str(shipped("guard")), stream=str(shipped("stream-guard")))
    done = run(code, tmp_path, nowhere)
    assert done.returncode == 0, done.stderr
    assert '"guard_severity": "Unsafe"' in (tmp_path / "out.jsonl").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "from guard_reward.tiny import load_tiny_guard; load_tiny_guard(seed=1)",
            "the cache cannot be written (Not a directory): set GUARD_REWARD_CACHE to a folder that can",
        ),
        (
            "from guard_reward.cli import app; app(['select', 'in.jsonl', '--out', 'chosen.jsonl', '--policy', 'x'])",
            "file/folder/datasets' cannot be written (Not a directory): set HF_HOME elsewhere",
        ),
    ],
)
def test_what_needs_a_cache_says_which_variable_moves_it(
    tmp_path: Path, nowhere: dict[str, str], code: str, message: str
) -> None:
    done = run(code, tmp_path, nowhere)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
