"""A toy language for the scoring room: thirty tokens, and models that nearly speak the verdict format.

The models are Qwen3s (or others) whose head is built so that the next token mostly follows from the last one, as the
table `FOLLOWS` says, and random weights decide between the possibilities. So their answers leave the grammar and
come back to it at every possible place, end early, late and never: what a trained guard does once in a thousand
rows, they do all the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from guard_reward.guards.specs.qwen3guard import QWEN3GUARD, Category

_TAILS = ["iolent", "-violent Illegal Acts", "exual Content or Sexual Acts", "uicide & Self-Harm", "nethical Acts"]
_WORDS = [
    *("Safety", "Categories", "Refusal", ":", "\n", ",", " Safe", " Unsafe", " Cont", "roversial", " None", " Yes"),
    *(" No", " V", " Non", " S", " U", " PII", "?", "<end>"),
    *(*_TAILS, " Politically Sensitive Topics", " Copyright Violation", " Jailbreak"),
]
_BOUNDARY = {"\n": ["Categories", "Refusal", "Safety"], ",": [" V", " Non", " S", " PII", " Jailbreak", "?"]}
FOLLOWS = {  # token → what may follow it
    "Safety": [":"],
    "Categories": [":"],
    "Refusal": [":"],
    ":": [" Safe", " Unsafe", " Cont", " None", " V", " Non", " S", " Yes", " No", "?"],
    " Safe": ["\n", "<end>"],
    " Unsafe": ["\n"],
    " Cont": ["roversial"],
    "roversial": ["\n"],
    " None": ["\n", "<end>"],
    " V": ["iolent"],
    " Non": ["-violent Illegal Acts", "iolent"],
    " S": ["exual Content or Sexual Acts", "uicide & Self-Harm"],
    " U": ["nethical Acts"],
    "?": [",", "\n", "?"],
    " Yes": ["<end>", "\n"],
    " No": ["<end>"],
    "<end>": ["Safety"],
    **{word: [",", "\n", "<end>"] for word in (*_TAILS, " PII", " Jailbreak")},
    **_BOUNDARY,
}
END = _WORDS.index("<end>")


def encode(text: str) -> list[int]:
    """Greedy: the longest word first, as a BPE would merge them."""
    pattern = "|".join(re.escape(word) for word in sorted(_WORDS, key=len, reverse=True))
    found = re.findall(pattern, text)
    assert "".join(found) == text, text
    return [_WORDS.index(word) for word in found]


def decode(tokens: list[int]) -> str:
    return "".join(_WORDS[token] for token in tokens)


def toy_model(seed: int, architecture: str = "Qwen3", noise: float = 0.35, **config: Any) -> Any:
    """A small float32 model of the toy language."""
    import transformers

    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(_WORDS),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "initializer_range": 0.1,
        "eos_token_id": END,
        "pad_token_id": END,
        "bos_token_id": None,
        **config,
    }
    model = getattr(transformers, f"{architecture}ForCausalLM")(
        getattr(transformers, f"{architecture}Config")(**settings)
    )
    with torch.no_grad():
        words = torch.linalg.qr(torch.randn(64, 64))[0][: len(_WORDS)]  # (words, 64), orthonormal
        model.get_input_embeddings().weight.copy_(words * 4)
        head = noise * torch.randn(len(_WORDS), 64) / 8
        for word, followers in FOLLOWS.items():
            for follower in followers:
                head[_WORDS.index(follower)] += words[_WORDS.index(word)]
        model.get_output_embeddings().weight.copy_(head)
    return model.eval()


def greedy(model: Any, inputs: list[list[int]], max_new_tokens: int) -> list[tuple[list[int], bool]]:
    """What ``generate`` answers: token ids without the end token, and whether it came. Rows of one length together."""
    answers: dict[int, tuple[list[int], bool]] = {}
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    for length in sorted({len(row) for row in inputs}):
        indices = [i for i, row in enumerate(inputs) if len(row) == length]
        ids = torch.tensor([inputs[i] for i in indices])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False
        )
        for i, row in zip(indices, output[:, length:].tolist(), strict=True):
            stop = next((k for k, token in enumerate(row) if token in ends), None)
            answers[i] = (row if stop is None else row[:stop], stop is not None)
    return [answers[i] for i in range(len(inputs))]


def toy_inputs(seed: int, count: int) -> list[list[int]]:
    """Random rows of a few lengths, all ending in the answer's usual beginning: an end token."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [1, 4, 4, 9, 9, 9, 30]
    return [
        [*torch.randint(len(_WORDS), (lengths[i % len(lengths)] - 1,), generator=generator).tolist(), END]
        for i in range(count)
    ]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small are slower with more threads, much slower where other programs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """The toy language, its models, and what ``generate`` makes of them."""
    return SimpleNamespace(
        encode=encode,
        decode=decode,
        end=END,
        vocabulary=len(_WORDS),
        model=toy_model,
        inputs=toy_inputs,
        greedy=greedy,
        response=QWEN3GUARD.grammar(encode, is_response=True),
        prompt=QWEN3GUARD.grammar(encode, is_response=False),
        categories=list(Category),
    )
