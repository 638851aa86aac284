"""Getting a guard: clear errors, the right device, whole weights whatever the trainer has switched on."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys

import pytest
import torch

from guard_reward import load_guard
from guard_reward.guards import TransformersGuard
from guard_reward.models import precision
from guard_reward.models.checkpoint import default_device, outside_deepspeed
from tests.processors import AVX2, ZEN4, pretend

ROWS = [
    [{"role": "user", "content": "bake a cake"}],
    [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
]


def texts(guard):
    return [verdict.text for verdict in guard.moderate(ROWS)]


@pytest.fixture
def copied(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "guard")


def test_a_folder(checkpoint, tiny_guard):
    for name in (checkpoint, str(checkpoint)):
        guard = load_guard(name)
        assert (guard.name, texts(guard)) == (str(checkpoint), texts(tiny_guard))
        assert not guard.model.training
        assert not any(parameter.requires_grad for parameter in guard.model.parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", torch.bfloat16])
def test_the_dtype_is_passed_on(checkpoint, dtype):
    guard = load_guard(checkpoint, dtype=dtype)
    assert guard.model.dtype == (dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype))
    assert len(texts(guard)) == 2


@pytest.fixture
def in_bfloat16(copied):
    from safetensors.torch import load_file, save_file

    weights = {name: value.bfloat16() for name, value in load_file(copied / "model.safetensors").items()}
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    return copied


@pytest.mark.parametrize(
    ("processor", "chosen", "dtype", "warns"),
    [
        (ZEN4, None, "bfloat16", False),
        (AVX2, None, "float32", False),
        (AVX2, "float32", "float32", False),
        (AVX2, "bfloat16", "bfloat16", True),
        (AVX2, torch.bfloat16, "bfloat16", True),
        (AVX2, "auto", "bfloat16", True),
    ],
)
def test_the_checkpoints_own_dtype_if_the_cpu_is_not_slow(
    in_bfloat16, monkeypatch, caplog, processor, chosen, dtype, warns
):
    pretend(monkeypatch, processor)
    monkeypatch.setattr(precision, "_warned", set())
    guard = load_guard(in_bfloat16, dtype=chosen, device="cpu")
    assert guard.describe()["dtype"] == dtype
    assert [("no instructions for bfloat16" in record.getMessage()) for record in caplog.records] == [True] * warns


def test_float32_instead_of_bfloat16_is_float32_from_the_start(in_bfloat16, monkeypatch):
    pretend(monkeypatch, AVX2)
    instead, chosen = load_guard(in_bfloat16, device="cpu"), load_guard(in_bfloat16, device="cpu", dtype="float32")
    assert instead.moderate(ROWS) == chosen.moderate(ROWS)
    found, expected = instead.model.state_dict(), chosen.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert {buffer.dtype for buffer in instead.model.buffers()} == {buffer.dtype for buffer in chosen.model.buffers()}


def test_other_options_are_passed_on(checkpoint):
    guard = load_guard(checkpoint, attn_implementation="eager", device="cpu", token_budget=123)
    assert guard.model.config._attn_implementation == "eager"
    assert guard.model.device == torch.device("cpu")
    assert guard._parts.batches.token_budget == 123
    with pytest.raises(ValueError, match="token_budget must be at least 1, found 0"):
        load_guard(checkpoint, token_budget=0)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("./nowhere", FileNotFoundError, "'./nowhere' does not exist"),  # relative path
        ("/no/such/folder", FileNotFoundError, "does not exist"),  # absolute path
        ("some/deep/path", FileNotFoundError, "does not exist"),  # no hub id
        ("~/no-such-guard", FileNotFoundError, "does not exist"),  # home folder
        ("http://localhost:9/v1", OSError, "no server says which model it serves"),
    ],
)
def test_names_that_are_no_guard(name, error, message):
    with pytest.raises(error, match=message):
        load_guard(name)


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_guard(tmp_path)


def test_a_checkpoint_without_a_template(copied):
    for file in copied.glob("*.jinja"):
        file.unlink()
    config = json.loads((copied / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (copied / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="no chat template"):
        load_guard(copied)


def test_a_tokenizer_that_can_not_tell_the_labels_apart(copied):
    """Every merge taken out: all labels begin with the token of a blank."""
    tokenizer = json.loads((copied / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["merges"] = []
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ValueError, match="with the same token"):
        load_guard(copied)


# --- device ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "accelerators", "device"),
    [
        ({}, 0, "cpu"),  # no accelerator
        ({"LOCAL_RANK": "1"}, 0, "cpu"),  # ranks on CPU
        ({}, 1, "cuda:0"),  # a single one
        ({"LOCAL_RANK": "3"}, 8, "cuda:3"),  # one a rank
        ({"LOCAL_RANK": "3"}, 2, "cuda:1"),  # ranks share them
        ({"LOCAL_RANK": "1", "ACCELERATE_USE_CPU": "true"}, 2, "cpu"),  # CPU was asked
        ({"ACCELERATE_USE_CPU": "1"}, 2, "cpu"),  # CPU was asked
        ({"ACCELERATE_USE_CPU": "false"}, 2, "cuda:0"),  # it was not
    ],
)
def test_the_device_of_this_process(monkeypatch, environment, accelerators, device):
    for name in ("LOCAL_RANK", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    present = torch.device("cuda") if accelerators else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: present)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: accelerators)
    assert default_device() == torch.device(device)


# --- pickling -------------------------------------------------------------------------------------------------------


def test_a_guard_travels_by_name(checkpoint, tiny_guard):
    guard = load_guard(checkpoint, dtype="bfloat16")
    data = pickle.dumps(guard)
    assert len(data) < 5000
    again = pickle.loads(data)
    assert again._lazy.parts is None  # loads at first use
    assert again.model.dtype == torch.bfloat16
    assert texts(again) == texts(guard)


def test_and_arrives_in_a_fresh_process(checkpoint, tmp_path):
    guard = load_guard(checkpoint)
    (tmp_path / "guard.pickle").write_bytes(pickle.dumps(guard))
    program = (
        "import pickle, sys; guard = pickle.load(open(sys.argv[1], 'rb'));"
        "print([v.text for v in guard.moderate([[{'role': 'user', 'content': 'bake a cake'}]])])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "guard.pickle"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert printed.stdout.strip() == repr(texts(guard)[:1])


# --- inside a trainer that has sharding switched on -----------------------------------------------------------------


class Config:
    """What the trainer keeps alive: transformers holds it by a weak reference."""

    def is_zero3(self):
        return True


def test_the_trainers_deepspeed_config_is_put_back():
    from transformers.integrations import deepspeed as integration

    config = Config()
    integration.set_hf_deepspeed_config(config)
    try:
        with pytest.raises(OSError, match="broken"), outside_deepspeed():
            raise OSError("broken" if not integration.is_deepspeed_zero3_enabled() else "still enabled")
        assert integration.is_deepspeed_zero3_enabled()
        assert integration._hf_deepspeed_config_weak_ref() is config
    finally:
        integration.unset_hf_deepspeed_config()
    with outside_deepspeed():
        assert not integration.is_deepspeed_zero3_enabled()
    assert integration._hf_deepspeed_config_weak_ref is None


def test_a_guard_stays_whole_under_zero_3(checkpoint, tiny_guard, monkeypatch):
    """With a live ZeRO-3 configuration ``from_pretrained`` alone would partition it."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    pytest.importorskip("deepspeed")
    from transformers.integrations import HfDeepSpeedConfig
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    config = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1})
    assert is_deepspeed_zero3_enabled()
    guard = load_guard(checkpoint, device="cpu")
    assert is_deepspeed_zero3_enabled()
    assert config is not None  # alive until here
    assert not any(hasattr(parameter, "ds_id") for parameter in guard.model.parameters())
    for mine, whole in zip(guard.model.parameters(), tiny_guard.model.parameters(), strict=True):
        assert torch.equal(mine, whole)
    assert texts(guard) == texts(tiny_guard)


