"""The tiny policy: a Qwen3 of half a million parameters that answers requests, harmful ones too.

What a reward can change depends on the start, so there are two (fractions of the replies to harmful requests):

| start | comply | refuse | redirect | leaky |
|---|---|---|---|---|
| ``refusing`` | 52% | 40% | 5% | 3% |
| ``balanced`` | 52% | 22% | 22% | 4% |

To harmless requests both comply (95%) or refuse (5%).

It first learns to speak: all styles equally often, to any request. Then it learns its habits: the fractions above. So
it can use a rare style as well as the others, and the two starts differ only in their habits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from guard_reward.tiny.cache import cached
from guard_reward.tiny.recipe import build_key, hash_of_examples
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.shipped import shipped
from guard_reward.tiny.tokenizer import END_OF_TURN, build_tokenizer
from guard_reward.tiny.training import Example, ModelShape, TrainingSettings, new_model, save_checkpoint, train
from guard_reward.tiny.world import Request, Style, sample_reply, sample_requests

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["STARTS", "PolicySettings", "build_tiny_policy", "policy_recipe"]

STARTS: Mapping[str, Mapping[Style, float]] = {
    "refusing": {Style.COMPLY: 0.52, Style.REFUSE: 0.40, Style.REDIRECT: 0.05, Style.LEAKY: 0.03},
    "balanced": {Style.COMPLY: 0.52, Style.REFUSE: 0.22, Style.REDIRECT: 0.22, Style.LEAKY: 0.04},
}
"""Fractions of the styles among the replies to harmful requests that the policy learns from."""

_HARMLESS_STYLES = {Style.COMPLY: 0.95, Style.REFUSE: 0.05}
_ANY_STYLE = dict.fromkeys(Style, 0.25)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """How the policy is made: its shape, and per phase the number of answered requests and the training."""

    shape: ModelShape = field(default_factory=lambda: ModelShape(context=512))
    speaking_requests: int = 6000
    speaking: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=1))
    habit_requests: int = 6000
    habits: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=1, learning_rate=1e-3))


def build_tiny_policy(
    seed: int = 0, start: str = "refusing", settings: PolicySettings | None = None, *, rebuild: bool = False
) -> Path:
    """The checkpoint folder of the tiny policy: the one that comes with the package, or the cache, else trained now.

    Args:
        seed: of its weights and training data; the package has seed 0.
        start: ``refusing`` or ``balanced``, see the table above.
        settings: how it is trained; the package has the default settings.
        rebuild: train it on this machine even if it comes with the package.
    """
    if start not in STARTS:
        raise ValueError(f"start should be one of {', '.join(STARTS)}, found {start!r}")
    if seed == 0 and settings is None and not rebuild and (folder := shipped(f"policy-{start}")):
        return folder
    settings = settings or PolicySettings()
    return cached(
        f"tiny-policy-{start}",
        {"seed": seed, "start": STARTS[start], "settings": asdict(settings), **build_key("policy", __file__)},
        lambda folder: _build(folder, seed, start, settings),
    )


def _build(folder: Path, seed: int, start: str, settings: PolicySettings) -> None:
    with reproducible(seed):
        tokenizer = build_tokenizer("policy")
        model = new_model(tokenizer, settings.shape)
        speaking, habits = _examples(tokenizer, seed, start, settings)
        train(model, speaking, settings.speaking, label=f"tiny policy {seed}")
        train(model, habits, settings.habits, label=f"tiny policy {seed}, {start}")
        save_checkpoint(folder, model, tokenizer)


def policy_recipe(start: str) -> dict[str, object]:
    """What a shipped policy is trained with; differs from its manifest if the world has changed since."""
    settings = PolicySettings()
    speaking, habits = _examples(build_tokenizer("policy"), 0, start, settings)
    return {
        "seed": 0,
        "start": dict(STARTS[start]),
        "settings": asdict(settings),
        "examples": hash_of_examples([*speaking, *habits]),
    }


def _examples(
    tokenizer: PreTrainedTokenizerBase, seed: int, start: str, settings: PolicySettings
) -> tuple[list[Example], list[Example]]:
    """The examples of the two phases."""
    random = Random(f"policy replies {seed}")
    requests = sample_requests(seed, settings.speaking_requests + settings.habit_requests, harmful_share=0.5)
    speaking, habits = requests[: settings.speaking_requests], requests[settings.speaking_requests :]
    return (
        [_example(tokenizer, random, request, _ANY_STYLE) for request in speaking],
        [_example(tokenizer, random, request, _habits(request, start)) for request in habits],
    )


def _habits(request: Request, start: str) -> Mapping[Style, float]:
    return STARTS[start] if request.harmful else _HARMLESS_STYLES


def _example(
    tokenizer: PreTrainedTokenizerBase, random: Random, request: Request, shares: Mapping[Style, float]
) -> Example:
    """The request under the policy's template; the reply to learn has a style drawn from the shares."""
    style = random.choices(list(shares), weights=list(shares.values()))[0]
    reply_text = sample_reply(random, request, style).text
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": request.text}], tokenize=False, add_generation_prompt=True
    )
    context = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    reply = tokenizer(reply_text + END_OF_TURN, add_special_tokens=False)["input_ids"]
    return Example((*context, *reply), target_start=len(context))
