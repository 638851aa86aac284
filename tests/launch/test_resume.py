"""Where an interrupted run goes on, and what is no longer the same run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

pytest.importorskip("transformers")

from guard_reward.errors import UserError
from guard_reward.launch import GuardRewardConfig, StoppingConfig, check_guard, find_checkpoint, is_finished
from guard_reward.launch.record import recorded
from guard_reward.launch.same_run import setting_changes
from guard_reward.prompts import DataConfig, PromptSet


def checkpoint(run: Path, step: int, *, finished: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"weight": numpy.zeros(3)}, folder / "model.safetensors")
    if finished:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def args(run: Path, wanted: Any, max_steps: int = -1) -> Any:
    return SimpleNamespace(
        output_dir=str(run), resume_from_checkpoint=wanted, max_steps=max_steps, num_train_epochs=3.0
    )


@dataclass
class GRPOConfig:
    """As much of a trainer's arguments as is asked for here."""

    output_dir: str
    seed: int = 0
    max_steps: int = 1000
    num_train_epochs: float = 3.0
    save_steps: int = 10
    learning_rate: float = 1e-6
    beta: float = 0.04
    temperature: float = 1.0
    loss_type: str = "dapo"
    reward_weights: list[float] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    model_init_kwargs: dict[str, Any] | None = None
    report_to: str = "none"
    dataloader_num_workers: int = 0
    hub_model_id: str | None = None
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
    attn_implementation: str | None = None


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


