"""A commit that changes the pins is signed off, from a commit on."""

from __future__ import annotations

import subprocess

import pytest


class Repository:
    """A git repository in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        command = ["git", "-C", str(self.folder), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, file, text, *options):
        (self.folder / file).write_text(text)
        self.git("add", file)
        self.git("commit", "--quiet", "-m", f"{file}: {text}", *options)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path):
    (tmp_path / "origin").mkdir()
    return Repository(tmp_path / "origin")


def subjects(found):
    return [line.partition(" ")[2] for line in found]


def test_only_pins_need_it_and_only_from_then_on(ci, project):
    project.commit("constraints.txt", "rich==1")
    since = project.commit("README.md", "one")
    project.commit("README.md", "two")
    project.commit("constraints.txt", "rich==2", "--signoff")
    project.commit("constraints.txt", "rich==3")
    project.commit("constraints.txt", "rich==4", "-m", "Signed-off-by: nobody")
    found = ci("signed_pins").unsigned(project.folder, since)
    assert subjects(found) == ["constraints.txt: rich==4", "constraints.txt: rich==3"]


def test_all_signed(ci, project):
    since = project.commit("README.md", "one")
    project.commit("constraints.txt", "rich==2", "--signoff")
    assert ci("signed_pins").unsigned(project.folder, since) == []


def test_a_shallow_clone_is_not_checked(ci, project, tmp_path):
    since = project.commit("README.md", "one")
    project.commit("constraints.txt", "rich==3")
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", f"file://{project.folder}", str(tmp_path / "shallow")], check=True
    )
    assert ci("signed_pins").unsigned(tmp_path / "shallow", since) is None


def test_an_archive_is_not_checked(ci, tmp_path):
    assert ci("signed_pins").unsigned(tmp_path, "0" * 40) is None
