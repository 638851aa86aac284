"""configs/grpo_06b.yaml: every number of its memory table, from the models' published shapes and its own settings."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

pytest.importorskip("trl")
pytest.importorskip("peft")

from peft import get_peft_model
from trl import get_peft_config
from trl.trainer.utils import selective_log_softmax_and_entropy

from guard_reward.scoring.memory import MAX_ON_ACCELERATOR, bytes_per_token
from tests.configs.test_configs import CONFIGS, read

NAME = "grpo_06b.yaml"
CARD, PROMPT, GB = 24.0, 512, 1e9
SHAPE = {
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}  # config.json of Qwen/Qwen3-0.6B, Qwen/Qwen3Guard-Gen-0.6B and Skywork/Skywork-Reward-V2-Qwen3-0.6B


def options_for_full_training() -> list[str]:
    """The options that the file's header adds to the command for full training."""
    header = header_of(NAME)
    words = re.search(r"Full training instead.*?\n(.*?)\n- ", header, re.DOTALL)
    assert words
    return words[1].replace("\\", " ").split()


def header_of(name: str) -> str:
    lines = (CONFIGS / name).read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def table_rows(text: str) -> list[list[str]]:
    """The memory table of a page: what, LoRA, full."""
    lines = text[text.index("| memory (GB) | LoRA | full |") :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    return rows[1:]


@cache
def models(kind: str) -> tuple[Any, Any, Any]:
    """Policy, guard and helpfulness model on the meta device: all parameters, no memory."""
    *_, args, model = read(NAME, *(options_for_full_training() if kind == "full" else []))
    with torch.device("meta"):
        policy = make(Qwen3ForCausalLM, dtype=getattr(torch, model.dtype))
        if kind == "lora":
            policy = get_peft_model(policy, get_peft_config(model))
        guard = make(Qwen3ForCausalLM, dtype=torch.bfloat16)
        helpfulness = make(Qwen3ForSequenceClassification, dtype=torch.bfloat16, num_labels=1)
    assert model.use_peft is (kind == "lora")
    assert args.optim == "adamw_torch_fused"  # two float32 moments a parameter, and no copies in a step
    return policy, guard, helpfulness


def make(model_class: Any, dtype: torch.dtype, **options: Any) -> Any:
    config = Qwen3Config(**SHAPE, **options)
    return model_class._from_config(config, dtype=dtype, attn_implementation="sdpa")


def count(parameters: Iterator[torch.nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def memory(kind: str) -> dict[str, float]:
    """Row of the table → GB, in the table's order; LoRA or full training with the file's settings."""
    reward, _, args, model = read(NAME, *(options_for_full_training() if kind == "full" else []))
    policy, guard, helpfulness = models(kind)
    trained = count(parameter for parameter in policy.parameters() if parameter.requires_grad)
    frozen = count(policy.parameters()) - trained
    size = 2 if model.dtype == "bfloat16" else 4
    length = PROMPT + args.max_completion_length
    round_tokens = args.per_device_train_batch_size * args.steps_per_generation * length
    layers, heads = SHAPE["num_hidden_layers"], SHAPE["num_key_value_heads"] * SHAPE["head_dim"]

    rows = {"policy": (frozen or trained) * size / GB}
    rows["its training"] = trained * (16 if frozen else 12) / GB  # the adapters' own weights are in this row
    rows["guard:"] = 0 if reward.guard_sleep else count(guard.parameters()) * 2 / GB
    rows["helpfulness"] = 0 if reward.guard_sleep else count(helpfulness.parameters()) * 2 / GB
    rows["CUDA"] = 1.0
    always = rows["**always**"] = sum(rows.values())

    rows["KV cache"] = round_tokens * layers * 2 * heads * size / GB
    rows["four copies"] = 4 * rows["KV cache"] / layers
    rows["bfloat16 copies"] = 0 if size == 2 else count(policy.parameters()) * 2 / GB
    rows["**generating"] = always + rows["KV cache"] + rows["four copies"] + rows["bfloat16 copies"]

    awake = rows["guard, if it slept"] = count(guard.parameters()) * 2 / GB if reward.guard_sleep else 0
    needed = min(round_tokens, MAX_ON_ACCELERATOR) * bytes_per_token(guard) / GB
    rows["guard at work"] = min(needed, (CARD - always - awake) / 2)
    rows["**judging"] = always + awake + rows["guard at work"]

    step_tokens = args.per_device_train_batch_size * length
    rows["inputs of the layers"] = step_tokens * layers * SHAPE["hidden_size"] * size / GB
    completions = args.per_device_train_batch_size * args.max_completion_length
    rows["logits"] = 4 * completions * SHAPE["vocab_size"] * 4 / GB
    rows["bfloat16 copies of the weights"] = rows["bfloat16 copies"]
    rows["**training"] = always + rows["inputs of the layers"] + rows["logits"] + rows["bfloat16 copies"]
    rows["**left of 24"] = CARD - max(rows["**generating"], rows["**judging"], rows["**training"])
    return rows


@pytest.mark.parametrize(("kind", "column"), [("lora", 1), ("full", 2)])
def test_every_number_of_the_table(kind: str, column: int) -> None:
    found = table_rows(header_of(NAME))
    expected = memory(kind)
    assert len(found) == len(expected)
    for row, (beginning, value) in zip(found, expected.items(), strict=True):
        assert row[0].startswith(beginning)
        assert float(row[column]) == pytest.approx(value, abs=0.0051), row[0]


def test_the_numbers_that_the_rows_are_made_of() -> None:
    rows = {row[0].split(":")[0]: row[0] for row in table_rows(header_of(NAME))}
    policy, guard, helpfulness = models("full")
    adapters = count(parameter for parameter in models("lora")[0].parameters() if parameter.requires_grad)
    cached = 2 * SHAPE["num_hidden_layers"] * SHAPE["num_key_value_heads"] * SHAPE["head_dim"]
    *_, args, _ = read(NAME)
    *_, full, _ = read(NAME, *options_for_full_training())
    batch = args.per_device_train_batch_size
    for name, numbers in {
        "policy": [count(policy.parameters())],
        "its training": [adapters, count(policy.parameters())],
        "guard": [count(guard.parameters())],
        "helpfulness model": [count(helpfulness.parameters())],
        "KV cache": [batch * args.steps_per_generation, batch * full.steps_per_generation, cached],
        "guard at work": [batch * args.steps_per_generation * 1024, bytes_per_token(guard)],
        "logits and gradients": [batch, args.max_completion_length, SHAPE["vocab_size"]],
    }.items():
        written = re.findall(r"\d[\d,]*", rows[name])
        assert {f"{number:,}" for number in numbers} <= set(written), name


def test_it_fits_with_a_margin() -> None:
    for kind in ("lora", "full"):
        assert memory(kind)["**left of 24"] > 0.15 * CARD


def test_lora_fits_on_16_gb_as_the_header_says_and_full_training_does_not() -> None:
    lora, full = memory("lora"), memory("full")
    judging = lora["**always**"] + (16 - lora["**always**"]) / 2
    assert max(lora["**generating"], lora["**training"], judging) < 14
    assert full["**training"] > 16


def test_the_page_has_the_same_table(repository: Any) -> None:
    page = (repository / "docs" / "training.md").read_text(encoding="utf-8")
    assert table_rows(page) == table_rows(header_of(NAME))


def test_evaluation_rounds_are_smaller_than_rounds_of_training() -> None:
    *_, args, _ = read(NAME, *options_for_full_training())
    assert args.num_generations_eval == 1
    assert args.per_device_eval_batch_size <= args.per_device_train_batch_size * args.steps_per_generation


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_what_the_cache_holds_under_autocast(kind: str) -> None:
    """Full training has float32 norms, so its keys and, with them, the whole cache are float32."""
    *_, model = read(NAME, *(options_for_full_training() if kind == "full" else []))
    small = {**SHAPE, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32, "vocab_size": 8}
    policy = Qwen3ForCausalLM._from_config(Qwen3Config(**small), dtype=getattr(torch, model.dtype))
    policy = get_peft_model(policy, get_peft_config(model)) if model.use_peft else policy
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        layer = policy(torch.tensor([[1, 2]]), use_cache=True).past_key_values.layers[0]
    expected = torch.bfloat16 if kind == "lora" else torch.float32
    assert (layer.keys.dtype, layer.values.dtype) == (expected, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_training_step_needs_what_the_table_says(kind: str) -> None:
    """The peak of a real step at these shapes, counted on tensors without memory; logits whole, as in TRL 1.14."""
    *_, args, _ = read(NAME)
    policy, *_ = models(kind)
    length, kept = PROMPT + args.max_completion_length, args.max_completion_length
    with FakeTensorMode():
        give_fake_weights(policy)
        policy.enable_input_require_grads()
        policy.gradient_checkpointing_enable({"use_reentrant": False})
        policy.train()
        ids = torch.zeros(args.per_device_train_batch_size, length, dtype=torch.long)
        with counted(policy) as live:
            with torch.autocast("cpu", torch.bfloat16):
                logits = policy(ids, torch.ones_like(ids), logits_to_keep=kept + 1, use_cache=False).logits
            logits = logits.float()[:, :-1]  # as accelerate returns them
            logps, _ = selective_log_softmax_and_entropy(logits, ids[:, -kept:], entropy_requires_grad=False)
            del logits
            logps.mean().backward()
    models.cache_clear()  # its weights are fake now
    rows = memory(kind)
    gradients = count(p for p in policy.parameters() if p.requires_grad) * 4 / GB
    expected = rows["**training"] - rows["**always**"]
    assert 0.85 * expected <= live.peak / GB <= expected + gradients


def give_fake_weights(policy: torch.nn.Module) -> None:
    """Replace meta weights by fake ones on the CPU; shared ones stay shared."""
    fakes: dict[int, Any] = {}
    for module in policy.modules():
        for named in (module._parameters, module._buffers):
            for name, old in named.items():
                if old is not None and id(old) not in fakes:
                    new = torch.empty(old.shape, dtype=old.dtype)
                    is_weight = isinstance(old, torch.nn.Parameter)
                    fakes[id(old)] = torch.nn.Parameter(new, old.requires_grad) if is_weight else new
                named[name] = None if old is None else fakes[id(old)]


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, without those that were there before."""

    def __init__(self, known: set[int]):
        super().__init__()
        self.known, self.alive, self.now, self.peak = known, dict[int, int](), 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = function(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._add, results)
        return results

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.known and key not in self.alive:
            self.alive[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self.alive.pop(key)


@contextmanager
def counted(policy: torch.nn.Module) -> Iterator[LiveBytes]:
    known = {tensor.untyped_storage()._cdata for tensor in (*policy.parameters(), *policy.buffers())}
    with LiveBytes(known) as live:
        yield live
