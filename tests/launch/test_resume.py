"""Where an interrupted run goes on, and what is no longer the same run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward.errors import UserError
from guard_reward.launch import GuardRewardConfig, find_checkpoint
from guard_reward.launch.record import recorded
from guard_reward.prompts import DataConfig, PromptSet


def checkpoint(run: Path, step: int, *, finished: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if finished:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def args(run: Path, wanted: Any) -> Any:
    return SimpleNamespace(output_dir=str(run), resume_from_checkpoint=wanted, max_steps=-1)


@dataclass
class GRPOConfig:
    """As much of a trainer's arguments as is asked for here."""

    output_dir: str
    seed: int = 0
    max_steps: int = 1000
    save_steps: int = 10
    resume_from_checkpoint: Any = "auto"


@dataclass
class PPOConfig(GRPOConfig):
    """Another trainer's."""


@dataclass
class ModelConfig:
    """The policy."""

    model_name_or_path: str = "some/policy"
    model_revision: str = "main"
    lora_r: int = 16


def configs(run: Path, trainer: type[GRPOConfig] = GRPOConfig, **changes: Any) -> Any:
    """All that a run is started with; each change goes to the config that has such a field."""
    values = {
        GuardRewardConfig: {"guard": "some/guard"},
        DataConfig: {"datasets": [PromptSet("a.jsonl", fraction=1.0)]},
        trainer: {"output_dir": str(run)},
        ModelConfig: {},
    }
    for kind, given in values.items():
        given.update({name: value for name, value in changes.items() if name in kind.__dataclass_fields__})
    return [kind(**given) for kind, given in values.items()]


def made(run: Path, *steps: int, **changes: Any) -> None:
    """Leave behind what an interrupted run leaves."""
    for step in steps or (5,):
        checkpoint(run, step)
    record = {"configs": {type(config).__name__: recorded(config) for config in configs(run, **changes)}}
    (run / "run_config.json").write_text(json.dumps(record))


def find(run: Path, *arguments: Any, **changes: Any) -> str | None:
    started = configs(run, *arguments, **changes)
    return find_checkpoint(started[2], started)


@pytest.mark.parametrize("wanted", [None, "none", "None", "false", False])
def test_nothing_is_asked_for(tmp_path: Path, wanted: Any) -> None:
    checkpoint(tmp_path, 5)
    assert find_checkpoint(args(tmp_path, wanted)) is None


@pytest.mark.parametrize("run", ["", "not/there/yet"])
def test_auto_without_a_checkpoint_is_a_fresh_start(tmp_path: Path, caplog: pytest.LogCaptureFixture, run: str) -> None:
    assert find_checkpoint(args(tmp_path / run, "auto")) is None
    assert "has no checkpoint: starting fresh" in caplog.text


def test_auto_takes_the_last_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (9, 10, 100):  # as numbers: 9 is not the last
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 11).rename(tmp_path / "checkpoint-best")
    assert find_checkpoint(args(tmp_path, "auto")) == str(tmp_path / "checkpoint-100")
    assert "resuming from checkpoint-100" in caplog.text


@pytest.mark.parametrize("state", [None, "", '{"global_st', "{}"])
def test_auto_passes_over_what_was_not_written_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, state: str | None
) -> None:
    checkpoint(tmp_path, 1)
    folder = checkpoint(tmp_path, 2, finished=False)
    if state is not None:
        (folder / "trainer_state.json").write_text(state)
    assert find_checkpoint(args(tmp_path, "auto")) == str(tmp_path / "checkpoint-1")
    assert "checkpoint-2 is not finished: skipped" in caplog.text


def test_a_checkpoint_by_its_path(tmp_path: Path) -> None:
    first = checkpoint(tmp_path, 1)
    checkpoint(tmp_path, 2)
    assert find_checkpoint(args(tmp_path / "other", str(first))) == str(first)


