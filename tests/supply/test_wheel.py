"""The wheel, built from the sdist and installed into an environment that has no checkout: it is complete and works.

The environment sees the dependencies that are installed here; the package itself comes from the wheel alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest


def call(command, folder):
    """What the command printed; run outside the checkout, which is nowhere in its path."""
    outside = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=folder, env=outside, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(repository, tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"run `make install`?\n{done.stdout}\n{done.stderr}"
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def outside(built, tmp_path_factory):
    """A folder with a new environment, `env`, that has the wheel."""
    folder = tmp_path_factory.mktemp("outside")
    call([sys.executable, "-m", "venv", "--without-pip", "env"], folder)
    packages = Path(call([folder / "env/bin/python", "-c", _PURELIB], folder).strip())
    # A path in a .pth is searched, but its own .pth files, such as that of an editable install, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", folder / "env/bin/python", "--disable-pip-version-check"]
    call([*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", built[1]], folder)
    return folder


_PURELIB = "import sysconfig; print(sysconfig.get_paths()['purelib'])"


def test_the_package_comes_from_the_wheel(outside, repository):
    code = "import guard_reward, sys; print(guard_reward.__file__, guard_reward.__version__, *sys.path, sep='\\n')"
    file, version, *paths = call([outside / "env/bin/python", "-c", code], outside).splitlines()
    assert Path(file).is_relative_to(outside / "env")
    assert str(repository) not in paths
    assert f'"{version}"' in (repository / "guard_reward/_version.py").read_text()


def test_its_dependencies_fit(outside):
    pip = [sys.executable, "-m", "pip", "--python", outside / "env/bin/python", "check"]
    assert "No broken requirements" in call(pip, outside)


def tracked(repository, *folders):
    """Files under these folders that a checkout has and a build should take."""
    paths = [path for folder in folders for path in (repository / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(repository)) for path in paths if "__pycache__" not in path.parts}


def test_the_wheel_has_every_file_of_the_package(built, repository):
    names = {name for name in ZipFile(built[1]).namelist() if ".dist-info/" not in name}
    copied = {f"guard_reward/_files/{name}" for name in tracked(repository, "recipes", "configs")}
    assert names == tracked(repository, "guard_reward") | copied
    assert {"guard_reward/py.typed", "guard_reward/tiny/checkpoints/guard/model.safetensors"} <= names
    assert {"guard_reward/_files/recipes/grpo.py", "guard_reward/_files/configs/grpo_tiny.yaml"} <= names
    assert any(name.startswith("guard_reward/report/") and name.endswith((".html", ".jinja")) for name in names)


def test_the_wheels_metadata(built, repository, ci):
    archive = ZipFile(built[1])
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    found = Parser().parsestr(archive.read(name).decode())
    project = ci("pins").read_pyproject(repository)["project"]
    assert (found["Name"], found["License-Expression"]) == ("guard-reward", "Apache-2.0")
    assert found["Requires-Python"] == project["requires-python"]
    assert set(found.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert found.get_payload().startswith((repository / "README.md").read_text()[:200])


def test_the_sdist_can_be_built_and_tested(built, repository):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked(repository, "guard_reward", "recipes", "configs", "tests", "benchmarks", ".ci") <= names
    assert {"pyproject.toml", "constraints.txt", "Makefile", "LICENSE", "README.md", "PKG-INFO"} <= names
    assert not [name for name in names if name.startswith((".venv", "runs/", "dist/", ".git/"))]


def test_init_copies_recipes_and_configs(outside, repository):
    call([outside / "env/bin/guard-reward", "init", "project"], outside)
    copied = {path.name for path in (outside / "project").rglob("*") if path.is_file()}
    assert {"grpo.py", "grpo_tiny.yaml"} <= copied


def test_tiny_models_judge(outside):
    command = outside / "env/bin/guard-reward"
    call([command, "tiny", "tiny"], outside)
    assert (outside / "tiny/guard/config.json").is_file()
    replies = ["No.", "I cannot help with that.", "First, mix the paste."]
    rows = [{"prompt": "Tell me how to bake the cake.", "response": reply} for reply in replies]
    (outside / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    call([command, "moderate", "rows.jsonl", "verdicts.jsonl", "--guard", "tiny/guard"], outside)
    judged = [json.loads(line) for line in (outside / "verdicts.jsonl").read_text().splitlines()]
    assert [row["response"] for row in judged] == replies
    assert all(len(row) > 2 for row in judged)
