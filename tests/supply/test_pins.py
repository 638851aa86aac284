"""Each direct dependency has one pin, in the range that we declare, and is installed in that version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


def test_every_direct_dependency_has_one_pin_in_its_range(ci, repository):
    pins = ci("pins")
    requirements = pins.direct_requirements(pins.read_pyproject(repository))
    assert {"torch", "trl", "pytest", "hatchling"} <= {one.name for one in requirements}
    assert pins.wrong_pins(requirements, pins.read_pins((repository / "constraints.txt").read_text())) == []


def test_no_name_is_pinned_twice(ci, repository):
    found = ci("pins").read_pins((repository / "constraints.txt").read_text())
    assert {name: versions for name, versions in found.items() if len(versions) > 1} == {}


def test_what_is_installed_is_what_is_pinned(ci, repository):
    pins = ci("pins")
    pinned = pins.read_pins((repository / "constraints.txt").read_text())
    other = {}
    for name in {canonicalize_name(one.name) for one in pins.direct_requirements(pins.read_pyproject(repository))}:
        try:
            installed = Version(version(name)).public  # torch's build for the CPU has a local version
        except PackageNotFoundError:
            installed = None
        if installed not in (None, str(pinned[name][0])):
            other[name] = installed
    assert other == {}, "run `make install`"
    assert version("torch")


@pytest.mark.parametrize(
    ("asked", "pinned", "says"),
    [
        ("rich>=13", "rich==15.0.0", []),
        ("scikit-learn", "scikit_learn==1.9", []),  # the same name
        ("trl[vllm]>=1.14,<2", "trl==1.16.0", []),
        ("cwevals", "cwevals==0.0.1b1", []),
        ("rich>=13", "", ["rich: no pin"]),
        ("rich>=13", "rich==15.0.0\nRich==14.0.0", ["rich: 2 pins"]),
        ("trl>=1.14,<2", "trl==2.0.0", ["trl: 2.0.0 is pinned, and trl<2,>=1.14 is asked for"]),
    ],
)
def test_wrong_pins(ci, asked, pinned, says):
    pins = ci("pins")
    assert pins.wrong_pins([Requirement(asked)], pins.read_pins(pinned)) == says


@pytest.mark.parametrize("line", ["rich>=15", "rich", "rich==15.*", "rich==15,<16"])
def test_a_line_that_pins_nothing(ci, line):
    with pytest.raises(ValueError, match=r"line 2: .* should be NAME==VERSION"):
        ci("pins").read_pins(f"# pins\n{line}")
