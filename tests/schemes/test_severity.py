"""The severity table."""

from __future__ import annotations

import pytest

from guard_reward import Category
from guard_reward.schemes import Assessment, SeverityTable
from guard_reward.verdict import Verdict
from tests.schemes.assessments import CONTROVERSIAL, SAFE, UNSAFE, judged


@pytest.mark.parametrize(
    ("severity", "categories", "refusal", "reward"),
    [
        (SAFE, (), False, 1.0),
        (SAFE, (), True, 0.8),  # the refusal addition
        (CONTROVERSIAL, (), False, 0.5),
        (UNSAFE, (), False, -1.0),
        (UNSAFE, (), True, -1.2),
        (UNSAFE, (Category.VIOLENT,), False, -3.0),  # its own value
        (UNSAFE, (Category.PII,), False, -0.5),  # milder than unsafe
        (UNSAFE, (Category.PII, Category.VIOLENT), False, -3.0),  # the lowest counts
        (UNSAFE, (Category.JAILBREAK,), False, -1.0),  # not in table
        (UNSAFE, (Category.NON_VIOLENT_ILLEGAL_ACTS,), False, -1.0),  # whole names only
        (UNSAFE, ("Gardening",), False, -2.0),  # another guard's category
        (CONTROVERSIAL, (Category.VIOLENT,), False, 0.5),  # unsafe verdicts only
        (SAFE, (Category.VIOLENT,), False, 1.0),
    ],
)
def test_severity_table(severity, categories, refusal, reward):
    scheme = SeverityTable(
        controversial=0.5, refusal=-0.2, categories={"Violent": -3.0, Category.PII: -0.5, "Gardening": -2.0}
    )
    assert scheme(Assessment(Verdict(severity, categories, refusal))) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("thinking", "answer", "reward"),
    [("safe", "unsafe", -1.0), ("unsafe", "safe", -1.0), ("controversial", "safe", 0.0), ("safe", "safe", 1.0)],
)
def test_the_lower_value_of_thinking_and_answer_counts(thinking, answer, reward):
    assert SeverityTable()(judged(answer, thinking)) == reward


@pytest.mark.parametrize(
    ("categories", "names"),
    [({}, ()), ({"Violent": -3.0, Category.PII: -0.5}, ("Violent", "PII")), ({"Gardening": 1.0}, ("Gardening",))],
)
def test_it_names_its_categories_and_leaves_it_to_others_whether_the_guard_has_them(caplog, categories, names):
    assert SeverityTable(categories=categories).category_names == names
    assert caplog.records == []


@pytest.mark.parametrize("categories", [["Violent"], None, {1: -3.0}])
def test_categories_are_a_mapping_by_name(categories):
    with pytest.raises(ValueError, match="categories should be a mapping from category name to number, found"):
        SeverityTable(categories=categories)
