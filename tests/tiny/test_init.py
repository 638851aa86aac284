"""The room's door: light until something is used."""

import subprocess
import sys

import pytest

import guard_reward.tiny


def test_importing_needs_no_torch():
    code = (
        "import sys, guard_reward.tiny; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'trl')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names():
    for name in guard_reward.tiny.__all__:
        assert callable(getattr(guard_reward.tiny, name))
    with pytest.raises(AttributeError, match="nothing"):
        _ = guard_reward.tiny.nothing