@pytest.mark.parametrize("wanted", [None, "none", "None", "null", "false", False])
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


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (None, "it has no trainer_state.json"),
        ("", "trainer_state.json was not written to its end"),
        ('{"global_st', "trainer_state.json was not written to its end"),
        ("{}", "trainer_state.json was not written to its end"),
    ],
)
def test_auto_passes_over_what_was_not_written_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, state: str | None, fault: str
) -> None:
    checkpoint(tmp_path, 1)
    folder = checkpoint(tmp_path, 2, finished=False)
    if state is not None:
        (folder / "trainer_state.json").write_text(state)
    assert find_checkpoint(args(tmp_path, "auto")) == str(tmp_path / "checkpoint-1")
    assert f"checkpoint-2 is not whole ({fault}): skipped" in caplog.text


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
        {"max_steps": 2000, "num_train_epochs": 4.0, "save_steps": 7, "guard_device": "cuda:1", "guard_sleep": True},
        {"report_to": "wandb", "dataloader_num_workers": 4, "hub_model_id": "me/model", "attn_implementation": "sdpa"},
        {"model_init_kwargs": {"attn_implementation": "sdpa"}},
        {"guard_kwargs": {"gpu_memory_utilization": 0.3}},
        {"eval_datasets": [PromptSet("b.jsonl")]},
        {"scheme_kwargs": {}, "chat_template_kwargs": {}},
        {"datasets": [{"path": "a.jsonl", "fraction": 1}]},
    ],
)
def test_auto_goes_on_with_the_same_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    made(tmp_path)
    assert find(tmp_path, **changes) == str(tmp_path / "checkpoint-5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheme": "hybrid"}, "scheme was 'guard_only', now 'hybrid'. Give another --output_dir"),
        ({"scheme_kwargs": {"unsafe": -20}}, "scheme_kwargs was None, now {'unsafe': -20}"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"guard": "other"}, "guard was 'some/guard', now 'other'"),
        ({"guard_revision": "abc"}, "guard_revision was None, now 'abc'"),
        ({"guard_dtype": "bfloat16"}, "guard_dtype was None, now 'bfloat16'"),
        ({"guard_kwargs": {"quantization": "fp8"}}, "guard_kwargs was None, now {'quantization': 'fp8'}"),
        ({"controversial": "safe"}, "controversial was None, now 'safe'"),
        ({"thinking": "joint"}, "thinking was 'separate', now 'joint'"),
        ({"guard_system_prompt": "omit"}, "guard_system_prompt was 'show', now 'omit'"),
        ({"on_outcome": {"empty": None}}, "on_outcome was None, now {'empty': None}"),
        ({"helpfulness": "a.b"}, "helpfulness was None, now 'a.b'"),
        ({"model_name_or_path": "other"}, "model_name_or_path was 'some/policy', now 'other'"),
        ({"lora_r": 8}, "lora_r was 16, now 8"),
        ({"datasets": [PromptSet("b.jsonl")]}, "datasets[0].path was 'a.jsonl', now 'b.jsonl'"),
        ({"datasets": [PromptSet("a.jsonl", where={"project": "x"})]}, "datasets[0].where was None, now {'project': "),
        ({"datasets": [PromptSet("a.jsonl"), PromptSet("b.jsonl")]}, "datasets was [{'path': 'a.jsonl'"),
        ({"trainer": PPOConfig}, "algorithm was 'GRPOConfig', now 'PPOConfig'"),
        ({"beta": 0.0}, "beta was 0.04, now 0.0"),
        ({"learning_rate": 1e-3}, "learning_rate was 1e-06, now 0.001"),
        ({"temperature": 0.2}, "temperature was 1.0, now 0.2"),
        ({"loss_type": "grpo"}, "loss_type was 'dapo', now 'grpo'"),
        ({"reward_weights": [-1.0]}, "reward_weights was None, now [-1.0]"),
        ({"chat_template_kwargs": {"a": False}}, "chat_template_kwargs was None, now {'a': False}"),
        ({"model_init_kwargs": {"dtype": "bfloat16"}}, "model_init_kwargs was None, now {'dtype': 'bfloat16'}"),
        ({"scheme": "hybrid", "seed": 1}, "scheme was 'guard_only', now 'hybrid'; seed was 0, now 1"),
    ],
)
def test_auto_does_not_go_on_with_another_run(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    made(tmp_path)
    with pytest.raises(UserError) as error:
        find(tmp_path, **changes)
    assert str(error.value).startswith(f"output_dir: {tmp_path} was made with other settings: ")
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
    assert find_checkpoint(args(tmp_path, "auto")) == str(tmp_path / "checkpoint-5")


def test_a_setting_that_the_record_does_not_have_counts_as_its_default(tmp_path: Path) -> None:
    """The version that wrote the record knew no other value; and a setting that only the record has is ignored."""
    made(tmp_path)
    file = tmp_path / "run_config.json"
    old = json.loads(file.read_text())
    for config, name in (("GRPOConfig", "temperature"), ("GuardRewardConfig", "thinking"), ("ModelConfig", "lora_r")):
        del old["configs"][config][name]
    del old["configs"]["DataConfig"]["datasets"][0]["where"]
    old["configs"]["GRPOConfig"]["dropped_later"] = 3
    file.write_text(json.dumps(old))
    assert find(tmp_path) is not None
    with pytest.raises(
        UserError, match=r"settings: thinking was 'separate', now 'joint'; temperature was 1\.0, now 0\."
    ):
        find(tmp_path, temperature=0.5, thinking="joint")


def state(folder: Path, **values: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": numpy.zeros(3)}, folder / "model.safetensors")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 5, "epoch": 0.5, **values}))


@pytest.mark.parametrize("where", [".", "checkpoint-5"])  # saved without checkpoints; killed before the last save
@pytest.mark.parametrize(
    ("changes", "finished"),
    [
        ({"max_steps": 4}, True),
        ({"max_steps": 5}, True),
        ({"max_steps": 6}, False),
        ({"max_steps": -1, "num_train_epochs": 0.5}, True),
        ({"max_steps": -1, "num_train_epochs": 1.0}, False),
        ({"max_steps": 5, "beta": 0.0}, False),  # another run: `find_checkpoint` says so
        ({"max_steps": 5, "resume_from_checkpoint": "none"}, False),
        ({"max_steps": 5, "resume_from_checkpoint": None}, False),
    ],
)
def test_a_finished_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str, changes: dict[str, Any], finished: bool
) -> None:
    made(tmp_path, 1)
    state(tmp_path / where)
    started = configs(tmp_path, **changes)
    assert is_finished(started[2], started) is finished
    said = f"this run is finished, so nothing was changed. Its model is in {tmp_path / where}. Raise --max_steps"
    assert (said in caplog.text) is finished


def test_a_folder_without_a_run_is_not_finished(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        assert not is_finished(args(folder, "auto", max_steps=1))


def test_a_named_checkpoint_without_a_step_left(tmp_path: Path) -> None:
    named = checkpoint(tmp_path, 5)
    with pytest.raises(UserError, match=r"checkpoint-5' has already reached max_steps \(5\); raise --max_steps"):
        find_checkpoint(args(tmp_path, str(named), max_steps=5))
    assert find_checkpoint(args(tmp_path, str(named), max_steps=6)) == str(named)


GUARD = {"guard": "a", "revision": "1", "template_hash": "2", "dtype": "float32", "device": "cpu", "torch": "2.13"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"device": "cuda:0", "torch": "2.14", "new_fact": "x"}, None),
        ({"revision": "3"}, "revision was '1', now '3'"),
        ({"template_hash": "3", "dtype": "bfloat16"}, "template_hash was '2', now '3'; dtype was 'float32', now 'bf"),
    ],
)
def test_another_guard_behind_the_same_name(tmp_path: Path, changes: dict[str, str], message: str | None) -> None:
    (tmp_path / "run_config.json").write_text(json.dumps({"reward": GUARD}))
    reward: Any = SimpleNamespace(describe=lambda: {**GUARD, **changes})
    check_guard(args(tmp_path, "auto"), reward)  # no checkpoint: a fresh start
    last = checkpoint(tmp_path, 5)
    for wanted in (None, "none", str(last)):
        check_guard(args(tmp_path, wanted), reward)
    if message is None:
        check_guard(args(tmp_path, "auto"), reward)
    else:
        with pytest.raises(UserError) as error:
            check_guard(args(tmp_path, "auto"), reward)
        assert f"guard: {tmp_path} was made with another guard behind the same name: {message}" in str(error.value)
        assert str(error.value).endswith(f"--resume_from_checkpoint {last}")


