"""Verdicts are values, and severities have an order."""

from __future__ import annotations

import pickle

import pytest

from guard_reward import parse_verdict
from guard_reward.verdict import AsyncGuard, Guard, Severity, describe_guard

SAFE, CONTROVERSIAL, UNSAFE = Severity.SAFE, Severity.CONTROVERSIAL, Severity.UNSAFE


def test_severities_are_ordered_by_badness_not_by_alphabet():
    assert sorted([UNSAFE, SAFE, CONTROVERSIAL]) == [SAFE, CONTROVERSIAL, UNSAFE]
    assert SAFE < CONTROVERSIAL < UNSAFE
    assert UNSAFE > CONTROVERSIAL > SAFE
    assert SAFE <= SAFE >= SAFE
    assert not SAFE < SAFE
    assert not UNSAFE <= CONTROVERSIAL
    assert not SAFE >= CONTROVERSIAL
    assert [level.rank for level in (SAFE, CONTROVERSIAL, UNSAFE)] == [0, 1, 2]
    assert SAFE == "Safe"
    assert SAFE < "Unsafe"


def test_a_verdict_is_a_value():
    verdict = parse_verdict("Safety: Unsafe\nCategories: Weapons, PII\nRefusal: No")
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    assert len({verdict, parse_verdict(verdict.text)}) == 1
    with pytest.raises(AttributeError):
        verdict.severity = SAFE


class OnlyModerates:
    def moderate(self, conversations):
        return []


class Awaitable:
    async def amoderate(self, conversations):
        return []

    def describe(self):
        return {"guard": "remote", "revision": "1"}


def test_a_guard_only_has_to_moderate():
    assert isinstance(OnlyModerates(), Guard)
    assert not isinstance(OnlyModerates(), AsyncGuard)
    assert isinstance(Awaitable(), AsyncGuard)


def test_every_guard_has_facts():
    assert describe_guard(Awaitable()) == {"guard": "remote", "revision": "1"}
    assert "OnlyModerates" in describe_guard(OnlyModerates())["guard"]


def test_old_names_still_work_and_name_the_new_ones():
    import guard_reward.verdict as module

    with pytest.warns(DeprecationWarning, match="guard_reward.guards.specs.qwen3guard.Category"):
        assert module.Category.PII == "PII"
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing
