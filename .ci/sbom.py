"""The software bill of materials of the pinned versions, as CycloneDX JSON: `make sbom`.

cyclonedx-py lists the pins. It does not know our version, which is not written in pyproject.toml, nor which pins are
asked for by name: both are added here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from pins import ROOT, direct_requirements, read_pyproject


def version_of(root: Path = ROOT) -> str:
    """The package's version, from its file."""
    text = (root / "guard_reward" / "_version.py").read_text(encoding="utf-8")
    [version] = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return version


def completed(sbom: dict[str, Any], version: str, direct: set[str]) -> dict[str, Any]:
    """With our version, and the direct dependencies as those of the root.

    Args:
        sbom: from cyclonedx-py; is changed.
        version: ours.
        direct: canonical names.

    Raises:
        ValueError: a direct dependency is not a component.
    """
    root = sbom["metadata"]["component"]
    root.update(version=version, purl=f"pkg:pypi/{root['name']}@{version}")
    refs = {canonicalize_name(one["name"]): one["bom-ref"] for one in sbom["components"]}
    if missing := sorted(direct - refs.keys()):
        raise ValueError(f"not in the bill of materials, so not pinned: {', '.join(missing)}")
    for one in sbom["dependencies"]:
        if one["ref"] == root["bom-ref"]:
            one["dependsOn"] = sorted(refs[name] for name in direct)
    return sbom


def main(tool: str, out: Path) -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "sbom.json"
        command = [tool, "requirements", str(ROOT / "constraints.txt"), "--pyproject", str(ROOT / "pyproject.toml")]
        command += ["--output-format", "JSON", "--output-reproducible", "--output-file", str(found)]
        subprocess.run(command, check=True)
        sbom = json.loads(found.read_text(encoding="utf-8"))
    direct = {canonicalize_name(one.name) for one in direct_requirements(read_pyproject())}
    completed(sbom, version_of(), direct)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(sbom, indent=2) + "\n", encoding="utf-8")
    print(f"{out}: {len(sbom['components'])} components, {len(direct)} of them direct dependencies")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
