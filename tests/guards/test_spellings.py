"""Answers of tokenizers that begin each text with a blank which is not in it: SentencePiece's."""

from __future__ import annotations

import math
import re

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from guard_reward.guards.grammar import OFF_GRAMMAR
from guard_reward.guards.specs.llama_guard import LLAMA_GUARD
from guard_reward.guards.specs.shieldgemma import SHIELDGEMMA
from guard_reward.guards.specs.wildguard import WILDGUARD
from guard_reward.scoring.draft import ROOT

LONGEST = 64


def sentencepiece(**how):
    """A tokenizer that begins each text with a blank, as Mistral's, Llama 2's and Phi-3's do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    texts = re.findall(
        r"\w+", " ".join([*SENTENCES.values(), "safe", "No"])
    )  # no merge has a blank, a line break or a comma inside
    alphabet = sorted({*"".join(SENTENCES.values()), "▁"})
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    tokenizer.pre_tokenizer = how.get("pre_tokenizer")
    tokenizer.normalizer = how.get("normalizer")
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


SENTENCES = {
    "wildguard": "Harmful request: no\nResponse refusal: no\nHarmful response: yes",
    "shieldgemma": "Yes",
    "llama-guard": "\n\nunsafe\nS1,S10",
}
PREPEND = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


@pytest.mark.parametrize("spec", [WILDGUARD, SHIELDGEMMA, LLAMA_GUARD], ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    "how",
    [
        {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="always")},
        {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first")},
        {"normalizer": PREPEND},
    ],
    ids=["always", "first", "normalizer"],
)
def test_answers_of_tokenizers_that_begin_texts_with_a_blank(spec, how):
    """Behind the template's line break, and behind a control token, where the blank is written."""
    encode, answer = sentencepiece(**how), SENTENCES[spec.name]
    grammar = spec.grammar(encode, is_response=True)
    context = "Answers:\n"
    continued = encode(context + answer)[len(encode(context)) :]
    assert continued != encode(answer)
    for tokens in (continued, encode(answer)):
        decided, state = [], grammar.start
        draft, node = grammar.draft(state, LONGEST), ROOT
        for token in tokens:
            if (found := grammar.decision(state)) and token in found.token_ids:
                decided.append(found.name)
            state = grammar.step(state, token)
            assert state != OFF_GRAMMAR
            node = draft.children[node].get(token) if node is not None else None
        assert decided.count("severity") == 1
        assert tokens is not continued or node is not None or spec is LLAMA_GUARD  # it is drafted, but for the codes


def test_a_label_with_two_spellings_has_the_probability_of_both():
    grammar = SHIELDGEMMA.grammar(
        sentencepiece(pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="always")), is_response=True
    )
    assert len(grammar.decision(grammar.start).token_ids) == 4
    assert grammar._labels["severity"] == ("No", "No", "Yes", "Yes")
    found = grammar.by_label({"severity": [math.log(p) for p in (0.1, 0.2, 0.3, 0.4)]})["severity"]
    assert {label: math.exp(value) for label, value in found.items()} == pytest.approx({"No": 0.3, "Yes": 0.7})
