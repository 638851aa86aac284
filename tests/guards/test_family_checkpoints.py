"""Each built-in family with a checkpoint that speaks its format: every verdict is that of greedy ``generate``.

One small model is taught the formats of all families; each has its own prompt, by which the model tells them apart.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guard_reward import GuardReward, Severity, Unjudged, Verdict, load_guard
from guard_reward.guards.codec import Codec
from guard_reward.tiny.guard import build_tiny_guard, sample_conversations
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.tokenizer import END_OF_TURN
from guard_reward.tiny.training import Example, TrainingSettings, save_checkpoint, train
from guard_reward.tiny.world import Split
from tests.guards.families import FAMILIES as WITH_WHOLE_PROMPTS
from tests.guards.families import with_short_prompt
from tests.guards.served.stand_in import StandIn, running

FAMILIES = {name: with_short_prompt(family) for name, family in WITH_WHOLE_PROMPTS.items()}
EXAMPLES = 20  # per family


def facts(conversation):
    """Whether the request is harmful, and whether the response is (None without one)."""
    unsafe = conversation.judgement.severity is Severity.UNSAFE
    if conversation.messages[-1]["role"] == "user":
        return unsafe, None
    return unsafe or bool(conversation.judgement.refusal), unsafe


def of_one_exchange(seed, count, split=Split.TRAIN):
    """Conversations of a request, with or without a response; as many unsafe ones as others."""
    found = [one for one in sample_conversations(seed, 8 * count, split=split) if len(one.messages) <= 2]
    unsafe = [one for one in found if one.judgement.severity is Severity.UNSAFE]
    others = [one for one in found if one.judgement.severity is Severity.SAFE]
    return [one for pair in zip(unsafe, others, strict=False) for one in pair][:count]


def examples(tokenizer):
    for number, family in enumerate(FAMILIES.values()):
        tokenizer.chat_template = family.template
        codec = Codec.of(family.spec, tokenizer)
        for conversation in of_one_exchange(100 + number, EXAMPLES):
            context = codec.encode(conversation.messages)
            answer = family.answer(*facts(conversation)) + END_OF_TURN
            yield Example((*context, *tokenizer.encode(answer, add_special_tokens=False)), target_start=len(context))


@pytest.fixture(scope="module")
def taught():
    """The tiny guard, taught all formats, and its tokenizer."""
    with reproducible(0):
        tokenizer = AutoTokenizer.from_pretrained(build_tiny_guard())
        model = AutoModelForCausalLM.from_pretrained(build_tiny_guard(), dtype="float32")
        settings = TrainingSettings(epochs=6, learning_rate=3e-3, reading_weight=0.0, batch_size=4)
        train(model, list(examples(tokenizer)), settings, label="guard families")
    return model, tokenizer


@pytest.fixture(scope="module")
def checkpoint(taught, tmp_path_factory):
    """The checkpoint of a family, in a folder."""
    model, tokenizer = taught

    def saved(name):
        tokenizer.chat_template = FAMILIES[name].template
        folder = tmp_path_factory.mktemp("families")
        save_checkpoint(folder, model, tokenizer)
        return folder

    return saved


def as_parsed(verdict):
    """A verdict without its probabilities."""
    if isinstance(verdict, Unjudged):
        return verdict
    return replace(verdict, probabilities=None, label_mass=None, refusal_probability=None)


@pytest.fixture(scope="module")
def conversations():
    return of_one_exchange(9, 8, Split.EVAL)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_verdict_is_that_of_greedy_generate(name, checkpoint, conversations):
    spec = FAMILIES[name].spec
    guard = load_guard(checkpoint(name), spec=spec, device="cpu")
    rows = [list(conversation.messages) for conversation in conversations]
    verdicts = guard.moderate(rows)
    for row, verdict in zip(rows, verdicts, strict=True):
        ids = guard.encode(row)
        longest = min(spec.max_new_tokens, 128)
        output = guard.model.generate(torch.tensor([ids]), max_new_tokens=longest, do_sample=False)
        text = guard.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
        is_response = row[-1]["role"] == "assistant"
        assert verdict.text == text
        assert as_parsed(verdict) == spec.parse(text, is_response=is_response)
        if isinstance(verdict, Verdict):
            assert verdict.label_mass > 0
            most_likely = max(zip(verdict.probabilities, Severity, strict=True))[1]
            assert most_likely is verdict.severity
            if is_response:
                refuses = "refusal" in spec.response_answer.slots
                assert (verdict.refusal is not None) == refuses
                assert (verdict.refusal_probability is not None) == refuses
            if name != "rubric":  # binary families
                assert verdict.probabilities.controversial == 0.0
    assert sum(isinstance(verdict, Verdict) for verdict in verdicts) >= len(rows) // 2  # it speaks its format


@pytest.mark.parametrize(
    ("name", "of_response", "tokenizer"),
    [
        ("llama-guard", "'Agent'", None),  # token ids
        ("nemotron", "<|im_start|>assistant\n", False),  # text, and options of the server's chat template
        ("polyguard", "AI assistant:\n", False),  # text, in the family's instruction
    ],
)
def test_behind_a_server_verdicts_are_the_local_ones(name, of_response, tokenizer, checkpoint, conversations):
    folder, spec = checkpoint(name), FAMILIES[name].spec
    guard = load_guard(folder, spec=spec, device="cpu")
    rows = [list(found.messages) for found in conversations if found.messages[-1]["role"] == "assistant"][:4]
    with running(StandIn(guard, model=str(folder), of_response=of_response)) as server:
        served = load_guard(server.url, model=str(folder), tokenizer=tokenizer, spec=spec, deadline=60)
        found = served.moderate(rows)
        served.close()
    assert any(isinstance(verdict, Verdict) for verdict in found)
    for one, other in zip(found, guard.moderate(rows), strict=True):
        assert one.text == other.text
        if isinstance(other, Verdict):
            assert one.severity is other.severity
            if tokenizer is None:  # of text, a label's first token may be a lone blank in this small vocabulary
                assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_a_local_chat_model_can_be_given_a_rubric(checkpoint, conversations):
    """The same specification as behind a server."""
    guard = load_guard(checkpoint("rubric"), spec=FAMILIES["rubric"].spec, device="cpu")
    verdicts = guard.moderate([list(conversation.messages) for conversation in conversations])
    assert sum(isinstance(verdict, Verdict) for verdict in verdicts) >= len(verdicts) // 2


def test_rewards_and_metrics_have_the_categories_by_name(checkpoint):
    guard = load_guard(checkpoint("llama-guard"), device="cpu")  # found by its chat template
    assert guard.spec.name == "llama-guard"
    metrics: dict[str, list[float]] = {}
    rewards = GuardReward(guard)(
        prompts=["How do I use a blue florn?"] * 2,
        completions=["Sure. First cut the florn.", "I can not help with this."],
        log_metric=lambda name, value: metrics.setdefault(name, []).append(value),
    )
    assert set(rewards) <= {0.0, 1.0}
    assert "guard/category/Non-Violent Crimes" in metrics
    assert "guard/refusal_rate" not in metrics
