"""Values as the report's tables show them."""

from __future__ import annotations

from typing import Any

import pytest

from guard_reward.report.cells import Estimate, estimate, is_rate, label, text_of


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (0.5, Estimate(0.5)),
        ({"value": 0.5, "low": 0.4, "high": 0.6}, Estimate(0.5, 0.4, 0.6)),
        ({"value": 1}, Estimate(1.0)),
        (float("nan"), None),
        ("text", None),
        (None, None),
        (True, None),  # a flag is no measurement
        ({}, None),
    ],
)
def test_estimate(cell: Any, expected: Estimate | None) -> None:
    assert estimate(cell) == expected


def test_words() -> None:
    assert is_rate("safety_rate")
    assert is_rate("refusal_rate_benign")
    assert not is_rate("helpfulness_generated")
    assert label("some_new_key") == "Some new key"
    assert text_of(["Violent", "PII"]) == "Violent, PII"
    assert text_of(-10.0) == "-10"
