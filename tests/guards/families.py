"""The built-in guard families, as a small model can be taught them: the checkpoint's template, and what it answers.

The chat templates of the checkpoints are not in this repository: those here have the same structure (roles that must
alternate, contents as lists of parts, options), with fewer words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from guard_reward import GuardSpec
from guard_reward.guards.specs import SPECS
from guard_reward.guards.specs.granite_guardian import granite_guardian_33
from guard_reward.guards.specs.nemotron import nemotron

_INSTRUCTIONS = re.compile(
    r"Task: Check[\s\S]*(?=<BEGIN CONVERSATION>)|(?<=<END CONVERSATION>\n)[\s\S]*(?=Output JSON:)"
    r"|You are a classifier[\s\S]*?response is harmful\.(?=\n)"
)

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_ALTERNATES = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}"
)
LLAMA_GUARD_TEMPLATE = (
    "{% set role = 'Agent' if messages|length % 2 == 0 else 'User' %}<|im_start|>user\nCheck '{{ role }}'.\n"
    "S5: Defamation.\nS14: Code Interpreter Abuse.\n<BEGIN CONVERSATION>\n\n"
    "{% for message in messages %}" + _ALTERNATES + "{{ 'User' if message.role == 'user' else 'Agent' }}: "
    "{{ message['content'].strip() + '\n\n' }}{% endfor %}<END CONVERSATION>\n<|im_end|>\n<|im_start|>assistant"
)
LLAMA_GUARD_1B_TEMPLATE = (
    "{% set role = 'Agent' if messages|length % 2 == 0 else 'User' %}<|im_start|>user\nCheck the '{{ role }}'.\n"
    'S5: "Defamation."\n<BEGIN CONVERSATION>\n\n'
    "{% for message in messages %}" + _ALTERNATES + "{% for content in message['content'] | selectattr('type', "
    "'equalto', 'text') %}{{ 'User' if message.role == 'user' else 'Agent' }}: {{ content['text'] | trim + '\n\n' }}"
    "{% endfor %}{% endfor %}<END CONVERSATION>\n<|im_end|>\n<|im_start|>assistant"
)
GRANITE_TEMPLATE = (
    "{% set risk_bank = {'harm': 'harmful by common-sense'} %}<|im_start|>user\nIs the {{ messages[-1].role }} message "
    "{{ risk_bank['harm'] }}?\n<start_of_turn>\n{% if messages|length > 1 %}User Message: {{ messages[-2].content }}\n"
    "Assistant Message: {% else %}User Message: {% endif %}{{ messages[-1].content }}\n<end_of_turn><|im_end|>\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GRANITE_33_TEMPLATE = (
    "{% set criteria_id = guardian_config.custom_criteria or guardian_config.criteria_id "
    "if guardian_config is defined else 'harm' %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>user\n{{ '<guardian> think' if think else '<guardian>' }} {{ criteria_id }}<|im_end|>\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NEMOTRON_TEMPLATE = (
    "{% for message in messages %}" + _ALTERNATES + "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{{ request_categories }}{{ ' /think' if enable_thinking else '' }}\n{{ custom_policy }}\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _wildguard(request: bool, response: bool | None) -> str:
    return (
        f"Harmful request: {_yes(request)}\nResponse refusal: {_refusal(request, response)}\n"
        f"Harmful response: {_yes(response)}"
    )


def _llama_guard(request: bool, response: bool | None) -> str:
    return "\n\n" + (("unsafe\nS1,S10" if response is None else "unsafe\nS2") if _last(request, response) else "safe")


def _granite(request: bool, response: bool | None) -> str:
    return f"{_yes(_last(request, response)).title()}\n<confidence> {'Low' if request else 'High'} </confidence>"


def _granite_33(request: bool, response: bool | None) -> str:
    return f"<think>\n</think>\n<score> {_yes(_last(request, response))} </score>"


def _granite_33_think(request: bool, response: bool | None) -> str:
    return f"<think>\nIs it {_yes(request)}?\n</think>\n<score> {_yes(_last(request, response))} </score>"


def _shieldgemma(request: bool, response: bool | None) -> str:
    return _yes(_last(request, response)).title()


def _nemotron_json(request: bool, response: bool | None) -> str:
    rated = "" if response is None else f', "Response Safety": "{_safe(response)}"'
    listed = ', "Safety Categories": "Violence, Threat"' if request or response else ""
    return f'{{"User Safety": "{_safe(request)}"{rated}{listed}}}'


def _nemotron(request: bool, response: bool | None) -> str:
    rated = "" if response is None else f"\nResponse Safety: {_safe(response)}"
    return f"User Safety: {_safe(request)}{rated}" + (
        "\nSafety Categories: Violence, Threat" if request or response else ""
    )


def _nemotron_think(request: bool, response: bool | None) -> str:
    return f"<think>\nIt is {_safe(request)}.\n</think>\n\n" + _nemotron(request, response)


def _polyguard(request: bool, response: bool | None) -> str:
    return (
        f"Harmful request: {_yes(request)}\nRequest safety violations: {'S2,S14' if request else 'None'}\n"
        f"Response refusal: {_yes(request and not response)}\nHarmful response: {_yes(bool(response))}\n"
        f"Response safety violations: {'S1' if response else 'None'}"
    )


def _rubric(request: bool, response: bool | None) -> str:
    unsafe = _last(request, response)
    lines = [f"Safety: {'Unsafe' if unsafe else 'Safe'}", f"Categories: {'Violence, Crime' if unsafe else 'None'}"]
    return "\n".join([*lines, *([] if response is None else [f"Refusal: {_refusal(request, response).title()}"])])


def _yes(value: bool | None) -> str:
    return {None: "N/A", True: "yes", False: "no"}[value]


def _refusal(request: bool, response: bool | None) -> str:
    """A safe response to a harmful request refuses."""
    return _yes(None if response is None else request and not response)


def _safe(unsafe: bool) -> str:
    return "unsafe" if unsafe else "safe"


def _last(request: bool, response: bool | None) -> bool:
    return request if response is None else response


@dataclass(frozen=True, slots=True)
class Family:
    """One family.

    Attributes:
        spec: its specification.
        template: the chat template of the checkpoint; None if it has none.
        answer: (request is harmful, response is harmful or None) → what the guard answers.
    """

    spec: GuardSpec
    template: str | None
    answer: Callable[[bool, bool | None], str]


def _short(spec: GuardSpec) -> GuardSpec:
    """With answers of at most 96 tokens: a small model that forgets to end its thinking should not take long."""
    return replace(spec, max_new_tokens=96)


FAMILIES = {
    "wildguard": Family(SPECS["wildguard"], None, _wildguard),
    "llama-guard": Family(SPECS["llama-guard"], LLAMA_GUARD_TEMPLATE, _llama_guard),
    "llama-guard-3-1b": Family(SPECS["llama-guard-3-1b"], LLAMA_GUARD_1B_TEMPLATE, _llama_guard),
    "granite-guardian": Family(SPECS["granite-guardian"], GRANITE_TEMPLATE, _granite),
    "granite-guardian-3.3": Family(SPECS["granite-guardian-3.3"], GRANITE_33_TEMPLATE, _granite_33),
    "granite-guardian-3.3, thinking": Family(
        _short(granite_guardian_33(think=True)), GRANITE_33_TEMPLATE, _granite_33_think
    ),
    "shieldgemma": Family(replace(SPECS["shieldgemma"], max_new_tokens=4), None, _shieldgemma),
    "nemotron-json": Family(SPECS["nemotron-json"], CHATML, _nemotron_json),
    "nemotron": Family(SPECS["nemotron"], NEMOTRON_TEMPLATE, _nemotron),
    "nemotron, thinking": Family(_short(nemotron("No cuts.", think=True)), NEMOTRON_TEMPLATE, _nemotron_think),
    "polyguard": Family(SPECS["polyguard"], CHATML, _polyguard),
    "rubric": Family(_short(SPECS["rubric"]), CHATML, _rubric),
}


def with_short_prompt(family: Family) -> Family:
    """The family with fewer words in its instruction, so that a model can be taught in seconds."""
    if family.spec.name == "shieldgemma":
        options = dict.fromkeys(family.spec.template_options, "No harm.")
        return replace(family, spec=replace(family.spec, template_options=options))
    texts = {
        role: _INSTRUCTIONS.sub("", text) if role == "user" else f"{family.spec.name}."
        for role, text in family.spec.wrapping.items()
    }
    template = family.spec.chat_template and _INSTRUCTIONS.sub("", family.spec.chat_template)
    policy = None if family.spec.wrapping else family.spec.policy
    return replace(family, spec=replace(family.spec, wrapping=texts, chat_template=template, policy=policy))
