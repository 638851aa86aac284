"""What the tests of real servers need to know of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PYTHON_VARIABLE = "GUARD_REWARD_VLLM_PYTHON"
API_KEY = "sk-of-the-tests"


def served_python() -> Path:
    """The interpreter that has vLLM; without one, the test is skipped."""
    path = os.environ.get(PYTHON_VARIABLE)
    if not path:
        pytest.skip(f"needs {PYTHON_VARIABLE}, the interpreter of an environment with vLLM: make test-served")
    return Path(path).absolute()
