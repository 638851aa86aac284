"""Checkpoints from ModelScope, with its own client and a hub on this machine."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guard_reward import load_guard
from guard_reward.errors import UserError
from guard_reward.guards.specs import find_spec
from guard_reward.launch import GuardRewardConfig, build_reward
from guard_reward.models.modelscope import find_snapshot
from guard_reward.rewards.policy import PolicyFacts
from guard_reward.tiny.shipped import shipped
from tests.local_modelscope import COMMIT, Hub, files_of
from tests.processes import REPOSITORY, run_two_ranks

MODEL = "Qwen/Qwen3Guard-Gen-0.6B"
NAME = f"modelscope:{MODEL}"
ROWS = [
    [{"role": "user", "content": "How do I use a blue gravok?"}],
    [{"role": "user", "content": "How do I bake a cake?"}, {"role": "assistant", "content": "I cannot help."}],
    [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
]
SMALL = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{ }"}


@pytest.fixture
def small(modelscope: Hub) -> Hub:
    """A hub with three files that are no model; enough to download."""
    modelscope.add(MODEL, SMALL)
    return modelscope


@pytest.fixture
def hub(modelscope: Hub) -> Hub:
    """A hub with the tiny guard."""
    modelscope.add(MODEL, files_of(shipped("guard")))
    return modelscope


def folder_of(hub: Hub, revision: str = "master") -> Path:
    return hub.cache / "models" / MODEL.replace("/", "--") / "snapshots" / revision


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("guard_reward")]


# Guards ----------------------------------------------------------------------------------------------------------


def test_a_guard_is_the_local_one(hub: Hub, tiny_guard: Any, caplog: pytest.LogCaptureFixture) -> None:
    guard = load_guard(NAME, device="cpu")
    assert guard.moderate(ROWS) == tiny_guard.moderate(ROWS)
    found, local = guard.describe(), tiny_guard.describe()
    assert guard.name == found.pop("guard") == NAME
    assert guard.model.name_or_path == NAME
    assert found.pop("revision") == find_snapshot(NAME).revision
    assert found == {name: value for name, value in local.items() if name in found}
    assert str(hub.cache) not in repr(guard.describe())
    assert not warnings_of(caplog)


@pytest.mark.parametrize(("revision", "described"), [("v1", "v1, files "), (COMMIT, COMMIT)])
def test_a_revision(hub: Hub, revision: str, described: str) -> None:
    guard = load_guard(NAME, device="cpu", revision=revision)
    assert guard.describe()["revision"].startswith(described)
    assert set(hub.lists) == {revision}


def test_the_family_is_found_by_the_name(caplog: pytest.LogCaptureFixture) -> None:
    assert find_spec(NAME, None).name == "qwen3guard"
    assert not caplog.records


def test_a_guard_is_pickled_by_its_name(hub: Hub, tmp_path: Path) -> None:
    guard = load_guard(NAME, device="cpu", revision=COMMIT)
    file = tmp_path / "guard.pickle"
    file.write_bytes(pickle.dumps((guard, ROWS)))
    assert file.stat().st_size < 5_000
    script = (
        "import pickle, sys; guard, rows = pickle.load(open(sys.argv[1], 'rb')); "
        "print([guard.name, guard.describe()['revision'], *(verdict.text for verdict in guard.moderate(rows))])"
    )
    done = subprocess.run([sys.executable, "-c", script, file], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip() == str([NAME, COMMIT, *(verdict.text for verdict in guard.moderate(ROWS))]), done.stderr


# Files -----------------------------------------------------------------------------------------------------------


def test_only_what_a_checkpoint_needs(modelscope: Hub) -> None:
    needed = {
        **SMALL,
        "chat_template.jinja": b"{{ 1 }}",
        "merges.txt": b"a b",
        "tokenizer.model": b"pieces",
        "additional_chat_templates/tools.jinja": b"{{ 2 }}",
    }
    others = {
        "README.md": b"#",
        "modeling_qwen.py": b"raise SystemExit",
        "pytorch_model.bin": b"pickled",
        "consolidated.safetensors": b"again",
        "training_args.bin": b"pickled",
        "onnx/config.json": b"{}",
        "../config.json": b"{}",
        ".hidden.json": b"{}",
    }
    modelscope.add(MODEL, {**others, **needed})
    snapshot = find_snapshot(NAME)
    assert sorted(modelscope.downloads) == sorted(needed)
    assert Path(snapshot.folder) == folder_of(modelscope)
    assert {name: (Path(snapshot.folder) / name).read_bytes() for name in needed} == needed


def test_pickled_weights_if_there_are_no_others(modelscope: Hub) -> None:
    modelscope.add(MODEL, {"config.json": b"{}", "pytorch_model-1-of-1.bin": b"pickled", "training_args.bin": b"x"})
    find_snapshot(NAME)
    assert sorted(modelscope.downloads) == ["config.json", "pytorch_model-1-of-1.bin"]


def test_what_is_in_the_cache_is_not_downloaded_again(small: Hub) -> None:
    first = find_snapshot(NAME)
    assert find_snapshot(NAME) == first
    assert (small.lists, sorted(small.downloads)) == (["master"] * 3, sorted(SMALL))
    (Path(first.folder) / "tokenizer.json").unlink()
    assert find_snapshot(NAME) == first
    assert small.downloads[3:] == ["tokenizer.json"]


def test_a_commit_is_not_asked_for_again(small: Hub) -> None:
    first = find_snapshot(NAME, COMMIT)
    small.stop()
    assert find_snapshot(NAME, COMMIT) == first


def test_what_has_changed_on_the_hub(small: Hub) -> None:
    before = find_snapshot(NAME)
    small.add(MODEL, {**SMALL, "model.safetensors": b"WEIGHTS"}, "master")
    after = find_snapshot(NAME)
    assert small.downloads[3:] == ["model.safetensors"]
    assert (Path(after.folder) / "model.safetensors").read_bytes() == b"WEIGHTS"
    assert (after.folder, after.revision != before.revision) == (before.folder, True)


def test_what_is_gone_from_the_hub_is_not_loaded(small: Hub) -> None:
    small.add(MODEL, {**SMALL, "chat_template.jinja": b"old"})
    folder = find_snapshot(NAME).folder
    small.add(MODEL, SMALL)
    with pytest.raises(OSError, match=r"files that the hub does not have; remove chat_template\.jinja") as error:
        find_snapshot(NAME)
    assert folder in str(error.value)
    (Path(folder) / "chat_template.jinja").unlink()
    assert find_snapshot(NAME).folder == folder


# Without the hub -------------------------------------------------------------------------------------------------


def test_the_cache_if_the_server_is_gone(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    guard = load_guard(NAME, device="cpu")
    hub.stop()
    again = load_guard(NAME, device="cpu")
    assert again.moderate(ROWS) == guard.moderate(ROWS)
    assert again.describe() == guard.describe()
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"{NAME} is loaded from the cache, because ModelScope does not answer: ")
    assert "\n" not in warning


@pytest.mark.parametrize("status", [429, 503])
def test_the_cache_if_the_server_is_busy(small: Hub, caplog: pytest.LogCaptureFixture, status: int) -> None:
    first = find_snapshot(NAME)
    small.status = status
    assert find_snapshot(NAME) == first
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_without_the_right_to_read_it(small: Hub, status: int) -> None:
    find_snapshot(NAME)
    small.status = status
    with pytest.raises(OSError, match="not now"):
        find_snapshot(NAME)


@pytest.mark.parametrize("revision", [None, "v1", COMMIT])
def test_another_revision_is_not_taken_instead(small: Hub, revision: str | None) -> None:
    small.add(MODEL, SMALL, "other")
    find_snapshot(NAME, "other")
    small.stop()
    with pytest.raises(OSError, match="Connection"):
        find_snapshot(NAME, revision)


def test_an_unfinished_download_is_not_used(small: Hub) -> None:
    small.lost = "tokenizer.json"
    with pytest.raises(OSError, match=r"1 of 3 file\(s\) failed to download .* tokenizer\.json: .*file not found"):
        find_snapshot(NAME)
    small.lost = ""
    small.downloads.clear()
    assert sorted(files_of(folder_of(small))) == [".guard_reward.json", "config.json", "model.safetensors"]
    small.stop()
    with pytest.raises(OSError, match="Connection"):
        find_snapshot(NAME)


def test_an_unfinished_download_goes_on(small: Hub) -> None:
    small.lost = "tokenizer.json"
    with pytest.raises(OSError, match="failed to download"):
        find_snapshot(NAME)
    small.lost = ""
    small.downloads.clear()
    find_snapshot(NAME)
    assert small.downloads == ["tokenizer.json"]


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"revision": "master", "files": {"config.json": 2}}'])
def test_a_damaged_record(small: Hub, record: str) -> None:
    first = find_snapshot(NAME)
    (Path(first.folder) / ".guard_reward.json").write_text(record)
    assert find_snapshot(NAME) == first
    assert len(small.downloads) == 3  # the client finds the files whole
    assert json.loads((Path(first.folder) / ".guard_reward.json").read_text())["revision"] == "master"


# What the client has downloaded for others ------------------------------------------------------------------------


def test_the_clients_own_downloads(small: Hub) -> None:
    from modelscope_hub import HubApi

    folder = HubApi().download_repo(MODEL, "model", revision="v1")
    small.downloads.clear()
    assert find_snapshot(NAME, "v1").folder == str(folder)
    assert small.downloads == []
    (folder / ".guard_reward.json").unlink()
    small.stop()
    snapshot = find_snapshot(NAME, "v1")
    assert snapshot.folder == str(folder)
    assert snapshot.revision.startswith("v1, files ")


def test_a_folder_of_its_older_versions(small: Hub) -> None:
    """They kept all revisions in one."""
    folder = small.cache / "models" / "Qwen" / "Qwen3Guard-Gen-0___6B"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    snapshot = find_snapshot(NAME)
    assert snapshot.folder == str(folder)
    assert sorted(small.downloads) == ["model.safetensors", "tokenizer.json"]
    small.add(MODEL, {**SMALL, "model.safetensors": b"WEIGHTS"}, "v1")
    assert find_snapshot(NAME, "v1").folder == str(folder)
    assert (folder / "model.safetensors").read_bytes() == b"WEIGHTS"
    small.stop()
    with pytest.raises(OSError, match="Connection"):
        find_snapshot(NAME)


def test_a_cache_that_cannot_be_written_to(small: Hub) -> None:
    folder = Path(find_snapshot(NAME).folder)
    (folder / ".guard_reward.json").unlink()
    (folder / ".guard_reward.json").mkdir()  # also for root
    (small.cache / ".lock").rename(small.cache / "lock")
    (small.cache / ".lock").touch()
    assert find_snapshot(NAME).folder == str(folder)
    assert len(small.downloads) == 3


# Several processes -----------------------------------------------------------------------------------------------

RANK = """
import sys, time
from pathlib import Path
from guard_reward.models.modelscope import find_snapshot

