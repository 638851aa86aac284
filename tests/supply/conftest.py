"""The modules of .ci, and the repository's own pins."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture
def ci(repository, monkeypatch):
    """A module of .ci by its name."""
    monkeypatch.syspath_prepend(str(repository / ".ci"))
    return importlib.import_module
