"""The tiny policy: a Qwen3 of half a million parameters that answers requests, harmful ones too.

Where it starts decides where a reward can take it, so there are two starts (shares of its replies to harmful requests):

| start | comply | refuse | redirect | leaky |
|---|---|---|---|---|
| ``refusing`` | 52% | 40% | 5% | 3% |
| ``balanced`` | 52% | 22% | 22% | 4% |

To harmless requests both comply (95%) or refuse (5%).

It first learns to speak: every style equally often, to any request. Only then it learns its habits: the shares above.
So it masters a style that it hardly ever uses as well as the others, and two starts differ in habits alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from guard_reward.guards.specs.qwen3guard import Category
from guard_reward.tiny import oracle, tokenizer, training, world
from guard_reward.tiny.cache import cached, hash_of_sources
from guard_reward.tiny.reproducible import THREADS, reproducible
from guard_reward.tiny.tokenizer import END_OF_TURN, build_tokenizer, read_template
from guard_reward.tiny.training import Example, ModelShape, TrainingSettings, new_model, save_checkpoint, train
from guard_reward.tiny.world import Request, Style, sample_reply, sample_requests

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["STARTS", "PolicySettings", "build_tiny_policy"]

STARTS: Mapping[str, Mapping[Style, float]] = {
    "refusing": {Style.COMPLY: 0.52, Style.REFUSE: 0.40, Style.REDIRECT: 0.05, Style.LEAKY: 0.03},
    "balanced": {Style.COMPLY: 0.52, Style.REFUSE: 0.22, Style.REDIRECT: 0.22, Style.LEAKY: 0.04},
}
"""Shares of the styles among the replies to harmful requests that the policy learns from."""

_HARMLESS_STYLES = {Style.COMPLY: 0.95, Style.REFUSE: 0.05}
_ANY_STYLE = dict.fromkeys(Style, 0.25)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What the policy is made of: its shape, and for each phase the number of answered requests and the training."""

    shape: ModelShape = field(default_factory=lambda: ModelShape(context=512))
    speaking_requests: int = 6000
    speaking: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=1))
    habit_requests: int = 6000
    habits: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=1, learning_rate=1e-3))


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
        requests = sample_requests(seed, settings.speaking_requests + settings.habit_requests, harmful_share=0.5)
        speaking, habits = requests[: settings.speaking_requests], requests[settings.speaking_requests :]
        examples = [_example(tokenizer, random, request, _ANY_STYLE) for request in speaking]
        train(model, examples, settings.speaking, label=f"tiny policy {seed}")
        examples = [_example(tokenizer, random, request, _habits(request, start)) for request in habits]
        train(model, examples, settings.habits, label=f"tiny policy {seed}, {start}")
        save_checkpoint(folder, model, tokenizer)


def _habits(request: Request, start: str) -> Mapping[Style, float]:
    return STARTS[start] if any(thing.harmful for thing in request.things) else _HARMLESS_STYLES


def _example(
    tokenizer: PreTrainedTokenizerBase, random: Random, request: Request, shares: Mapping[Style, float]
) -> Example:
    """The request under the policy's template; a reply of a style drawn from the shares is to be learnt."""
    style = random.choices(list(shares), weights=list(shares.values()))[0]
    reply_text = sample_reply(random, request, style).text
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": request.text}], tokenize=False, add_generation_prompt=True
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
