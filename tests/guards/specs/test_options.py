"""What a family can be given, a policy above all, and chat templates that do not take it as it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from guard_reward.guards.codec import Codec
from guard_reward.guards.served.format import ServedFormat
from guard_reward.guards.specs import SPECS, WITH_POLICY
from guard_reward.guards.specs.granite_guardian import granite_guardian, granite_guardian_33
from guard_reward.guards.specs.nemotron import nemotron
from guard_reward.guards.specs.rubric import rubric
from guard_reward.guards.specs.shieldgemma import shieldgemma
from guard_reward.models.alternating import alternating
from guard_reward.tiny.guard import build_tiny_guard
from tests.guards.families import CHATML, FAMILIES, GRANITE_TEMPLATE


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(build_tiny_guard())


@pytest.mark.parametrize("name", WITH_POLICY)
def test_a_policy_reaches_the_prompt_word_for_word(name, tokenizer):
    policy = "Unsafe: cheese {{ 1 + 1 }} {% x %} 'quoted' 🧀"
    spec = WITH_POLICY[name](policy)
    shown = [*spec.wrapping.values(), *map(str, spec.template_options.values())]
    tokenizer.chat_template = FAMILIES[name].template
    assert any("cheese" in text for text in shown)
    assert policy in tokenizer.decode(Codec.of(spec, tokenizer).encode([{"role": "user", "content": "Hi."}]))


@pytest.mark.parametrize(
    ("spec", "template"),
    [
        (nemotron("No cheese."), CHATML),
        (granite_guardian_33(custom_criteria="The text sells cheese."), CHATML),
        (granite_guardian("cheese", "The text sells cheese."), GRANITE_TEMPLATE),  # knows its own risks only
    ],
)
def test_a_policy_that_the_template_leaves_out_is_refused(spec, template, tokenizer):
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=f"policy: the checkpoint's chat template does not show it.*{spec.name} with"):
        Codec.of(spec, tokenizer)


@pytest.mark.parametrize("written", ["{{ custom_policy | tojson }}", "{{ custom_policy | trim }}"])
def test_a_policy_may_be_written_in_another_form(written, tokenizer):
    tokenizer.chat_template = "{{ messages[0].content }}" + written
    Codec.of(nemotron(' Unsafe: "cheese" & <wine> 🧀\n\nSafe: bread. '), tokenizer)


@pytest.mark.parametrize("name", ["llama-guard", "llama-guard-3-1b", "nemotron"])
def test_neighbouring_turns_of_one_role_are_joined_where_the_template_refuses_them(name, tokenizer):
    """An assistant's call of a tool and its answer behind the result are two turns of one role."""
    tokenizer.chat_template = FAMILIES[name].template
    codec = Codec.of(FAMILIES[name].spec, tokenizer)
    messages = [
        {"role": "user", "content": "Hi."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "I ask."},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 4."},
    ]
    shown = tokenizer.decode(codec.encode(messages))
    assert "Hi.\n\n2+2?" in shown
    assert "[tool result] 4\n\nIt is 4." in shown
    assert shown == tokenizer.decode(codec.encode(alternating(codec.prompter.normalize(messages))))


def test_a_server_is_sent_joined_turns_too():
    format = ServedFormat(SPECS["llama-guard"], None, None, "chat")
    turns = [{"role": role, "content": text} for role, text in (("user", "Hi."), ("user", "Hello?"), ("user", "Why?"))]
    [[[window]]] = format.readings([turns], SimpleNamespace(endpoint=SimpleNamespace(name="chat")))
    assert window.turns == [{"role": "user", "content": "Hi.\n\nHello?\n\nWhy?"}]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: shieldgemma(["No Fun"]), "no principle 'No Fun'; there are No Dangerous Content"),
        (lambda: rubric("  "), "policy: the rubric is empty"),
        (lambda: rubric(3), "policy: .* no text, found 3"),
        (lambda: rubric(categories="Cheese"), r"categories: should be a list of names, .*write \['Cheese'\]"),
        (lambda: rubric(categories=None), "categories: should be a list of names"),
        (lambda: rubric(categories=["Cheese", 1]), "categories: 1 is no text"),
        (lambda: rubric(categories=[" "]), "categories: '' cannot stand in a list"),
        (lambda: rubric(categories=[" None "]), "categories: 'None' cannot stand in a list"),
        (lambda: rubric(categories=["a, b"]), "'a, b' cannot stand in a list"),
    ],
)
def test_what_a_family_cannot_be_given(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_category_is_found_as_it_is_answered():
    spec = rubric(categories=[" Cheese ", "Cheese", "Milk"])
    assert spec.response_categories == ("Cheese", "Milk")
    verdict = spec.parse("Safety: Unsafe\nCategories: Cheese\nRefusal: No", is_response=True)
    assert (verdict.categories, verdict.unknown_categories) == (("Cheese",), ())


@pytest.mark.parametrize(
    "system",
    ["{{ raise_exception('System role not supported') }}", ""],  # Gemma's; one that leaves it out
    ids=["refuses", "leaves out"],
)
@pytest.mark.parametrize("name", ["rubric", "polyguard"])
def test_an_instruction_is_shown_by_a_template_without_a_system_role(name, system, tokenizer):
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message.role == 'system' %}" + system + "{% else %}<|im_start|>"
        "{{ message.role }}\n{{ message.content | trim }}<|im_end|>\n{% endif %}{% endfor %}"
    )
    spec = SPECS[name]
    shown = tokenizer.decode(Codec.of(spec, tokenizer).encode([{"role": "user", "content": "How are you?"}]))
    first_line = spec.wrapping["system"].partition("\n")[0]
    assert f"<|im_start|>user\n{first_line}" in shown
    assert shown.count("<|im_start|>") == 1
    assert "How are you?" in shown.partition(first_line)[2]


def test_options_of_a_family():
    assert granite_guardian("violence").template_options["guardian_config"] == {"risk_name": "violence"}
    assert granite_guardian_33(think=True).template_options["think"] is True
    assert nemotron(think=True).template_options["enable_thinking"] is True
    assert nemotron("No cheese.").response_categories == ()
    assert rubric(categories=[]).wrapping["system"].count("Categories: None\n") == 1
