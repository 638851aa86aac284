"""Recipes and configs: found in a checkout and in an installed package, copied whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
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
    "configs/dashboards/sections.py",
    "configs/dashboards/trackio_dashboard.py",
    "configs/dashboards/wandb_workspace.py",
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


def everything(folder: Path) -> dict[str, str | bytes | None]:
    """All that is in a folder: where links lead, what files contain."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def lay(target: Path, obstacle: str) -> Path:
    """Put something in the way of one file; its place."""
    kind, _, name = obstacle.partition(" ")
    place = target / name
    place.parent.mkdir(parents=True, exist_ok=True)
    elsewhere = target.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to({"link": elsewhere / "file", "folder-link": elsewhere, "lost-link": elsewhere / "lost"}[kind])
    return place


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("obstacle", "fault"),
    [
        ("file recipes", "is not a folder"),
        ("file configs/accelerate", "is not a folder"),
        ("folder recipes/grpo.py", "is not a file"),
        ("link recipes/grpo.py", "is a link"),
        ("lost-link configs/grpo_tiny.yaml", "is a link"),
        ("folder-link configs", "is a link"),
        ("folder-link configs/accelerate", "is a link"),
        ("lost-link recipes", "is a link"),
    ],
)
def test_what_is_in_the_way_is_found_before_anything_is_written(
    tmp_path: Path, obstacle: str, fault: str, force: bool
) -> None:
    place = lay(tmp_path / "project", obstacle)
    before = everything(tmp_path)
    with pytest.raises(UserError) as error:
        copy_files(tmp_path / "project", force=force)
    assert f"{place} {fault}" in str(error.value)
    assert "nothing was written" in str(error.value)
    assert everything(tmp_path) == before


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "project").write_text("mine")
    for target in (tmp_path / "project", tmp_path / "project" / "inside"):
        with pytest.raises(UserError, match="project is not a folder: nothing was written"):
            copy_files(target, force=True)
    assert everything(tmp_path) == {"project": b"mine"}


def test_the_folder_itself_may_be_a_link(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    copy_files(tmp_path / "link")
    assert tree(tmp_path / "real") == tree(repository)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_second_name_of_a_file_keeps_its_content(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "grpo.py").hardlink_to(mine)
    copy_files(tmp_path, force=True)
    assert mine.read_text() == "mine"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    copied: list[str] = []

    def copyfile(source: Path, target: Path, copy: Callable[..., object] = shutil.copyfile) -> None:
        copied.append(str(target))
        if len(copied) > 3:
            raise OSError(28, "No space left on device")
        copy(source, target)

    monkeypatch.setattr("shutil.copyfile", copyfile)
    with pytest.raises(OSError, match="No space left"):
        copy_files(tmp_path / "new" / "project", force=True)
    assert everything(tmp_path) == {}


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
