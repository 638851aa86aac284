"""What is saved beside the model: the run's configuration for machines, the model card for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("datasets")

from datasets import Dataset

from guard_reward import GuardReward
from guard_reward.launch import GuardRewardConfig, write_record
from guard_reward.launch.record import recorded
from guard_reward.prompts import DataConfig, PromptSet
from tests.scripted_guard import ScriptedGuard


class Trainer:
    """As much of TRL's trainer as a record is made of."""

    def __init__(self, folder: Path, *, main: bool = True, resumed: str | None = None, source: str = "x"):
        state = SimpleNamespace(
            distributed_type=SimpleNamespace(value="DEEPSPEED"),
            num_processes=2,
            device=SimpleNamespace(type="cpu"),
            deepspeed_plugin=SimpleNamespace(zero_stage=3),
        )
        self.accelerator = SimpleNamespace(state=state)
        self.model = SimpleNamespace(config=SimpleNamespace(_name_or_path="some/policy"))
        self.args = SimpleNamespace(output_dir=str(folder), resume_from_checkpoint=resumed)
        self.train_dataset = Dataset.from_dict({"prompt": ["a", "b", "c"], "source": [source, "y", source]})
        self.eval_dataset = None
        self.is_world_process_zero = lambda: main

    def create_model_card(self, model_name: str | None = None) -> None:
        if self.is_world_process_zero():
            (Path(self.args.output_dir) / "README.md").write_text(f"# {model_name}\n", encoding="utf-8")


@dataclass
class TrainerConfig:
    """Training arguments know themselves what to leave out."""

    hub_token: str = "secret"

    def to_dict(self) -> dict[str, Any]:
        return {"hub_token": "<HUB_TOKEN>", "learning_rate": 1e-6}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sys.argv", ["recipes/grpo.py", "--config", "my run.yaml", "--hub_token", "secret"])
    return tmp_path / "run"


def write(trainer: Trainer, scheme: str = "guard_only") -> None:
    configs = (GuardRewardConfig("some/guard"), DataConfig(datasets=[PromptSet("a.jsonl")]), TrainerConfig())
    write_record(trainer, GuardReward(ScriptedGuard(), scheme), configs)


def read(folder: Path) -> Any:
    return json.loads((folder / "run_config.json").read_text(encoding="utf-8"))


def test_the_record(folder: Path) -> None:
    write(Trainer(folder))
    record = read(folder)
    assert record["reward"]["guard"] == "scripted"
    assert record["reward"]["revision"] == "script"
    assert record["reward"]["scheme"] == "GuardOnly(controversial='unsafe')"
    assert record["configs"]["GuardRewardConfig"]["guard"] == "some/guard"
    assert record["configs"]["DataConfig"]["datasets"][0]["path"] == "a.jsonl"
    assert record["configs"]["TrainerConfig"]["learning_rate"] == 1e-6
    assert record["prompts"] == {"train": {"rows": 3, "sources": {"x": 2, "y": 1}}}
    assert record["launch"] == {
        "command": "recipes/grpo.py --config 'my run.yaml' --hub_token HIDDEN",
        "distributed_type": "DEEPSPEED",
        "world_size": 2,
        "zero_stage": 3,
        "device": "cpu",
        "resumed_from": None,
    }
    assert {"guard-reward", "python", "torch", "transformers"} <= set(record["versions"])
    assert "earlier" not in record


def test_the_model_card(folder: Path) -> None:
    write(Trainer(folder))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# run\n\n## Guard used as the reward\n")
    for row in ("| guard | scripted |", "| scheme | GuardOnly(controversial='unsafe') |", "| world_size | 2 |"):
        assert row in card
    assert "Prompts: x (2), y (1)." in card
    assert "recipes/grpo.py --config 'my run.yaml'" in card


def test_a_card_that_is_made_again_has_the_section_once(folder: Path) -> None:
    trainer = Trainer(folder)
    write(trainer)
    trainer.create_model_card(model_name="again")  # as at every checkpoint
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# again\n")
    assert card.count("## Guard used as the reward") == 1


def test_other_processes_write_nothing(folder: Path) -> None:
    trainer = Trainer(folder, main=False)
    write(trainer)
    trainer.create_model_card(model_name="again")
    assert not folder.exists()


