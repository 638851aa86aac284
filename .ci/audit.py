"""Known vulnerabilities of the pinned versions: `make audit`. Exit status 1 if there is one.

Where the advisory service cannot be asked, or knows none of the packages (as a mirror of the index may not), nothing
was audited: that is said, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SECONDS = 300
_UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ServiceError", "Could not connect", "HTTPError")


def run(tool: str, constraints: Path) -> tuple[int, str]:
    """Exit status, and what to say."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "audit.json"
        command = [tool, "--requirement", str(constraints), "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        command += ["--format", "json", "--output", str(report)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        except FileNotFoundError:
            return 0, "not run: pip-audit could not be installed"
        except subprocess.TimeoutExpired:
            return 0, f"not run: the advisory service gave no answer in {SECONDS} s"
        if report.exists():
            return read(json.loads(report.read_text(encoding="utf-8")))
    if any(sign in done.stderr for sign in _UNREACHABLE):
        return 0, f"not run: the advisory service cannot be asked: {_last_line(done.stderr)}"
    return 2, f"pip-audit failed with exit status {done.returncode}:\n{done.stderr}"


def read(report: dict[str, Any]) -> tuple[int, str]:
    """Exit status and text of pip-audit's report.

    >>> read({"dependencies": [{"name": "six", "version": "1.17.0", "vulns": []}]})
    (0, '1 of 1 pins audited, no known vulnerability')
    """
    pins = report["dependencies"]
    unknown = [one["name"] for one in pins if "skip_reason" in one]
    if len(unknown) == len(pins):
        return 0, f"not run: the advisory service knows none of the {len(pins)} pins"
    lines = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for one in pins
        for vulnerability in one.get("vulns", ())
    ]
    found = f"{len(lines)} known vulnerabilities" if lines else "no known vulnerability"
    lines.insert(0, f"{len(pins) - len(unknown)} of {len(pins)} pins audited, {found}")
    if unknown:
        lines.append(f"not audited, unknown to the service: {', '.join(unknown)}")
    return int("known vulnerabilities" in lines[0]), "\n".join(lines)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1][:200]


if __name__ == "__main__":
    status, text = run(sys.argv[1], Path(sys.argv[2]))
    print(f"audit: {text}")
    sys.exit(status)
