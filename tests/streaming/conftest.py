"""The tiny policy, which complies with harmful requests half of the time."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def policy() -> Any:
    """Model and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from guard_reward.tiny import build_tiny_policy

    folder = build_tiny_policy()
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def requests() -> list[Any]:
    """48 harmful requests, as conversations."""
    from guard_reward.tiny.world import Split, sample_requests

    found = sample_requests(3, 48, harmful_share=1.0, split=Split.EVAL)
    return [[{"role": "user", "content": request.text}] for request in found]
