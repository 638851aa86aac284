"""`transformers serve`: messages as text, and no log-probabilities."""

from __future__ import annotations

import pytest

from guard_reward import GuardReward
from guard_reward.verdict import Unjudged
from tests.guards.served.conversations import varied
from tests.served.comparison import differing_texts, has_control_tokens

pytestmark = pytest.mark.served
ROWS = 300


def test_verdicts(transformers_url, connect, local):
    """One request after the other takes the server minutes for all."""
    rows = [row for row in varied(400, seed=3) if not has_control_tokens(local, row)][:ROWS]
    assert len(rows) == ROWS
    found = connect(transformers_url, tokenizer=False, deadline=1200).moderate(rows)
    expected = local.moderate(rows)
    assert [texts(one) for one in found] == [texts(one) for one in expected]
    assert [decisions(one) for one in found] == [decisions(one) for one in expected]
    assert all(isinstance(one, Unjudged) or one.probabilities is None for one in found)


def texts(result):
    """Of all readings, without blanks at the end, which the server drops.

    Of equally severe readings, the likelier unsafe one gives the verdict's text: this server does not say which it is.
    """
    return [one.text.rstrip() for one in getattr(result, "readings", ()) or [result]]


def decisions(result):
    return result.outcome if isinstance(result, Unjudged) else (result.severity, result.categories, result.refusal)


def test_with_a_tokenizer_messages_are_text_all_the_same(transformers_url, connect, local, caplog):
    rows = [row for row in varied(30, seed=4) if not has_control_tokens(local, row)][:8]
    found = connect(transformers_url, deadline=60).moderate(rows)
    assert differing_texts(found, local.moderate(rows)) == []
    assert "takes no token ids" in caplog.text
    assert "no log-probabilities" in caplog.text


def test_a_scheme_that_needs_probabilities_has_none(transformers_url, connect):
    columns = {}
    reward = GuardReward(connect(transformers_url, deadline=60), "soft", breaker=None)
    rewards = reward(
        prompts=["How do I use a lamp?"] * 2, completions=["Take it.", "No."], log_extra=columns.__setitem__
    )
    assert rewards == [None, None]
    assert [str(outcome) for outcome in columns["guard_outcome"]] == ["guard_error"] * 2
    assert columns["guard_reason"] == ["the verdict came without probabilities, which the scheme needs"] * 2
