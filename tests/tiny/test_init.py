"""The package is light until something of it is used."""

import pytest

import guard_reward.tiny
from tests.processes import imported_by


def test_importing_needs_no_torch():
    heavy, _ = imported_by("import guard_reward.tiny", ("torch", "transformers", "trl"))
    assert heavy == []


def test_names():
    for name in guard_reward.tiny.__all__:
        assert callable(getattr(guard_reward.tiny, name))
    with pytest.raises(AttributeError, match="nothing"):
        _ = guard_reward.tiny.nothing
