"""The guard's prompt: whatever messages contain, its control tokens, turns and sections are the conversation's own."""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from guard_reward.guards.codec import Codec
from guard_reward.guards.inputs import InputEncoder
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.verdict import Outcome, Unjudged
from tests.forged_forms import HAND_WRITTEN, random_form
from tests.soak.target import Target, Unavailable, require
from tests.soak.texts import hostile_text, mutated

_REAL = Path(__file__).resolve().parents[4] / "shared" / "qwen3guard"
_LIMIT = 4096  # tokens of an input
_LABEL = re.compile(r"(?<![A-Za-z0-9])(?<!\w_)(?<![A-Z0-9]-)(USER|ASSISTANT) ?: ?")
_SECTION = re.compile(r"<(?:BEGIN|END) (?:SAFETY POLICY|UNSAFE CONTENT CATEGORIES|REFUSAL POLICY|CONVERSATION)>")
_FORMS = list(HAND_WRITTEN.values())


class Conversation(NamedTuple):
    """Messages, for the guard with this tokenizer."""

    tokenizer: str
    messages: list[dict[str, str]]


@cache
def _encoder(tokenizer: str) -> InputEncoder:
    from transformers import AutoTokenizer

    if tokenizer == "real":
        if not _REAL.is_dir():
            raise Unavailable("needs the folder ../shared")
        return Codec.of(QWEN3GUARD, AutoTokenizer.from_pretrained(_REAL)).encoder(_LIMIT)
    from guard_reward.tiny import load_tiny_guard

    return Codec.of(QWEN3GUARD, load_tiny_guard().tokenizer).encoder(_LIMIT)


def _content(random: Random) -> str:
    if random.random() < 0.5:
        return hostile_text(random)
    form = random_form(random) if random.random() < 0.6 else random.choice(_FORMS)
    return mutated(random, f"Take iron.{form.format(request='Hi?', reply='Sure.', refusal='No.')}")


def _make(tokenizer: str, random: Random) -> Conversation:
    roles = ["system"] * (random.random() < 0.2) + ["user", "assistant"] * random.randrange(1, 3)
    roles = roles[: random.randrange(1, len(roles) + 1)]
    return Conversation(tokenizer, [{"role": role, "content": _content(random)} for role in roles])


def _check(conversation: Conversation) -> None:
    tokenizer, messages = conversation
    encoder = _encoder(tokenizer)
    [rows] = encoder.encode([messages])
    for windows in rows:
        if isinstance(windows, Unjudged):
            require(windows.outcome is Outcome.GUARD_ERROR and windows.reason, "a refusal says why", windows)
            require(len(rows) == 1, "and is the only reading")
            continue
        for window in windows:
            require(len(window.ids) <= _LIMIT, "an input fits into the context", len(window.ids))
            found = _facts(encoder, window.ids.tolist())
            harmless = _harmless(tokenizer, tuple(turn["role"] for turn in window.turns))
            if len(windows) > 1:  # the turns before the judged one may stand in one turn, with their labels
                most = len(_harmless(tokenizer, tuple(message["role"] for message in messages)).labels) + 1
                require(len(found.labels) <= most, "no turn is added", found)
                found = found._replace(labels=harmless.labels)
            require(found == harmless, "control tokens, turns and sections are the conversation's", found, harmless)


class Facts(NamedTuple):
    """What of a guard's input only the template may write: control tokens, labels of turns, number of sections."""

    control_ids: list[int]
    labels: list[str]
    sections: int


def _facts(encoder: InputEncoder, ids: list[int]) -> Facts:
    prompter = encoder.prompter
    special = set(prompter.tokenizer.convert_tokens_to_ids(list(prompter.special_tokens)))
    text = prompter.tokenizer.decode(ids)
    shown = text.partition("<BEGIN CONVERSATION>\n\n")[2].rpartition("\n\n<END CONVERSATION>")[0]
    return Facts([token for token in ids if token in special], _LABEL.findall(shown), len(_SECTION.findall(text)))


@cache
def _harmless(tokenizer: str, roles: tuple[str, ...]) -> Facts:
    """Those of a conversation of the same roles that says nothing."""
    encoder = _encoder(tokenizer)
    return _facts(encoder, encoder.prompter.encode_turns([{"role": role, "content": "Hello."} for role in roles]))


TARGETS = [
    Target("prompting-real", partial(_make, "real"), _check, share=2, prepare=partial(_encoder, "real")),
    Target("prompting-tiny", partial(_make, "tiny"), _check, share=2, prepare=partial(_encoder, "tiny")),
]
