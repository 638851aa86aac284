"""A fast share of the tests under every supported Python that this machine has: `make test-pythons`.

Each gets an environment of its own with the pinned versions. Interpreters are found by uv, by pyenv and in PATH; one
that is not here is named, and is no failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
EXTRAS = "trl,served,report,evaluation,dev"
TESTS = ("tests/supply/test_wheel.py", "tests/guards", "tests/schemes", "tests/scoring")


def candidates(version: str) -> Iterator[str]:
    """Where that version may be, the likeliest first."""
    if uv := shutil.which("uv"):
        yield _said([uv, "python", "find", "--no-python-downloads", version])
    if pyenv := shutil.which("pyenv"):
        names = [name for name in _said([pyenv, "versions", "--bare"]).split() if name.startswith(f"{version}.")]
        for name in reversed(names):
            yield f"{_said([pyenv, 'prefix', name])}/bin/python"
    yield shutil.which(f"python{version}") or ""


def find(version: str) -> str | None:
    """An interpreter of that version which can make environments."""
    asked = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    return next((path for path in candidates(version) if path and _said([path, "-c", asked]) == version), None)


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # a shim of pyenv may have nothing behind it
        return ""


def test(version: str, tests: list[str]) -> str:
    """Install and test under one version; what to say of it."""
    interpreter = find(version)
    if interpreter is None:
        return f"not run: python{version} is not here"
    folder = ROOT / f".venv-python{version}"
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    steps = {
        "the environment": [interpreter, "-m", "venv", str(folder)],
        "the pinned versions": [*pip, "--editable", f"{ROOT}[{EXTRAS}]"],
        "pip check": [str(python), "-m", "pip", "check"],
        "the tests": [str(python), "-m", "pytest", "-q", *tests],
    }
    for name, command in steps.items():
        print(f"python{version}: {name}", flush=True)
        outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        if status := subprocess.run(command, cwd=ROOT, check=False, env=outside).returncode:
            return f"failed: {name}: exit status {status}"
    return "passed"


def main() -> None:
    """Test them all, then say it all; exit status 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=VERSIONS)
    parser.add_argument("tests", nargs="*", default=TESTS)
    options = parser.parse_args()
    found = {version: test(version, list(options.tests)) for version in options.versions}
    for version, said in found.items():
        print(f"python{version}: {said}")
    sys.exit(any(said.startswith("failed") for said in found.values()))


if __name__ == "__main__":
    main()
