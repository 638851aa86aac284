"""`GuardSpec`: probabilities from the labels' log-probabilities."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest

from guard_reward import GuardSpec, Severity
from guard_reward.guards.answer import AnswerFormat, Labels


def test_labels_that_share_their_first_token_count_once():
    """Two words for one meaning: their common token has its probability once."""
    answer = AnswerFormat(
        "Verdict: <severity>",
        severity=Labels({"bad": Severity.UNSAFE, "bad, very": Severity.UNSAFE, "good": Severity.SAFE}),
    )
    spec = GuardSpec("shared", answer)
    vocabulary: dict[str, int] = {}

    def encode(text):
        pieces = re.findall(r" ?[a-zA-Z]+|[:,]| ", text)
        return [vocabulary.setdefault(piece, len(vocabulary)) for piece in pieces]

    grammar = spec.grammar(encode, is_response=True)
    state = grammar.start
    for token in encode("Verdict:"):
        state = grammar.step(state, token)
    decision = grammar.decision(state)
    assert [list(vocabulary)[token] for token in decision.token_ids] == [" bad", " good"]
    by_label = grammar.by_label({"severity": [math.log(0.4), math.log(0.6)]})
    verdict = spec.with_probabilities(answer.parse("Verdict: good"), by_label, is_response=True)
    assert verdict.probabilities == pytest.approx((0.6, 0.0, 0.4))
    assert verdict.label_mass == pytest.approx(1.0)


def test_new_fields_come_last():
    """So that arguments by place keep their meaning."""
    names = [field.name for field in dataclasses.fields(GuardSpec)]
    assert names[5:9] == ["chat_template", "roles", "turn_labels", "sections"]
    assert names[-5:] == ["wrapping", "template_options", "is_any_model", "alternates", "policy"]
