"""Rows of a trainer: hostile prompts and completions never raise, and no word that a user would see is lost."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any, NamedTuple

import numpy as np

from guard_reward.conversation import normalize
from guard_reward.messages import METADATA
from guard_reward.rewards.policy import PolicyFacts
from guard_reward.rewards.reading import read_rollout
from guard_reward.rollout import Rollout
from guard_reward.verdict import Outcome, Unjudged
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text, json_value, scalar

_ROLES = ("user", "assistant", "assistant", "assistant", "tool", "system", "gpt", "human", "function", "ipython", "AI")
_ASSISTANTS = ("assistant", "gpt", "AI", "function_call")
_FACTS = [
    None,
    *(
        PolicyFacts(eos_token_ids=(2,), thinking_prefilled=prefilled, thinking_parsed=parsed)
        for prefilled in (False, True)
        for parsed in (None, False, True)
    ),
]


class Row(NamedTuple):
    """One row; all of its `words` must be found in what is judged, unless it is `broken`."""

    prompt: Any
    completion: Any
    policy: PolicyFacts | None
    words: tuple[str, ...]
    broken: bool


class _Writer:
    """Makes texts with words in them that are found nowhere else."""

    def __init__(self, random: Random):
        self.random = random
        self.words: list[str] = []
        self.broken = False
        self._numbers = count()

    def text(self) -> str:
        word = f"kept{next(self._numbers)}q"
        self.words.append(word)
        return f"{hostile_text(self.random, 4)} {word} {hostile_text(self.random, 3)}"

    def content(self) -> Any:
        kind = self.random.randrange(9)
        if kind < 4:
            return self.text()
        if kind == 4:
            return None
        if kind == 5:
            part = {"text": self.text(), "cache_control": {"a": 1}}
            return [{"type": "text", "text": self.text()}, self.text(), part]
        if kind == 6:
            return np.array([{"type": "output_text", "text": self.text(), "note": self.text()}], dtype=object)
        if kind == 7:
            return ""
        self.broken = True
        return self.random.choice(
            (3, 1.5, True, b"bytes", [{"type": "image", "url": "x"}], {"text": "x"}, [3], object())
        )

    def call(self) -> Any:
        kind = self.random.randrange(4)
        if kind == 2:
            return self.text()
        if kind == 3:
            return {"odd": {"deep": [self.text(), {"deeper": (self.text(),)}]}}

        def nested() -> dict[str, Any]:
            return {"a": [self.text(), {"b": self.text()}]}

        function = {"name": "f", "arguments": self.random.choice((self.text, nested, dict, str))()}
        if kind == 0:
            return {"type": "function", "id": "1", "function": function, "note": self.text()}
        return {**function, "extra": [self.text()]}

    def message(self) -> Any:
        role = self.random.choice(_ROLES)
        names = ("from", "value") if self.random.random() < 0.1 else ("role", "content")
        message: dict[Any, Any] = dict(zip(names, (role, self.content()), strict=True))
        if self.random.random() < 0.3:
            message[self.random.choice(sorted(METADATA))] = json_value(self.random, 2)
        if role in _ASSISTANTS:
            self._add_fields(message)
        return message

    def _add_fields(self, message: dict[Any, Any]) -> None:
        if self.random.random() < 0.3:
            message["tool_calls"] = [self.call() for _ in range(self.random.randrange(3))]
        if self.random.random() < 0.2:
            message[self.random.choice(("reasoning_content", "reasoning", "thinking"))] = self.text()
        if self.random.random() < 0.2:
            message[self.random.choice(("note", "audio", "annotations"))] = self.random.choice(
                (self.text, lambda: {"a": self.text()}, lambda: [self.text(), 3, None, {4: self.text()}])
            )()
        if self.random.random() < 0.1:
            message["refusal"] = self.text()

    def conversation(self, fewest: int) -> Any:
        kind = self.random.randrange(10)
        if kind < 3:
            return self.text()
        if kind == 3:
            self.broken = True
            return self.random.choice((scalar(self.random) or 7, [json_value(self.random)], {"role": "user"}, [[]], 5))
        return [self.message() for _ in range(self.random.randrange(fewest, 4))]


def _make(random: Random) -> Row:
    writer = _Writer(random)
    prompt, completion = writer.conversation(1), writer.conversation(0)
    return Row(prompt, completion, random.choice(_FACTS), tuple(writer.words), writer.broken)


def _check(row: Row) -> None:
    rollout = read_rollout(row.prompt, row.completion, policy=row.policy)
    if isinstance(rollout, Unjudged):
        require(rollout.outcome is Outcome.GUARD_ERROR and rollout.reason, "it says why", rollout)
        require(row.broken, "a row that is not broken can be read", rollout.reason)
        return
    seen = " ".join([*(message["content"] for message in rollout.messages), rollout.thinking or "", rollout.answer])
    if not row.broken:
        require(not (lost := [word for word in row.words if word not in seen]), "no word is lost", lost)
    _check_conversations(rollout)


def _check_conversations(rollout: Rollout) -> None:
    answer, thinking = rollout.answer_conversation(), rollout.thinking_conversation()
    require(answer[-1] == {"role": "assistant", "content": rollout.answer}, "the answer is judged")
    require(thinking[-1]["content"] == (rollout.thinking or ""), "the thinking is judged")
    joint = rollout.joint_conversation()[-1]["content"]
    require(rollout.answer in joint and (rollout.thinking or "").strip() in joint, "both are judged together")
    require(normalize(answer) is answer, "a conversation is normal")
    require(rollout.thinking is None or rollout.thinking.strip(), "thinking is not blank")


TARGETS = [Target("rollouts", _make, _check, share=120)]
