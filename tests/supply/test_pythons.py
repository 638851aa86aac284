"""`make test-pythons`: which interpreters are found, and what is said of one that is not here."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from packaging.specifiers import SpecifierSet

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_this_one_is_found(ci, monkeypatch):
    pythons = ci("pythons")
    monkeypatch.setattr(pythons.shutil, "which", {f"python{HERE}": sys.executable}.get)
    assert pythons.find(HERE) == sys.executable


def test_another_version_under_its_name_is_not_taken(ci, monkeypatch):
    pythons = ci("pythons")
    monkeypatch.setattr(pythons.shutil, "which", {"python3.99": sys.executable}.get)
    assert pythons.find("3.99") is None


def test_pyenv_knows_more_than_path(ci, monkeypatch, tmp_path):
    pythons = ci("pythons")
    tool, python = tmp_path / "pyenv", tmp_path / "3.12.9" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 3.12\n")
    tool.write_text(f'#!/bin/sh\n[ "$1" = versions ] && printf "3.11.7\\n3.12.1\\n3.12.9\\n" || echo "{tmp_path}/$2"\n')
    for path in (tool, python):
        path.chmod(0o755)
    shim = tmp_path / "shim"  # of pyenv: there, and fails
    monkeypatch.setattr(pythons.shutil, "which", {"pyenv": str(tool), "python3.12": str(shim)}.get)
    assert pythons.find("3.12") == str(python)
    assert pythons.find("3.13") is None


def test_missing_ones_are_named_and_are_no_failure(ci, monkeypatch, capsys):
    pythons = ci("pythons")
    monkeypatch.setattr(pythons, "find", lambda version: None)
    monkeypatch.setattr(sys, "argv", ["pythons.py"])
    with pytest.raises(SystemExit) as ended:
        pythons.main()
    assert ended.value.code == 0
    assert "python3.14: not run: python3.14 is not here" in capsys.readouterr().out


@pytest.mark.parametrize(("fails", "says", "status"), [("check", "failed: pip check", 1), ("none", "passed", 0)])
def test_a_step_that_fails(ci, monkeypatch, capsys, fails, says, status):
    pythons = ci("pythons")
    monkeypatch.setattr(pythons, "find", lambda version: "python")
    run = lambda command, **_: SimpleNamespace(returncode=int(command[-1] == fails))  # noqa: E731
    monkeypatch.setattr(pythons.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["pythons.py", "--versions", "3.13"])
    with pytest.raises(SystemExit) as ended:
        pythons.main()
    assert (ended.value.code, says in capsys.readouterr().out) == (status, True)


def test_the_metadata_names_what_is_tested(ci, repository):
    versions = ci("pythons").VERSIONS
    project = ci("pins").read_pyproject(repository)["project"]
    prefix = "Programming Language :: Python :: 3."
    named = [f"3.{text.removeprefix(prefix)}" for text in project["classifiers"] if text.startswith(prefix)]
    supported = SpecifierSet(project["requires-python"])
    assert named == list(versions[: len(named)])
    assert [version in supported for version in ("3.10", *versions)] == [False] + [True] * len(versions)