@pytest.mark.parametrize("wanted", ["none", "", "checkpoint-2", True])
def test_a_path_that_is_no_checkpoint(tmp_path: Path, wanted: Any) -> None:
    checkpoint(tmp_path, 2, finished=False)
    path = str(tmp_path / wanted) if wanted in ("checkpoint-2", "none") else wanted
    with pytest.raises(UserError, match=r"is not a checkpoint folder .* 'auto' takes the last one in output_dir"):
        find_checkpoint(args(tmp_path, path))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_steps": 2000, "save_steps": 7, "lora_r": 8, "guard_device": "cuda:1", "guard_sleep": True},
        {"eval_datasets": [PromptSet("b.jsonl")]},
        {"scheme_kwargs": {}},
        {"datasets": [{"path": "a.jsonl", "fraction": 1}]},
    ],
)
def test_auto_goes_on_with_the_same_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    made(tmp_path)
    assert find(tmp_path, **changes) == str(tmp_path / "checkpoint-5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheme": "hybrid"}, "was made with scheme='guard_only', now scheme='hybrid': give another --output_dir"),
        ({"scheme_kwargs": {"unsafe": -20}}, "scheme_kwargs=None, now scheme_kwargs={'unsafe': -20}"),
        ({"seed": 1}, "seed=0, now seed=1"),
        ({"guard": "other"}, "guard='some/guard', now guard='other'"),
        ({"guard_revision": "abc"}, "guard_revision=None, now guard_revision='abc'"),
        ({"controversial": "safe"}, "controversial=None, now controversial='safe'"),
        ({"thinking": "joint"}, "thinking='separate', now thinking='joint'"),
        ({"guard_system_prompt": "omit"}, "guard_system_prompt='show', now guard_system_prompt='omit'"),
        ({"on_outcome": {"empty": None}}, "on_outcome=None, now on_outcome={'empty': None}"),
        ({"helpfulness": "a.b"}, "helpfulness=None, now helpfulness='a.b'"),
        ({"model_name_or_path": "other"}, "model_name_or_path='some/policy', now model_name_or_path='other'"),
        ({"datasets": [PromptSet("b.jsonl")]}, "datasets=[{'path': 'a.jsonl'"),
        ({"trainer": PPOConfig}, "algorithm='GRPOConfig', now algorithm='PPOConfig'"),
        ({"scheme": "hybrid", "seed": 1}, "scheme='guard_only', seed=0, now scheme='hybrid', seed=1"),
    ],
)
def test_auto_does_not_go_on_with_another_run(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    made(tmp_path)
    with pytest.raises(UserError) as error:
        find(tmp_path, **changes)
    assert str(error.value).startswith(f"output_dir: {tmp_path} was made with ")
    assert message in str(error.value)
    assert str(error.value).endswith(f"--resume_from_checkpoint {tmp_path / 'checkpoint-5'}")
    assert "\n" not in str(error.value)


def test_a_named_checkpoint_goes_on_with_other_settings(tmp_path: Path) -> None:
    made(tmp_path)
    named = str(tmp_path / "checkpoint-5")
    assert find(tmp_path, scheme="hybrid", resume_from_checkpoint=named) == named


@pytest.mark.parametrize("record", [None, "", "{", "[]", "{}", '{"configs": 3}', '{"configs": {"DataConfig": 3}}'])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, record: str | None) -> None:
    checkpoint(tmp_path, 5)
    if record is not None:
        (tmp_path / "run_config.json").write_text(record)
    started = configs(tmp_path)
    del started[2]  # the trainer's, which that record does not name
    assert find_checkpoint(args(tmp_path, "auto"), started) == str(tmp_path / "checkpoint-5")


@pytest.mark.parametrize(("max_steps", "finished"), [(4, True), (5, True), (6, False), (-1, False)])
def test_a_run_that_is_finished_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, max_steps: int, finished: bool
) -> None:
    made(tmp_path)
    assert find(tmp_path, max_steps=max_steps) == str(tmp_path / "checkpoint-5")
    assert (f"checkpoint-5 has already reached max_steps ({max_steps}), so nothing is left" in caplog.text) is finished
    assert ("resuming from checkpoint-5" in caplog.text) is not finished


def test_a_record_of_an_older_version_is_compared_under_the_present_names(tmp_path: Path) -> None:
    made(tmp_path, scheme="hybrid", scheme_kwargs={"unsafe": -20})
    file = tmp_path / "run_config.json"
    old = json.loads(file.read_text())
    reward, data = old["configs"]["GuardRewardConfig"], old["configs"]["DataConfig"]
    reward["scheme_values"] = reward.pop("scheme_kwargs")
    del reward["guard_system_prompt"]  # there was no such setting
    for entry in data["datasets"]:
        entry["share"] = entry.pop("fraction")
    file.write_text(json.dumps(old))
    assert find(tmp_path, scheme="hybrid", scheme_kwargs={"unsafe": -20}) == str(tmp_path / "checkpoint-5")
    with pytest.raises(UserError, match=r"was made with scheme_kwargs=\{'unsafe': -20\}, now scheme_kwargs=None"):
        find(tmp_path, scheme="hybrid")


def test_a_callable_that_has_moved_is_the_same_one(tmp_path: Path) -> None:
    made(tmp_path, helpfulness="guard_reward.tiny.grpo.oracle_helpfulness")
    assert find(tmp_path, helpfulness="guard_reward.tiny.oracle.oracle_helpfulness") is not None
    assert find(tmp_path, helpfulness="guard_reward.tiny.grpo.oracle_helpfulness") is not None