def test_no_token_is_written(folder: Path) -> None:
    write(Trainer(folder))
    assert not [path for path in folder.iterdir() if "secret" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        (["--use_token", "--wandb_api_key", "abc"], "--use_token --wandb_api_key HIDDEN"),
        (["--some_token", "--learning_rate", "1"], "--some_token --learning_rate 1"),  # an option of a config
        (["--hub-token=abc"], "--hub-token=HIDDEN"),
        (["--wandb_api_key", "abc"], "--wandb_api_key HIDDEN"),
        (["--hub_token", "--abc"], "--hub_token HIDDEN"),  # a secret may look like an option
        (["--hub_token", "--ab=c", "--seed", "1"], "--hub_token HIDDEN --seed 1"),
        (["--hub_token=", "--seed", "1"], "--hub_token=HIDDEN --seed 1"),
        (["--run_name=", "--seed=1"], "--run_name= --seed=1"),
        (["--model_init_kwargs", '{"auth": {"password": "abc"}}'], """'{"auth": {"password": "HIDDEN"}}'"""),
        (["--dataset_name", "https://me:hf_abcDEF0123@host/x"], "https://HIDDEN@host/x"),
        (
            ["--eos_token", "<end>", "--scheme_kwargs", '{"unsafe":  -20}'],
            """'<end>' --scheme_kwargs '{"unsafe":  -20}'""",
        ),
    ],
)
def test_the_command_without_its_secrets(
    folder: Path, monkeypatch: pytest.MonkeyPatch, argument: list[str], kept: str
) -> None:
    monkeypatch.setattr("sys.argv", ["recipes/grpo.py", *argument])
    write(Trainer(folder))
    command = read(folder)["launch"]["command"]
    assert command.endswith(kept)
    assert "abc" not in command


def test_configs_without_their_secrets() -> None:
    where = {"api_key": "x", "list": [{"my_secret": 3}], "eos_token": "<end>", "hub_token": None, "kind": "a"}
    entry = PromptSet("a.jsonl", where=where)
    kept = recorded(DataConfig(datasets=[entry]))["datasets"][0]["where"]
    assert kept == {**where, "api_key": "HIDDEN", "list": [{"my_secret": "HIDDEN"}]}


URL = "https://me:hf_0123456789abcdef@host/x"


def test_no_secret_in_a_value_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the command, the settings, the guard's name, the sources of prompts; in the record and in the model card."""
    monkeypatch.setattr("sys.argv", ["grpo.py", "--vllm_server_base_url", URL, "--passwd", "hf_0123456789abcdef"])
    guard = ScriptedGuard()
    guard.describe = lambda: {"guard": URL, "revision": "script"}  # type: ignore[method-assign]
    configs = (GuardRewardConfig(URL, scheme_kwargs={"urls": [URL]}), DataConfig(datasets=[PromptSet(URL)]))
    write_record(Trainer(folder, source=URL), GuardReward(guard), configs)
    for name in ("run_config.json", "README.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "hf_" not in text
        assert text.count("https://HIDDEN@host/x") >= 2
    assert read(folder)["reward"]["guard"] == "https://HIDDEN@host/x"


def test_secrets_of_earlier_records_are_hidden(folder: Path) -> None:
    """Older versions hid fewer secrets, also in the records that they kept."""
    oldest = {"configs": {"A": {"url": URL}}, "launch": {"command": "grpo.py --passwd abc --run_name 'it''s'"}}
    old = {
        "configs": {"A": {"password": "abc"}},
        "launch": {"command": "grpo.py 'x --passwd=abc --auth abc"},
        "earlier": [oldest],
    }
    folder.mkdir()
    (folder / "run_config.json").write_text(json.dumps(old))
    write(Trainer(folder, resumed="run/checkpoint-1"))
    first, second = read(folder)["earlier"]
    assert first == {
        "configs": {"A": {"url": "https://HIDDEN@host/x"}},
        "launch": {"command": "grpo.py --passwd HIDDEN --run_name its"},
    }
    assert second == {
        "configs": {"A": {"password": "HIDDEN"}},
        "launch": {"command": "grpo.py 'x --passwd=HIDDEN --auth HIDDEN"},
    }


@pytest.mark.parametrize("before", ["", "{", "[]"])
def test_a_record_that_cannot_be_read_counts_as_absent(folder: Path, before: str) -> None:
    folder.mkdir()
    (folder / "run_config.json").write_text(before)
    write(Trainer(folder, resumed="run/checkpoint-1"))
    assert "earlier" not in read(folder)


def test_the_record_is_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Trainer(folder))
    before = read(folder)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(Trainer(folder), scheme="severity")
    assert read(folder) == before


def test_a_run_that_is_gone_on_from_keeps_its_records(folder: Path) -> None:
    write(Trainer(folder))
    write(Trainer(folder, resumed="run/checkpoint-1"), scheme="severity")
    write(Trainer(folder, resumed="run/checkpoint-2"))
    record = read(folder)
    assert record["launch"]["resumed_from"] == "run/checkpoint-2"
    schemes = [entry["reward"]["scheme"].split("(")[0] for entry in (*record["earlier"], record)]
    assert schemes == ["GuardOnly", "SeverityTable", "GuardOnly"]


def test_a_fresh_start_has_no_past(folder: Path) -> None:
    write(Trainer(folder))
    write(Trainer(folder))
    assert "earlier" not in read(folder)
