"""Public texts that nobody disguised: hardly any has a view, none is degenerate."""

from __future__ import annotations

import json

import pytest

from guard_reward.text.degenerate import degenerate
from guard_reward.text.views import views

SAMPLE = 600


@pytest.fixture(scope="module")
def texts(shared_dir):
    """Some of the different texts, from all over the files."""
    rows = (
        json.loads(line)
        for path in sorted((shared_dir / "data").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    found = sorted({row[column] for row in rows for column in ("prompt", "response") if row[column]})
    return found[:: max(len(found) // SAMPLE, 1)]


def test_hardly_any_is_degenerate(texts):
    found = {text[:80]: reason for text in texts if (reason := degenerate(text)) is not None}
    assert len(found) <= 0.001 * len(texts), found


def test_hardly_any_has_a_view(texts):
    found = {text[:80]: forms for text in texts if (forms := views(text))}
    assert len(found) <= 0.01 * len(texts), found
