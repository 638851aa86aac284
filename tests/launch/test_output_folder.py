"""One run per output folder, and a full disk in one line."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from guard_reward.errors import UserError
from guard_reward.files import replacing
from guard_reward.launch.output_folder import LOCK_FILE, is_out_of_space, own_output


def run(folder: Path, rank: int = 0) -> Any:
    return SimpleNamespace(output_dir=str(folder), process_index=rank)


class Other:
    """Another process, with a run in the folder until it is killed."""

    def __init__(self, folder: Path):
        begun, has_begun = os.pipe()
        self.process = os.fork()
        if not self.process:
            with own_output(run(folder)):
                if not os.fork():  # such as a data loader's worker: it does not keep the lock
                    time.sleep(5)
                    os._exit(0)
                os.write(has_begun, b".")
                signal.pause()
        os.read(begun, 1)

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


def test_a_second_run_in_the_folder_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    other = Other(tmp_path)
    try:
        with pytest.raises(UserError) as error, own_output(run(tmp_path)):
            pass
        assert str(error.value).startswith(f"output_dir: another run (process {other.process} on ")
        assert str(error.value).endswith(f"writes to '{tmp_path}': wait for it, or give another --output_dir")
        assert (tmp_path / LOCK_FILE).exists()
        with own_output(run(tmp_path / "other")), own_output(run(tmp_path, rank=1)):
            pass
    finally:
        other.kill()
    with own_output(run(tmp_path)):
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")
    assert not list(tmp_path.iterdir())


def test_a_mistake_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a mistake"), own_output(run(tmp_path / "run")):
        raise UserError("a mistake")
    assert not (tmp_path / "run").exists()


def test_temporary_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl.0123456789abcdef.part").touch()
    (tmp_path / "mine.part").touch()
    with own_output(run(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"output_dir: '.*file/run' cannot be written: Not a directory"
    with pytest.raises(UserError, match=message), own_output(run(tmp_path / "file" / "run")):
        pass


@pytest.mark.parametrize("save", ["torch", "safetensors", "text", "pandas"])
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path, full_disk: Any, save: str) -> None:
    """What each library raises when it is so."""
    import pandas
    from safetensors.torch import save_file

    big, file = torch.randn(200_000), tmp_path / "checkpoint-2" / "file"
    file.parent.mkdir()
    saving = {
        "torch": lambda: torch.save({"a": big}, file),
        "safetensors": lambda: save_file({"a": big}, file),
        "text": lambda: file.write_text("a" * 800_000),
        "pandas": lambda: pandas.DataFrame({"a": big.numpy()}).to_parquet(file),
    }[save]
    (tmp_path / "log.jsonl").write_text("{}")
    os.utime(tmp_path / "log.jsonl", (0, 0))
    with pytest.raises(UserError) as error, own_output(run(tmp_path)), full_disk():
        saving()
    written_last = "log.jsonl" if save == "safetensors" else "checkpoint-2/file"  # Rust leaves nothing behind
    expected = f"output_dir: no space left in '{tmp_path}', where '{written_last}' was written last. The checkpoints"
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)
    assert "give the same command again with --resume_from_checkpoint auto" in str(error.value)


def test_a_full_disk_is_one_line_with_the_name_that_the_error_has(tmp_path: Path, full_disk: Any) -> None:
    message = rf"^output_dir: no space left for '{tmp_path}/log.jsonl'\. The checkpoints before it are whole"
    log = replacing(tmp_path / "log.jsonl")
    with pytest.raises(UserError, match=message), own_output(run(tmp_path)), full_disk(), log as part:
        part.write_text("a" * 800_000)


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (RuntimeError("CUDA out of memory"), False),
        (PermissionError(13, "Permission denied"), False),
        (ValueError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), True),
        (None, False),
    ],
)
def test_what_is_no_space(error: Exception | None, is_so: bool) -> None:
    assert is_out_of_space(error) is is_so
