"""The bill of materials has our name and version, and each direct dependency."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from packaging.utils import canonicalize_name


def bill(*names):
    components = [{"name": name, "bom-ref": f"line-{name}"} for name in names]
    root = {"name": "guard-reward", "bom-ref": "root"}
    references = [*(one["bom-ref"] for one in components), "root"]
    return {
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": ref} for ref in references],
    }


def test_completed(ci):
    found = ci("sbom").completed(bill("Jinja2", "scikit_learn", "six"), "0.1.0", {"jinja2", "scikit-learn"})
    assert found["metadata"]["component"]["version"] == "0.1.0"
    assert found["metadata"]["component"]["purl"] == "pkg:pypi/guard-reward@0.1.0"
    assert found["dependencies"][-1] == {"ref": "root", "dependsOn": ["line-Jinja2", "line-scikit_learn"]}


def test_a_direct_dependency_that_is_missing(ci):
    with pytest.raises(ValueError, match="not pinned: rich, torch"):
        ci("sbom").completed(bill("six"), "0.1.0", {"torch", "rich", "six"})


def test_the_version_is_the_packages(ci):
    assert ci("sbom").version_of() == version("guard-reward")


def test_the_real_one(ci, repository, tmp_path):
    tool = repository / ".venv-tools" / "bin" / "cyclonedx-py"
    if not tool.exists():
        pytest.skip("needs the tools of `make sbom`")
    pins = ci("pins")
    ci("sbom").main(str(tool), tmp_path / "dist" / "sbom.json")
    found = json.loads((tmp_path / "dist" / "sbom.json").read_text())
    assert (found["bomFormat"], found["metadata"]["component"]["name"]) == ("CycloneDX", "guard-reward")
    assert found["metadata"]["component"]["version"] == version("guard-reward")
    listed = {canonicalize_name(one["name"]): one["version"] for one in found["components"]}
    pinned = pins.read_pins((repository / "constraints.txt").read_text())
    for requirement in pins.direct_requirements(pins.read_pyproject(repository)):
        name = canonicalize_name(requirement.name)
        assert listed[name] == str(pinned[name][0])