@pytest.mark.parametrize(("part", "option"), [("stopping", "stop"), ("dense_rewards", "stream")])
def test_other_guards_behind_the_same_names(tmp_path: Path, part: str, option: str) -> None:
    """That which stops rollouts, and that which gives rewards per token."""
    reward, same, other = (
        SimpleNamespace(describe=lambda facts=facts: facts) for facts in (GUARD, GUARD, {**GUARD, "revision": "new"})
    )
    recorded_part: Any = [GUARD] if part == "dense_rewards" else GUARD
    (tmp_path / "run_config.json").write_text(json.dumps({"reward": GUARD, part: recorded_part}))
    checkpoint(tmp_path, 5)

    def check(one: Any) -> None:
        given: Any = {"dense": [one]} if part == "dense_rewards" else {"stopping": one}
        check_guard(args(tmp_path, "auto"), reward, **given)  # type: ignore[arg-type]

    check(same)
    with pytest.raises(UserError, match=rf"{option}_guard: .* Give the old one \({option}_revision\)"):
        check(other)


def test_settings_of_a_kind_that_the_record_does_not_know_count_as_unset(tmp_path: Path) -> None:
    """Older recipes could not stop rollouts."""
    assert setting_changes({"GRPOConfig": {}}, [StoppingConfig()], "GRPOConfig") == {}
    changes = setting_changes({"GRPOConfig": {}}, [StoppingConfig("a-guard", stop_device="cpu")], "GRPOConfig")
    assert changes == {"stop_guard": (None, "a-guard")}


@pytest.mark.parametrize("record", ["", "{}", '{"reward": 3}', '{"reward": {}}', '{"dense_rewards": 3}'])
def test_a_record_without_a_guard_is_not_compared(tmp_path: Path, record: str) -> None:
    checkpoint(tmp_path, 5)
    (tmp_path / "run_config.json").write_text(record)
    reward: Any = SimpleNamespace(describe=lambda: GUARD)
    check_guard(args(tmp_path, "auto"), reward)


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
    with pytest.raises(UserError, match=r"scheme_kwargs was \{'unsafe': -20\}, now None"):
        find(tmp_path, scheme="hybrid")


def test_a_callable_that_has_moved_is_the_same_one(tmp_path: Path) -> None:
    made(tmp_path, helpfulness="guard_reward.tiny.grpo.oracle_helpfulness")
    assert find(tmp_path, helpfulness="guard_reward.tiny.oracle.oracle_helpfulness") is not None
    assert find(tmp_path, helpfulness="guard_reward.tiny.grpo.oracle_helpfulness") is not None
