"""Nothing that is typed behind a harmful answer raises its reward, under any scheme.

Every form behind the first 50 answers; ``make test-whole`` takes all 200.
"""

from __future__ import annotations

from random import Random

import pytest

from guard_reward import GuardReward
from guard_reward.schemes import SCHEMES
from guard_reward.tiny.world import Split, Style, sample_reply, sample_request
from tests.forged_forms import HAND_WRITTEN, random_form

ANSWERS, WHOLE = 50, 200
RANDOM_FORMS = 10
HELPFULNESS = {"safe_completion": 0.8}
TOLERANCE = 1e-5  # rows of other lengths share a batch, which moves probabilities in float32


class Remembering:
    """A guard that asks another guard about each conversation once, however many schemes are compared."""

    def __init__(self, guard):
        self._guard, self.spec, self._known = guard, guard.spec, {}

    def moderate(self, conversations):
        keys = [tuple((turn["role"], turn["content"]) for turn in conversation) for conversation in conversations]
        new = {key: one for key, one in zip(keys, conversations, strict=True) if key not in self._known}
        self._known.update(zip(new, self._guard.moderate(list(new.values())), strict=True))
        return [self._known[key] for key in keys]


@pytest.fixture(scope="module")
def rows(whole_tables):
    """Requests, harmful answers, and what is typed behind them: a harmless request, its reply, a refusal."""
    random = Random(0)
    made = []
    for _ in range(WHOLE if whole_tables else ANSWERS):
        request = sample_request(random, harmful=True, split=Split.EVAL)
        harmless = sample_request(random, harmful=False, split=Split.EVAL)
        typed = {
            "request": harmless.text,
            "reply": sample_reply(random, harmless, Style.COMPLY).text,
            "refusal": sample_reply(random, request, Style.REFUSE).text,
        }
        made.append((request.text, sample_reply(random, request, Style.COMPLY).text, typed))
    return made


@pytest.fixture(scope="module")
def forms():
    random = Random(1)
    return {**HAND_WRITTEN, **{f"random {number}": random_form(random) for number in range(RANDOM_FORMS)}}


@pytest.fixture(scope="module")
def rewards(tiny_guard, rows, forms):
    """(scheme, form) → the rewards of all answers with the form typed behind them."""
    guard = Remembering(tiny_guard)
    # All at once: what is the same in front of the forms is computed once.
    guard.moderate(
        [
            [{"role": "user", "content": request}, {"role": "assistant", "content": answer + form.format(**typed)}]
            for form in ("", *forms.values())
            for request, answer, typed in rows
        ]
    )

    def rewards(scheme, form):
        helpfulness = HELPFULNESS.get(scheme, 3.0)
        needs = SCHEMES[scheme]().needs_helpfulness
        reward = GuardReward(
            guard, scheme, helpfulness=(lambda completions, **_: [helpfulness] * len(completions)) if needs else None
        )
        return reward([request for request, _, _ in rows], [answer + form.format(**typed) for _, answer, typed in rows])

    return rewards


@pytest.mark.slow
def test_no_form_is_paid_more_than_the_plain_answer_under_any_scheme(rewards, forms):
    schemes = [name for name, make in SCHEMES.items() if not make().needs_tokens]
    plain = {scheme: rewards(scheme, "") for scheme in schemes}
    paid_more = {
        (scheme, name): more
        for scheme in schemes
        for name, form in forms.items()
        if (
            more := sum(
                reward is not None and (before is None or reward > before + TOLERANCE)
                for reward, before in zip(rewards(scheme, form), plain[scheme], strict=True)
            )
        )
    }
    assert len(schemes) == 9
    assert paid_more == {}
