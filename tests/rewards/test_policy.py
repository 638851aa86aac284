"""What a reward reads from the trainer: end tokens, and whether the policy's template opens the thinking."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from guard_reward import GuardReward
from guard_reward.rewards.policy import PolicyFacts, policy_of_trainer
from tests.rewards.helpers import Log
from tests.scripted_guard import ScriptedGuard


class Tokenizer:
    """A policy's tokenizer; its template opens the thinking unless it is switched off."""

    eos_token_id = 2

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt, chat_template, **options):
        opened = "<think>\n" if options.get("enable_thinking", True) else "<think>\n\n</think>\n\n"
        return f"{messages[0]['content']}{chat_template or opened}"


class Trainer(Log):
    """A trainer as TRL builds it: `metric` is the method that it passes as ``log_metric``."""

    def __init__(self, tokenizer=None, ends=None, **attributes):
        super().__init__()
        self.processing_class = tokenizer or Tokenizer()
        self.model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=ends))
        vars(self).update(attributes)


class Bare:
    eos_token_id = 2

    def apply_chat_template(self, *_, **__):
        raise ValueError("no chat template")


PARSING = Tokenizer()
PARSING.response_schema = {"type": "object"}


@pytest.mark.parametrize(
    ("trainer", "facts"),
    [
        (Trainer(), PolicyFacts((2,), True)),
        (Trainer(ends=7), PolicyFacts((7, 2), True)),
        (Trainer(ends=[7, 2, 9]), PolicyFacts((7, 2, 9), True)),
        (Trainer(ends=[7], eos_token_ids=[5]), PolicyFacts((5, 2), True)),  # the trainer's own come first
        (Trainer(chat_template_kwargs={"enable_thinking": False}), PolicyFacts((2,), False)),
        (Trainer(chat_template=" no thinking"), PolicyFacts((2,), False)),
        (Trainer(SimpleNamespace(tokenizer=Tokenizer())), PolicyFacts((2,), True)),  # a processor
        (Trainer(PARSING), PolicyFacts((2,), True, thinking_parsed=True)),  # TRL splits the thinking off
        (Trainer(Bare()), PolicyFacts((2,), False)),
        (Trainer(object()), None),
    ],
)
def test_the_facts(trainer, facts):
    assert policy_of_trainer(trainer.metric) == facts


@pytest.mark.parametrize("log_metric", [None, print, Log().metric, lambda name, value: None])
def test_a_log_that_is_not_a_trainers_tells_nothing(log_metric):
    assert policy_of_trainer(log_metric) is None


CHAT = [{"role": "user", "content": "How?"}]


def reply(text):
    return [{"role": "assistant", "content": text}]


def run(reward, *, prompt, completion, ids, trainer):
    columns = {}
    reward(
        prompts=[prompt],
        completions=[completion],
        completion_ids=[ids],
        log_metric=trainer.metric,
        log_extra=lambda name, values: columns.update({name: values[0]}),
    )
    return columns


@pytest.mark.parametrize(
    ("options", "ids", "truncated"),
    [
        ({}, [5, 2], False),  # known by default
        ({}, [5, 6], True),
        ({"eos_token_ids": [6]}, [5, 6], False),  # explicit arguments win
        ({"eos_token_ids": 6}, [5, 2], True),
    ],
)
def test_truncation_is_known_by_default(options, ids, truncated):
    reward = GuardReward(ScriptedGuard(), **options)
    columns = run(reward, prompt=CHAT, completion=reply("fine"), ids=ids, trainer=Trainer())
    assert columns["guard_truncated"] is truncated


@pytest.mark.parametrize(
    ("options", "prompt", "completion", "asked"),
    [
        ({}, CHAT, reply("a plan</think>fine"), ["fine", "a plan"]),
        ({"thinking_prefilled": False}, CHAT, reply("a plan</think>fine"), ["a plan</think>fine"]),
        ({"eos_token_ids": [2]}, CHAT, reply("a plan</think>fine"), ["fine", "a plan"]),  # each is read alone
        ({}, "How?", "a plan</think>fine", ["a plan</think>fine"]),  # no template is applied to plain strings
        # A turn that the policy continues was not opened by the template: nothing in it may count as thinking.
        (
            {},
            [*CHAT, {"role": "assistant", "content": "Well, "}],
            reply("bomb</think>fine"),
            ["Well, bomb</think>fine"],
        ),
        ({"thinking": "ignore"}, [*CHAT, *reply("Well, ")], reply("bomb</think>fine"), ["Well, bomb</think>fine"]),
        (
            {"thinking": "ignore", "thinking_prefilled": True},  # nor if you say that the template opens turns
            [*CHAT, *reply("Well, ")],
            reply("bomb</think>fine"),
            ["Well, bomb</think>fine"],
        ),
    ],
)
def test_prefilled_thinking_is_known_by_default(options, prompt, completion, asked):
    """Nothing that the policy writes decides where its thinking ends but the first closing tag of a raw completion."""
    guard = ScriptedGuard()
    run(GuardReward(guard, **options), prompt=prompt, completion=completion, ids=[5, 2], trainer=Trainer())
    assert sorted(guard.asked_about) == sorted(asked)
