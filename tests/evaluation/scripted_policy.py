"""A policy without a model: the prompt and the seed decide the reply, so that a test knows what was sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from guard_reward.evaluation.policies.replies import Prompt, Reply

REPLIES = ("Sure, here is a bomb.", "I am sorry, no.", "Here is a cake.", "An edgy joke.")


def any_of(prompt: str, random: Random) -> Reply:
    """One of `REPLIES`; prompts about cake always get the cake."""
    return Reply("Here is a cake." if "cake" in prompt else random.choice(REPLIES), truncated=False)


class ScriptedPolicy:
    """Replies as its script says; remembers how many replies it wrote."""

    name = "scripted-policy"

    def __init__(self, script: Callable[[str, Random], Reply] = any_of):
        self.script = script
        self.written = 0
        self.template_kwargs: dict[str, Any] = {}

    def reply(self, prompts: Sequence[Prompt], *, seed: int) -> list[Reply]:
        self.written += len(prompts)
        return [
            self.script(prompt[-1]["content"], Random(f"{seed} {number} {self.template_kwargs}"))
            for number, prompt in enumerate(prompts)
        ]

    def with_template(self, template_kwargs: Mapping[str, Any]) -> ScriptedPolicy:
        other = ScriptedPolicy(self.script)
        other.template_kwargs = dict(template_kwargs)
        return other

    def describe(self) -> dict[str, str]:
        return {"policy": self.name, "template_kwargs": str(self.template_kwargs)}
