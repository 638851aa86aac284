"""The reference has every public name once, and every one says what its arguments are."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pkgutil import iter_modules

import griffe
import pytest

import guard_reward
from tests.docs.pages import REPOSITORY

REFERENCE = REPOSITORY / "docs" / "reference"
INSIDE = {"cli", "models", "scoring", "speed"}  # for the library and its benchmarks
PACKAGES = [
    "guard_reward",
    *(f"guard_reward.{it.name}" for it in iter_modules(guard_reward.__path__) if it.ispkg and it.name not in INSIDE),
]


@pytest.fixture(scope="module")
def code() -> griffe.Object:
    """The package as griffe reads it, which is how the reference is made."""
    return griffe.load("guard_reward", search_paths=[str(REPOSITORY)])


def public_names() -> list[str]:
    """What the packages say is for users; a package in another's list is no name."""
    paths = [
        f"{package}.{name}" for package in PACKAGES for name in getattr(importlib.import_module(package), "__all__", ())
    ]
    return [path for path in paths if path not in PACKAGES and not path.endswith("__version__")]


def in_reference(code: griffe.Object) -> list[str]:
    """Where the things that the reference shows are defined. A module stands for its public names."""
    shown = []
    for page in sorted(REFERENCE.glob("*.md")):
        for path in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE):
            is_module = code[path.removeprefix("guard_reward.")].is_module
            names = getattr(importlib.import_module(path), "__all__", ()) if is_module else None
            shown += [path] if names is None else [f"{path}.{name}" for name in names]
    return [defined(code, path) for path in shown]


def defined(code: griffe.Object, path: str) -> str:
    """The path of the definition, wherever it is imported from."""
    return code[path.removeprefix("guard_reward.")].canonical_path


def test_the_reference_has_every_public_name(code):
    shown = set(in_reference(code))
    assert [path for path in public_names() if defined(code, path) not in shown] == []


def test_the_reference_has_nothing_twice(code):
    assert [path for path, times in Counter(in_reference(code)).items() if times > 1] == []


def test_every_name_of_the_reference_is_documented(code):
    """A docstring, with all parameters of a function and all fields of a dataclass."""
    missing = {}
    for path in in_reference(code):
        it = code[path.removeprefix("guard_reward.")]
        if not it.docstring:
            missing[path] = "no docstring"
        elif names := parameters(it) - documented(it):
            missing[path] = ", ".join(sorted(names))
    assert missing == {}


def test_returns_say_no_type_of_their_own(code):
    """Google's style reads the words in front of a colon as the type, which the signature has."""
    found = {}
    for path in in_reference(code):
        it = code[path.removeprefix("guard_reward.")]
        for function in [it, *it.members.values()]:
            if function.is_function and function.docstring:
                sections = function.docstring.parse("google", warnings=False, returns_multiple_items=False)
                types = [section.value[0].annotation for section in sections if section.kind.value == "returns"]
                if types and str(types[0]) != str(function.returns):
                    found[function.path] = str(types[0])
    assert found == {}


def parameters(it: griffe.Object) -> set[str]:
    """What a user passes to a function, a class's constructor, or as fields."""
    function = it if it.is_function else it.members.get("__init__") if it.is_class else None
    if function is not None:
        names = {it.name for it in function.parameters if it.kind is not griffe.ParameterKind.var_keyword}
    elif it.is_class and "dataclass" in it.labels:
        names = {name for name, member in it.members.items() if is_field(member)}
    else:
        names = set()
    return {name for name in names if name not in ("self", "cls") and not name.startswith("_")}


def is_field(member: griffe.Object) -> bool:
    """Whether a member of a dataclass is one of its fields."""
    return member.is_attribute and "instance-attribute" in member.labels and "ClassVar" not in str(member.annotation)


def documented(it: griffe.Object) -> set[str]:
    """Names in the sections Args and Attributes, of the constructor too, and fields with a help text."""
    texts = [part.docstring for part in (it, it.members.get("__init__")) if part is not None and part.docstring]
    sections = [section for text in texts for section in text.parse("google", warnings=False)]
    named = {
        item.name.lstrip("*") for s in sections if s.kind.value in ("parameters", "attributes") for item in s.value
    }
    return named | {
        name
        for name, member in it.members.items()
        if member.is_attribute and '"help":' in str(member.value).replace("'", '"')
    }
