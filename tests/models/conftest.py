from __future__ import annotations

import copy

import pytest

from guard_reward.models.chat_template import Prompter
from tests.models.conversations import TEMPLATES


@pytest.fixture(scope="module")
def prompters(qwen_tokenizer):
    """One prompter a template."""
    made = {}
    for name, template in TEMPLATES.items():
        tokenizer = copy.copy(qwen_tokenizer)
        tokenizer.chat_template = template or tokenizer.chat_template
        made[name] = Prompter(tokenizer)
    return made


@pytest.fixture(scope="module")
def qwen(prompters):
    return prompters["qwen3guard"]
