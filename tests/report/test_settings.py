"""A run's settings, and in what runs differ."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from guard_reward.report.run import Run
from guard_reward.report.settings import read_settings, settings_diff

RECORD = {
    "reward": {"guard": "Qwen/Qwen3Guard-Gen-4B", "scheme": "Hybrid()"},
    "configs": {"GRPOConfig": {"beta": 0.04, "hub_token": "hf_0123456789abcdef", "report_to": [], "lr": None}},
    "launch": {"command": "grpo.py --wandb_api_key abc", "world_size": 2},
    "versions": {"trl": "1.16.0"},
    "earlier": [{"reward": {"scheme": "GuardOnly()"}}],
}


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_record_of_a_run_is_flat_and_without_secrets(tmp_path: Path) -> None:
    write(tmp_path, "run_config.json", RECORD)
    notes: list[str] = []
    assert read_settings(tmp_path, {}, notes) == {
        "guard": "Qwen/Qwen3Guard-Gen-4B",
        "scheme": "Hybrid()",
        "GRPOConfig.beta": "0.04",
        "GRPOConfig.hub_token": "HIDDEN",
        "GRPOConfig.report_to": "[]",
        "launch.command": "grpo.py --wandb_api_key HIDDEN",
        "launch.world_size": "2",
        "versions.trl": "1.16.0",
    }
    assert notes == ["The run was resumed once; the settings are those of its last launch."]


class Bomb:
    def __reduce__(self) -> Any:
        return (open, (str(Path(__file__).parent / "exploded"), "w"))


def test_plain_trl_without_opening_the_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "checkpoint-10"
    checkpoint.mkdir()
    (checkpoint / "training_args.bin").write_bytes(pickle.dumps(Bomb()))
    monkeypatch.setattr("pickle.load", None)
    write(checkpoint, "adapter_config.json", {"base_model_name_or_path": "Qwen/Qwen3-4B", "r": 16, "token": "secret"})
    card = "This model is a fine-tuned version of [Qwen/Qwen3-4B](https://x).\n\n- TRL: 1.16.0\n- Pytorch: 2.13.0+cpu\n"
    write(tmp_path, "README.md", card)
    notes: list[str] = []
    found = read_settings(tmp_path, {"max_steps": 100, "logging_steps": 5, "epoch": 1.0}, notes)
    assert found == {
        "adapter.base_model_name_or_path": "Qwen/Qwen3-4B",
        "adapter.r": "16",
        "model.base": "Qwen/Qwen3-4B",
        "versions.TRL": "1.16.0",
        "versions.Pytorch": "2.13.0+cpu",
        "trainer.max_steps": "100",
        "trainer.logging_steps": "5",
    }
    assert len(notes) == 1
    assert "training_args.bin is a pickle file, which can run any code" in notes[0]
    assert not (Path(__file__).parent / "exploded").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"configs": 5, "reward": [1]}', '{"a": ' + "[" * 100_000])
def test_a_broken_record(tmp_path: Path, content: str) -> None:
    write(tmp_path, "run_config.json", content)
    assert read_settings(tmp_path, {}, []) in ({}, {"configs": "5"})


# settings of two runs → what differs
DIFFERENCES = [
    ({"scheme": "a"}, {"scheme": "b"}, {"scheme": ("a", "b")}),
    ({"scheme": "a"}, {"scheme": "a"}, {}),
    ({"G.beta": "1", "G.x": "1"}, {"G.x": "1"}, {"G.beta": ("1", None)}),  # a field that one config lacks
    ({"G.beta": "1", "scheme": "a"}, {"scheme": "a"}, {}),  # a config that one folder does not tell
    ({"G.output_dir": "a", "G.run_name": "a", "launch.command": "a"}, {"G.output_dir": "b", "G.run_name": "b"}, {}),
    ({"G.seed": "1", "scheme": "a"}, {"G.seed": "2", "scheme": "b"}, {"scheme": ("a", "b"), "G.seed": ("1", "2")}),
    ({}, {"scheme": "a"}, {}),
]


@pytest.mark.parametrize(("one", "two", "expected"), DIFFERENCES)
def test_what_runs_differ_in(one: dict[str, str], two: dict[str, str], expected: dict[str, Any]) -> None:
    runs = [Run(name, name, settings=settings) for name, settings in (("one", one), ("two", two))]
    found = settings_diff(runs)
    assert {row.setting: row.values for row in found} == expected
    assert [row.setting for row in found] == list(expected)
