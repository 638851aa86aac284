"""Prompt labels: the words for harmful and benign, and what cannot be read."""

from __future__ import annotations

import pytest

from guard_reward import GuardReward
from tests.rewards.helpers import Log, score
from tests.scripted_guard import ScriptedGuard


@pytest.mark.parametrize(
    ("label", "split"),
    [
        (True, "harmful"),
        (False, "benign"),
        (1, "harmful"),
        (0, "benign"),
        ("harmful", "harmful"),
        ("benign", "benign"),
        ("Unsafe", "harmful"),  # any case
        ("safe", "benign"),
        ("unharmful", "benign"),  # WildGuardMix
        ("adversarial_harmful", "harmful"),  # WildJailbreak
        ("vanilla_benign", "benign"),
        ("adversarial-benign", "benign"),
        (None, None),  # no label
    ],
)
def test_prompt_labels(label, split):
    log = Log()
    score(GuardReward(ScriptedGuard(), prompt_label_column="kind"), "fine", log=log, kind=[label])
    assert [word for word in ("harmful", "benign") if f"guard/safe_rate/{word}" in log.metrics] == [split] * bool(split)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "prompt_label_column='kind' is not a column of the dataset; there are no other columns"),
        ({"label": ["harmful"], "source": ["web"]}, "is not a column of the dataset; there are label, source"),
        ({"kind": ["not_harmful"]}, "column 'kind' should hold bools.*found 'not_harmful'"),
        ({"kind": ["un-safe"]}, "column 'kind' should hold bools.*found 'un-safe'"),
        ({"kind": ["dangerous"]}, "column 'kind' should hold bools, or words such as harmful.*found 'dangerous'"),
        ({"kind": ["not_known"]}, "found 'not_known'"),
        ({"kind": [2]}, "found 2"),
    ],
)
def test_labels_that_cannot_be_read(columns, message):
    with pytest.raises(ValueError, match=message):
        score(GuardReward(ScriptedGuard(), prompt_label_column="kind"), "fine", **columns)
