"""Every number in a scheme is checked when the scheme is made."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from guard_reward.schemes import SCHEMES, Hybrid, Lagrangian, SeverityTable

NUMBERS = [
    (make, field.name)
    for make in SCHEMES.values()
    for field in fields(make)
    if isinstance(field.default, (int, float)) and field.name != "controversial"
]


def test_the_table_below_has_the_fields():
    named = {(make.__name__, name) for make, name in NUMBERS}
    assert named >= {
        ("Hybrid", "unsafe"),
        ("SeverityTable", "refusal"),
        ("Lagrangian", "window"),
        ("Boundary", "weight"),
    }
    assert len(named) == 16


@pytest.mark.parametrize(("make", "name"), NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "1", "", True, None, [1.0]])
def test_what_is_not_a_finite_number_is_refused(make, name, value):
    with pytest.raises(ValueError, match=rf"^{name} should be a (finite|whole) number, found ") as error:
        make(**{name: value})
    assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: SeverityTable(categories={"PII": float("nan")}),
            r"categories\['PII'\] should be a finite number, found",
        ),
        (
            lambda: SeverityTable(categories={"PII": -1.0, "Violent": "-3"}),
            r"categories\['Violent'\] should be .* '-3'",
        ),
        (
            lambda: SeverityTable(controversial=float("nan")),
            "controversial should be 'unsafe', 'safe' or a number, found",
        ),
        (lambda: SeverityTable(controversial=True), "controversial should be 'unsafe', 'safe' or a number, found True"),
        (lambda: SeverityTable(controversial=None), "controversial should be 'unsafe', 'safe' or a number, found None"),
    ],
)
def test_a_severity_tables_other_numbers(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "scheme",
    [
        Hybrid(unsafe=-20, refusal=np.float32(-15)),  # integers and numpy's numbers
        Lagrangian(window=np.int64(64), delay=0, multiplier=np.float64(2.0)),
        SeverityTable(safe=2, categories={"PII": np.float64(-2.5)}),
    ],
)
def test_any_kind_of_number_is_allowed(scheme):
    assert scheme.floor(0.0) < 0.0
