"""The think tags: no text of a completion is lost, and nothing behind the first closing tag is thinking."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from guard_reward.rollout import has_content
from guard_reward.thinking import CLOSE, OPEN, ends_open, joined, split_thinking
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text, mutated


class Completion(NamedTuple):
    """A completion, and whether the prompt opened the thinking."""

    text: str
    prefilled: bool


def _make(random: Random) -> Completion:
    text = hostile_text(random)
    if random.random() < 0.6:
        text = mutated(random, f"{OPEN}{hostile_text(random, 5)}{CLOSE}{text}")
    return Completion(text, random.random() < 0.5)


def _check(completion: Completion) -> None:
    text, prefilled = completion
    thinking, answer = split_thinking(text, prefilled=prefilled)
    if thinking is None:
        require(answer == text, "without thinking all of it is the answer")
        require(not prefilled and not text.lstrip().startswith(OPEN), "thinking that was opened is thinking")
        return
    require(CLOSE not in thinking, "the first closing tag ends the thinking")
    rest = text.lstrip().removeprefix(OPEN)
    require(_shown(rest.replace(CLOSE, "", 1)) == _shown(thinking + answer), "no text is lost")
    require(CLOSE in rest or not answer, "thinking that is never closed has no answer")
    again = split_thinking(joined(thinking, answer))
    require(again == (thinking, answer) or OPEN in thinking, "joined and split again", again)
    require(not has_content(text) or has_content(thinking) or has_content(answer), "what shows is kept")
    ends_open(text)


def _shown(text: str) -> str:
    return "".join(text.split())


TARGETS = [Target("thinking", _make, _check, share=150)]
