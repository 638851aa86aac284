"""Every number in a scheme is checked when the scheme is made."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from guard_reward.schemes import SCHEMES, Hybrid, Lagrangian, SafeCompletion, SeverityTable, Soft, make_scheme

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
    assert len(named) == 20


@pytest.mark.parametrize(("make", "name"), NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "1", "", True, None, [1.0], 1j])
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


SINGLE = [(make, name) for make, name in NUMBERS if (make, name) not in [(Lagrangian, "window"), (Lagrangian, "delay")]]


@pytest.mark.parametrize(("make", "name"), SINGLE)
@pytest.mark.parametrize("value", [1e19, -1e39, 1e308, -(10**20)])
def test_what_is_infinite_in_a_trainers_single_precision_is_refused(make, name, value):
    with pytest.raises(ValueError, match=rf"^{name} should be from -1e\+18 to 1e\+18, found ") as error:
        make(**{name: value})
    assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize(("make", "name"), SINGLE)
def test_an_integer_that_no_float_can_hold_is_refused(make, name):
    with pytest.raises(ValueError, match=f"^{name} should be a finite number, found 1000"):
        make(**{name: 10**400})


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SafeCompletion((NAN, 1.0)), "helpfulness_range should be two numbers, low < high, found"),
        (lambda: SafeCompletion((0.0, INF)), "helpfulness_range should be two numbers, low < high, found"),
        (lambda: SafeCompletion((0.0, 10**400)), "helpfulness_range should be two numbers, low < high, found"),
        (lambda: SafeCompletion((-1e308, 1e308)), r"helpfulness_range\[0\] should be from -1e\+18 to 1e\+18"),
        (lambda: SeverityTable(controversial=-1e39), r"controversial should be from -1e\+18 to 1e\+18, found -1e\+39"),
        (lambda: SeverityTable(categories={"PII": -1e39}), r"categories\['PII'\] should be from -1e\+18 to 1e\+18"),
        (lambda: SeverityTable(categories={"PII": INF}), r"categories\['PII'\] should be a finite number, found inf"),
        (
            lambda: Hybrid(controversial=INF),
            "controversial should be 'unsafe', 'safe' or a number from 0 to 1, found inf",
        ),
        (lambda: Soft(Hybrid(unsafe=NAN)), "unsafe should be a finite number, found nan"),
        (lambda: replace(Hybrid(), refusal=INF), "refusal should be a finite number, found inf"),
        (lambda: Soft(SeverityTable()).with_controversial(NAN), "controversial should be"),
        (lambda: make_scheme("soft", controversial=NAN), "controversial should be"),
    ],
)
def test_numbers_inside_other_values(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_what_was_checked_cannot_be_changed_from_outside():
    categories, bounds = {"PII": -2.0}, [0.0, 1.0]
    table, completion = SeverityTable(categories=categories), SafeCompletion(helpfulness_range=bounds)
    categories["PII"] = bounds[1] = NAN
    assert table == SeverityTable(categories={"PII": -2.0})
    assert completion == SafeCompletion((0.0, 1.0))


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
