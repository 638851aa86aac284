"""Messages of libraries that nobody can act on are left out; others, and what the user asked for, are not."""

import os
import subprocess
import sys

import pytest

from guard_reward.noise import quiet_libraries

CHILD = """
import logging, os, warnings
from guard_reward.noise import quiet_libraries
quiet_libraries()
quiet_libraries()  # a second call changes nothing
{speak}
"""
ALIAS = "`is_gradient_checkpointing` is deprecated and will be removed in v6."
ENUM = "%s is an Enum subclass and is now natively supported by torch"
PINNED = "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used."


def stderr_of(speak: str, *options: str, **variables: str) -> str:
    """What a process writes that says something after it was made quiet."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    command = [sys.executable, *options, "-c", CHILD.format(speak=speak)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.stderr


@pytest.mark.parametrize(
    ("speak", "is_heard"),
    [
        (f"warnings.warn({ALIAS!r}, FutureWarning)", False),
        (f"warnings.warn({PINNED!r})", False),
        (f"warnings.warn({ALIAS!r})", True),  # another category
        ("warnings.warn('`generate` is deprecated', FutureWarning)", True),
        ("logging.getLogger('torchao').warning('Failed to load x: y')", False),
        ("logging.getLogger('torchao').warning('Skipping import')", True),
        (f"logging.getLogger('torch.utils._pytree').warning({ENUM!r}, 1)", False),
        ("logging.getLogger('DeepSpeed').warning('Setting accelerator to CPU. If you have')", False),
        ("logging.getLogger('DeepSpeed').warning('overflow')", True),
    ],
)  # fmt: skip
def test_only_these_messages_are_left_out(speak, is_heard):
    assert bool(stderr_of(speak)) is is_heard


@pytest.mark.parametrize(
    ("options", "variables"),
    [(["-W", "default"], {}), ([], {"PYTHONWARNINGS": "always"}), (["-W", "error::FutureWarning"], {})],
)
def test_the_user_s_filters_come_first(options, variables):
    assert "FutureWarning" in stderr_of(f"warnings.warn({ALIAS!r}, FutureWarning)", *options, **variables)


@pytest.mark.parametrize(("asked", "left"), [(None, "1"), ("0", "0")])
def test_bars_of_downloads_are_off_in_a_pipe_unless_the_user_wants_them(monkeypatch, asked, left):
    names = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
    for name in names:
        monkeypatch.setenv(name, asked) if asked else monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    quiet_libraries()
    assert [os.environ[name] for name in names] == [left, left]
