"""The cache: built once, whole or not at all."""

import multiprocessing
from pathlib import Path

import pytest

from guard_reward.tiny.cache import cache_folder, cached


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARD_REWARD_CACHE", str(tmp_path / "cache"))


def write(folder: Path, calls: list[Path]) -> None:
    calls.append(folder)
    (folder / "part").mkdir()
    (folder / "part" / "weights").write_text("1 2 3")


def test_builds_once():
    calls: list[Path] = []
    folder = cached("thing", {"seed": 0}, lambda folder: write(folder, calls))
    assert cached("thing", {"seed": 0}, lambda folder: write(folder, calls)) == folder
    assert len(calls) == 1
    assert (folder / "part" / "weights").read_text() == "1 2 3"
    assert folder.parent == cache_folder()


def test_another_key_is_another_folder():
    calls: list[Path] = []
    folders = {cached("thing", {"seed": seed}, lambda folder: write(folder, calls)) for seed in (0, 1)}
    assert len(folders) == len(calls) == 2


@pytest.mark.parametrize("damage", ["missing file", "changed file", "extra file", "no manifest", "torn manifest"])
def test_a_damaged_folder_is_built_again(damage):
    calls: list[Path] = []
    folder = cached("thing", {}, lambda folder: write(folder, calls))
    weights, manifest = folder / "part" / "weights", folder / "manifest.json"
    match damage:
        case "missing file":
            weights.unlink()
        case "changed file":
            weights.write_text("1 2")
        case "extra file":
            (folder / "more").write_text("")
        case "no manifest":
            manifest.unlink()
        case "torn manifest":
            manifest.write_text(manifest.read_text()[:20])
    assert cached("thing", {}, lambda folder: write(folder, calls)) == folder
    assert len(calls) == 2
    assert weights.read_text() == "1 2 3"


def test_a_failed_build_leaves_nothing():
    def fail(folder: Path) -> None:
        (folder / "half").write_text("…")
        raise RuntimeError("out of disk")

    with pytest.raises(RuntimeError, match="out of disk"):
        cached("thing", {}, fail)
    assert not [path for path in cache_folder().iterdir() if path.is_dir()]
    calls: list[Path] = []
    cached("thing", {}, lambda folder: write(folder, calls))
    assert len(calls) == 1


def count_build(folder: Path) -> None:
    import time

    with (cache_folder() / "builds").open("a") as builds:
        builds.write("built\n")
    time.sleep(0.3)
    (folder / "weights").write_text("1")


def ask(_: int) -> str:
    return str(cached("thing", {}, count_build))


def test_processes_that_ask_at_once_build_once():
    with multiprocessing.get_context("fork").Pool(4) as pool:
        folders = pool.map(ask, range(4))
    assert len(set(folders)) == 1
    assert (cache_folder() / "builds").read_text() == "built\n"


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("GUARD_REWARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "guard_reward"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "guard_reward"
