"""What pyproject.toml asks for, and what constraints.txt pins."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def direct_requirements(pyproject: dict[str, Any]) -> list[Requirement]:
    """What the package, each of its extras and its build ask for by name.

    >>> asked = {"build-system": {"requires": ["hatchling>=1.27"]}, "project": {"dependencies": ["numpy"]}}
    >>> [str(one) for one in direct_requirements(asked)]
    ['numpy', 'hatchling>=1.27']
    """
    project = pyproject["project"]
    extras = project.get("optional-dependencies", {}).values()
    lists = [project["dependencies"], *extras, pyproject["build-system"]["requires"]]
    return [Requirement(text) for texts in lists for text in texts]


def read_pyproject(root: Path = ROOT) -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def read_pins(text: str) -> dict[str, list[Version]]:
    """The versions of each name, in a file of pins.

    Raises:
        ValueError: a line that is not one exact version.

    >>> read_pins("# the versions\\nJinja2==3.1.6")
    {'jinja2': [<Version('3.1.6')>]}
    """
    pins: dict[str, list[Version]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.partition("#")[0].strip()):
            continue
        requirement = Requirement(line)
        [*specifiers] = requirement.specifier
        if len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
            raise ValueError(f"line {number}: {line!r} should be NAME==VERSION")
        pins.setdefault(canonicalize_name(requirement.name), []).append(Version(specifiers[0].version))
    return pins


def wrong_pins(requirements: list[Requirement], pins: dict[str, list[Version]]) -> list[str]:
    """What is wrong with the pins of direct requirements, a sentence each.

    >>> wrong_pins([Requirement("numpy>=2"), Requirement("rich")], read_pins("numpy==1.26.4"))
    ['numpy: 1.26.4 is pinned, and numpy>=2 is asked for', 'rich: no pin']
    """
    found = []
    for requirement in requirements:
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not versions:
            found.append(f"{requirement.name}: no pin")
        elif len(versions) > 1:
            found.append(f"{requirement.name}: {len(versions)} pins")
        elif not requirement.specifier.contains(versions[0], prereleases=True):
            found.append(f"{requirement.name}: {versions[0]} is pinned, and {requirement} is asked for")
    return found
