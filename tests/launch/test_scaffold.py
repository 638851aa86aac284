"""Recipes and configs: found in a checkout and in an installed package, copied whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from guard_reward.errors import UserError
from guard_reward.launch.scaffold import copy_files, files_folder

EXPECTED = {
    "recipes/grpo.py",
    "recipes/ppo.py",
    "configs/grpo_tiny.yaml",
    "configs/ppo_tiny.yaml",
    "configs/gspo_hybrid.yaml",
    "configs/accelerate/zero3.yaml",
    "configs/accelerate/cpu_zero3.yaml",
}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of `recipes/` and `configs/`, by its path."""
    paths = [path for name in ("recipes", "configs") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if "__pycache__" not in path.parts}


def test_a_checkout_has_them_at_its_root(repository: Path) -> None:
    assert files_folder() == repository
    assert set(tree(repository)) >= EXPECTED


def test_an_installed_package_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "guard_reward"
    for name in ("recipes", "configs"):
        (package / "_files" / name).mkdir(parents=True)
    monkeypatch.setattr("guard_reward.launch.scaffold.__file__", str(package / "launch" / "files.py"))
    assert files_folder() == package / "_files"


def test_an_installation_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard_reward.launch.scaffold.__file__", str(tmp_path / "guard_reward" / "launch" / "files.py"))
    with pytest.raises(UserError, match="has no recipes and configs; install the package again"):
        files_folder()


def test_copies(repository: Path, tmp_path: Path) -> None:
    written = copy_files(tmp_path / "new" / "project")
    assert tree(tmp_path / "new" / "project") == tree(repository)
    assert {str(path) for path in written} == set(tree(repository))


def test_nothing_is_overwritten_without_force(repository: Path, tmp_path: Path) -> None:
    mine = tmp_path / "recipes" / "grpo.py"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"already has recipes/grpo\.py: nothing was written; --force replaces"):
        copy_files(tmp_path)
    assert tree(tmp_path) == {"recipes/grpo.py": b"mine"}
    copy_files(tmp_path, force=True)
    assert tree(tmp_path) == tree(repository)


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, really built, with pip and the index that is configured here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(repository),
        "--no-deps",
        "--quiet",
        "--wheel-dir",
        str(folder),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("needs an index with hatchling")
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_they_travel_in_the_wheel(wheel: Path, repository: Path) -> None:
    prefix = "guard_reward/_files/"
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.removeprefix(prefix): archive.read(name) for name in archive.namelist() if prefix in name}
    assert {name: text for name, text in packed.items() if "__pycache__" not in name} == tree(repository)


@pytest.mark.slow
def test_an_installed_wheel_copies_them(wheel: Path, repository: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", str(wheel), "--no-deps", "--quiet", "--target", str(site)]
    subprocess.run(install, check=True, capture_output=True)
    done = run_init(site, tmp_path, "project")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "project") == tree(repository)
    assert str(site) in done.stdout.splitlines()[0]  # and not the checkout's


def run_init(site: Path, folder: Path, *arguments: str) -> SimpleNamespace:
    """``guard-reward init`` from the package in `site`, in another folder than the checkout."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import guard_reward; print(guard_reward.__file__); "
        "from guard_reward.cli import app; app()"
    )
    command = [sys.executable, "-c", code, str(site), "init", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PATH": ""})
    return SimpleNamespace(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)