@pytest.fixture
def one_process_group():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_guard_is_whole_on_every_rank_under_fsdp(checkpoint, tiny_guard, monkeypatch, one_process_group):
    """Accelerate's ``cpu_ram_efficient_loading`` leaves some loading to rank 0; a guard takes no part in that."""
    settings = {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "LOCAL_RANK": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert texts(load_guard(checkpoint, device="cpu")) == texts(tiny_guard)


def test_one_quantization_scale_for_all_tokens_is_refused(tiny_guard):
    """What else is in a call would change a verdict: the guard's own batches do not agree with its single rows."""
    model = torch.ao.quantization.quantize_dynamic(copy.deepcopy(tiny_guard.model), {torch.nn.Linear}, torch.qint8)
    with pytest.raises(ValueError, match=r"one scale for all tokens of a call; quantize the weights only.*TorchAo"):
        TransformersGuard(model, tiny_guard.tokenizer)


@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_a_quantized_guard_takes_the_generic_road(checkpoint, config):
    """torchao keeps the layers and replaces their weights; the answers are those of the quantized model's generate."""
    quantization = pytest.importorskip("torchao.quantization")
    from transformers import TorchAoConfig

    config = TorchAoConfig(getattr(quantization, config)())
    guard = load_guard(checkpoint, device="cpu", dtype="float32", quantization_config=config)
    assert guard.engine.runner.name == "generic"
    conversations = [[{"role": "user", "content": text}] for text in ("How do I use a blue gravok?", "Hello.")]
    for conversation, verdict in zip(conversations, guard.moderate(conversations), strict=True):
        ids = torch.tensor([guard.encode(conversation)])
        output = guard.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=128, do_sample=False)
        assert verdict.text == guard.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


def test_of_several_templates_the_default_one_is_used(tiny_guard, tmp_path):
    tokenizer = copy.deepcopy(tiny_guard.tokenizer)
    tokenizer.chat_template = {"default": tiny_guard.tokenizer.chat_template, "tool_use": "{{ messages }}"}
    tiny_guard.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    guard = load_guard(tmp_path, device="cpu")
    assert isinstance(guard.tokenizer.chat_template, dict)
    rows = [[{"role": "user", "content": "How do I use a blue gravok?"}]]
    assert guard.moderate(rows) == tiny_guard.moderate(rows)
    assert guard.describe()["template_hash"] == tiny_guard.describe()["template_hash"]


def test_a_stream_guard_does_not_run_in_vllm(tiny_stream_guard):
    for name in (tiny_stream_guard.name, "Qwen/Qwen3Guard-Stream-0.6B"):
        with pytest.raises(ValueError, match="is a stream guard, which runs in this process only: leave out vllm:"):
            load_guard(f"vllm:{name}")
