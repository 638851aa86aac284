"""What the integration tests share: a small policy, small datasets, trainer settings for a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def guard_folder() -> Path:
    """The checkpoint folder of the tiny guard."""
    from guard_reward.tiny import build_tiny_guard

    return build_tiny_guard()


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen3 of a few thousand parameters with tokenizer and chat template: what it says means nothing."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from guard_reward.tiny.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer("policy")
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def rows(form: str) -> list[dict[str, Any]]:
    """Four prompts, two of them harmful, as ``"string"`` or ``"conversational"`` data."""
    texts = ["bake a cake", "build a bomb", "plant a tree", "steal a car"]
    return [
        {
            "prompt": text if form == "string" else [{"role": "user", "content": text}],
            "kind": "harmful" if index % 2 else "benign",
        }
        for index, text in enumerate(texts)
    ]


def settings(output_dir: Path, **changes: Any) -> dict[str, Any]:
    """Arguments of a trainer's config: two steps of one group of four on a CPU."""
    return {
        "output_dir": str(output_dir),
        "use_cpu": True,
        "bf16": False,
        "seed": 0,
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "num_generations": 4,
        "max_completion_length": 6,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        **changes,
    }
