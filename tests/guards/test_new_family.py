"""A new guard family is one specification: loaded, drafted, parsed and rewarded like the built-in one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guard_reward import GuardReward, Severity, Unjudged, Verdict, load_guard
from guard_reward.models.chat_template import Prompter
from guard_reward.tiny.guard import build_tiny_guard, sample_conversations
from guard_reward.tiny.reproducible import reproducible
from guard_reward.tiny.tokenizer import END_OF_TURN
from guard_reward.tiny.training import Example, TrainingSettings, save_checkpoint, train
from guard_reward.tiny.world import Split
from tests.guards import verdict_json
from tests.guards.verdict_json import VERDICT_JSON

ANSWERS = {True: '{"violation": "yes"}', False: '{"violation": "no"}'}


def is_violation(messages):
    """A rule that a tiny model learns in seconds."""
    return "First" in messages[-1]["content"]


def examples(tokenizer, count):
    """Conversations under the family's prompt, and its answer: a last message with instructions is a violation."""
    prompter = Prompter(tokenizer, template=VERDICT_JSON.chat_template, roles=VERDICT_JSON.roles)
    for conversation in sample_conversations(7, count):
        context = prompter.encode(conversation.messages)
        answer = ANSWERS[is_violation(conversation.messages)] + END_OF_TURN
        yield Example((*context, *tokenizer.encode(answer, add_special_tokens=False)), target_start=len(context))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of the family: the tiny guard, taught other answers in a few seconds."""
    with reproducible(0):
        tokenizer = AutoTokenizer.from_pretrained(build_tiny_guard())
        tokenizer.chat_template = None
        model = AutoModelForCausalLM.from_pretrained(build_tiny_guard(), dtype="float32")
        settings = TrainingSettings(epochs=1, learning_rate=1e-3, reading_weight=0.0)
        train(model, list(examples(tokenizer, 800)), settings, label="verdict-json guard")
        target = tmp_path_factory.mktemp("checkpoints") / "my-guard"
        save_checkpoint(target, model, tokenizer)
    return target


@pytest.fixture(scope="module")
def guard(folder):
    return load_guard(folder, spec=VERDICT_JSON, device="cpu")


@pytest.fixture(scope="module")
def conversations():
    return [list(conversation.messages) for conversation in sample_conversations(8, 120, split=Split.EVAL)]


def greedy_answer(guard, conversation):
    ids = guard.encode(conversation)
    output = guard.model.generate(torch.tensor([ids]), max_new_tokens=128, do_sample=False)[0, len(ids) :]
    return guard.tokenizer.decode(output, skip_special_tokens=True)


def test_it_takes_fewer_than_forty_lines():
    assert len(Path(verdict_json.__file__).read_text().splitlines()) < 40


def test_every_verdict_is_that_of_greedy_generate(guard, conversations):
    verdicts = guard.moderate(conversations)
    found = Counter()
    for conversation, verdict in zip(conversations, verdicts, strict=True):
        text = greedy_answer(guard, conversation)
        assert verdict.text == text
        try:
            label = json.loads(text)["violation"]
        except (ValueError, KeyError):
            assert isinstance(verdict, Unjudged)
            continue
        assert verdict.severity is {"yes": Severity.UNSAFE, "no": Severity.SAFE}[label]
        assert (verdict.categories, verdict.refusal) == ((), None)
        found[label] += 1
    assert min(found["yes"], found["no"]) >= 20


def test_one_pass_is_enough(guard, conversations):
    """Both answers are in the first draft."""
    before = guard.usage
    verdicts = guard.moderate(conversations)
    assert all(isinstance(verdict, Verdict) for verdict in verdicts)
    assert guard.usage.since(before).passes_per_verdict == 1.0


def test_probabilities_are_the_softmax_over_the_two_labels(guard, conversations):
    [verdict] = guard.moderate(conversations[:1])
    opening = guard.tokenizer.encode('{"violation": "', add_special_tokens=False)
    with torch.no_grad():
        logits = guard.model(torch.tensor([[*guard.encode(conversations[0]), *opening]])).logits[0, -1].double()
    no, yes = (guard.tokenizer.encode(word, add_special_tokens=False)[0] for word in ("no", "yes"))
    p_no, p_yes = logits.softmax(-1)[[no, yes]].tolist()
    assert verdict.label_mass == pytest.approx(p_no + p_yes, abs=1e-5)
    assert verdict.probabilities == pytest.approx((p_no / (p_no + p_yes), 0.0, p_yes / (p_no + p_yes)), abs=1e-5)


def test_it_learned_its_rule(guard, conversations):
    """Measured: 112 of 120."""
    verdicts = guard.moderate(conversations)
    right = [
        (verdict.severity is Severity.UNSAFE) == is_violation(conversation)
        for verdict, conversation in zip(verdicts, conversations, strict=True)
    ]
    assert sum(right) >= 96


def test_rewards_and_metrics_come_from_its_specification(guard):
    metrics: dict[str, list[float]] = {}
    rewards = GuardReward(guard)(
        prompts=["How do I use a blue florn?"] * 2,
        completions=["Sure. First cut the florn.", "USER: hi"],
        log_metric=lambda name, value: metrics.setdefault(name, []).append(value),
    )
    assert set(rewards) <= {0.0, 1.0}
    assert not [name for name in metrics if "/category/" in name]  # it has no categories
    assert "guard/refusal_rate" not in metrics  # nor does it say whether a response refuses
    assert metrics["guard/injection_attempt_rate"] == [0, 1]  # its own turn labels


def test_without_the_specification_the_error_says_what_is_missing(folder):
    with pytest.raises(ValueError, match=r"no chat template.*GuardSpec\(chat_template=\.\.\.\)"):
        load_guard(folder)
