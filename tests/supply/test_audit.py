"""`make audit` says what was audited, fails on a finding, and never calls an audit clean that did not happen."""

from __future__ import annotations

import json
import sys

import pytest

CLEAN = {"name": "six", "version": "1.17.0", "vulns": []}
UNKNOWN = {"name": "rich", "skip_reason": "Dependency not found on PyPI"}
WEAK = {"name": "jinja2", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1", "3"]}]}
OPEN = {"name": "torch", "version": "1", "vulns": [{"id": "CVE-2", "fix_versions": []}]}


@pytest.fixture
def tool(tmp_path):
    """A pip-audit that reports these pins, or writes only to standard error."""

    def make(pins=None, error="", status=0):
        path = tmp_path / "pip-audit"
        report = None if pins is None else json.dumps({"dependencies": pins})
        path.write_text(
            f"#!{sys.executable}\nimport sys\nassert sys.argv[2].endswith('pins.txt')\nreport = {report!r}\n"
            "if report:\n    open(sys.argv[sys.argv.index('--output') + 1], 'w').write(report)\n"
            f"print({error!r}, file=sys.stderr)\nsys.exit({status})\n"
        )
        path.chmod(0o755)
        return str(path)

    return make


@pytest.mark.parametrize(
    ("pins", "status", "says"),
    [
        ([CLEAN], 0, "1 of 1 pins audited, no known vulnerability"),
        ([CLEAN, UNKNOWN], 0, "1 of 2 pins audited, no known vulnerability\nnot audited, unknown to the service: rich"),
        ([UNKNOWN, UNKNOWN], 0, "not run: the advisory service knows none of the 2 pins"),
        ([WEAK, CLEAN], 1, "2 of 2 pins audited, 1 known vulnerabilities\njinja2 2.0: PYSEC-1, fixed in 2.1, 3"),
        ([OPEN, UNKNOWN], 1, "torch 1: CVE-2, fixed in no version yet"),
    ],
    ids=["clean", "partly known", "nothing known", "finding", "no fix"],
)
def test_what_the_report_says(ci, tool, tmp_path, pins, status, says):
    found, text = ci("audit").run(tool(pins, status=status), tmp_path / "pins.txt")
    assert found == status
    assert says in text


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (
            "requests.exceptions.ConnectionError: no route",
            0,
            "not run: the advisory service cannot be asked",
        ),
        ("ERROR:pip_audit._cli: Could not connect to PyPI's vulnerability feed", 0, "not run: "),
        ("ERROR:pip_audit._cli: invalid requirement", 2, "pip-audit failed with exit status 1:\nERROR"),
    ],
)
def test_without_a_report(ci, tool, tmp_path, error, status, says):
    found, text = ci("audit").run(tool(error=error, status=1), tmp_path / "pins.txt")
    assert found == status
    assert text.startswith(says)


def test_without_the_tool(ci, tmp_path):
    assert ci("audit").run(str(tmp_path / "none"), tmp_path) == (0, "not run: pip-audit could not be installed")