rank, store, name = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
import modelscope_hub

(store / str(rank)).touch()
while not (store / str(1 - rank)).exists():
    time.sleep(0.01)
print(find_snapshot(name))
"""


def test_two_processes_at_once(small: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_DOWNLOAD_FILE_LOCK_TIMEOUT_SECONDS", "1")  # after which the client gives up
    small.seconds = 2
    first, second = run_two_ranks(RANK, tmp_path, NAME, timeout=60)
    assert first == second == f"{find_snapshot(NAME)}\n"
    assert sorted(small.downloads) == sorted(SMALL)


# Mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("modelscope:Qwen/Nothing", None, "revision 'master': .*Model does not exist"),
        (NAME, "v9", "revision 'v9': .*revision not found"),
        ("modelscope:some/dataset", None, r".*has no config\.json"),
    ],
)
def test_what_the_hub_does_not_have(small: Hub, name: str, revision: str | None, message: str) -> None:
    small.add("some/dataset", {"data.json": b"[]"})
    with pytest.raises(OSError, match=f"^{name}, {message}") as error:
        load_guard(name, revision=revision)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=f"^guard: '{name}' could not be loaded: {name}, {message}"):
        build_reward(GuardRewardConfig(guard=name, guard_revision=revision), PolicyFacts((), False))


@pytest.mark.parametrize(
    "name", ["modelscope:", "modelscope:Qwen", "modelscope:a/b/c", "modelscope:/etc/x", "modelscope:a/.."]
)
def test_names_that_are_no_id(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not a model on ModelScope; write modelscope:owner/name"):
        load_guard(name)


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    how = r"pip install 'guard-reward\[modelscope\]'"
    with pytest.raises(ModuleNotFoundError, match=how):
        load_guard(NAME)
    with pytest.raises(UserError, match=f"^guard: '{NAME}' could not be loaded: {NAME} needs .*{how}"):
        build_reward(GuardRewardConfig(guard=NAME), PolicyFacts((), False))
