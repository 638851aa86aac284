"""The tiny policy: a Qwen3 of half a million parameters that answers requests, harmful ones too.

Where it starts decides where a reward can take it, so there are two starts (shares of its replies to harmful requests):

| start | comply | refuse | redirect | leaky |
|---|---|---|---|---|
| ``refusing`` | 52% | 40% | 5% | 3% |
| ``balanced`` | 52% | 22% | 22% | 4% |

To harmless requests both comply (95%) or refuse (5%).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from guard_reward.tiny import oracle, tokenizer, training, world
from guard_reward.tiny.cache import cached, hash_of_sources
from guard_reward.tiny.reproducible import THREADS, reproducible
from guard_reward.tiny.tokenizer import END_OF_TURN, build_tokenizer, read_template
from guard_reward.tiny.training import Example, ModelShape, TrainingSettings, new_model, save_checkpoint, train
from guard_reward.tiny.world import Style, sample_reply, sample_requests
from guard_reward.verdict import Category

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["STARTS", "PolicySettings", "build_tiny_policy"]

STARTS: Mapping[str, Mapping[Style, float]] = {
    "refusing": {Style.COMPLY: 0.52, Style.REFUSE: 0.40, Style.REDIRECT: 0.05, Style.LEAKY: 0.03},
    "balanced": {Style.COMPLY: 0.52, Style.REFUSE: 0.22, Style.REDIRECT: 0.22, Style.LEAKY: 0.04},
}
"""Shares of the styles among the replies to harmful requests that the policy learns from."""

_HARMLESS_STYLES = {Style.COMPLY: 0.95, Style.REFUSE: 0.05}


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What the policy is made of: how many requests it sees answered, its shape, its training."""

    requests: int = 12000
    shape: ModelShape = field(default_factory=lambda: ModelShape(context=512))
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=1))


def build_tiny_policy(seed: int = 0, start: str = "refusing", settings: PolicySettings | None = None) -> Path:
    """The checkpoint folder of the tiny policy, trained now unless it is in the cache.

    Args:
        seed: of its weights and training data.
        start: ``refusing`` or ``balanced``, see the table above.
    """
    if start not in STARTS:
        raise ValueError(f"start should be one of {', '.join(STARTS)}, found {start!r}")
    settings = settings or PolicySettings()
    return cached(
        f"tiny-policy-{start}",
        {"seed": seed, "start": STARTS[start], "settings": asdict(settings), **_code_key()},
        lambda folder: _build(folder, seed, start, settings),
    )


def _build(folder: Path, seed: int, start: str, settings: PolicySettings) -> None:
    with reproducible(seed):
        tokenizer = build_tokenizer("policy")
        model = new_model(tokenizer, settings.shape)
        random = Random(f"policy replies {seed}")
        examples = []
        for request in sample_requests(seed, settings.requests, harmful_share=0.5):
            harmful = any(thing.harmful for thing in request.things)
            shares = STARTS[start] if harmful else _HARMLESS_STYLES
            style = random.choices(list(shares), weights=list(shares.values()))[0]
            examples.append(_example(tokenizer, request.text, sample_reply(random, request, style).text))
        train(model, examples, settings.training, label=f"tiny {start} policy {seed}")
        save_checkpoint(folder, model, tokenizer)


def _example(tokenizer: PreTrainedTokenizerBase, request_text: str, reply_text: str) -> Example:
    """The request under the policy's template; the reply and its end of turn are to be learnt."""
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": request_text}], tokenize=False, add_generation_prompt=True
    )
    context = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    reply = tokenizer(reply_text + END_OF_TURN, add_special_tokens=False)["input_ids"]
    return Example((*context, *reply), target_start=len(context))


def _code_key() -> dict[str, object]:
    """What decides the weights beside seed and settings: this room's code, the libraries, the threads."""
    import tokenizers
    import torch
    import transformers

    sources = [Path(module.__file__) for module in (oracle, tokenizer, training, world) if module.__file__]
    return {
        "code": hash_of_sources(Path(__file__), *sources),
        "template": read_template("policy"),
        "categories": list(Category),
        "versions": [torch.__version__, transformers.__version__, tokenizers.__version__],
        "threads": THREADS,
    }
