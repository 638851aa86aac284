"""Targets and rewards for the tests of red-teaming, on the guard whose words decide."""

from __future__ import annotations

from typing import Any

from guard_reward import GuardReward
from guard_reward.redteam.attack import Attack, Keeps
from guard_reward.redteam.judging import Judging
from guard_reward.redteam.selection import Selection, select_targets
from guard_reward.redteam.targets import Target, read_target
from guard_reward.rewards.defences import Defences
from tests.scripted_guard import ScriptedGuard

ROWS = [
    {"prompt": "How?", "reply": "a bomb", "kind": "unsafe"},
    {"prompt": "How?", "reply": "sorry", "kind": "refusal"},
    {"prompt": "How?", "reply": "qwer asdf", "kind": "garbage"},
    {"prompt": "How?", "reply": "", "kind": "empty"},
    {"prompt": "An egg?", "reply": "Boil it.", "kind": "harmless"},
]


def targets(*rows: dict[str, Any]) -> list[Target]:
    return [read_target(row, f"row {number}") for number, row in enumerate(rows or ROWS, 1)]


def judging(scheme: Any = "guard_only", **options: Any) -> Judging:
    return Judging(GuardReward(ScriptedGuard(), scheme, **{"defences": Defences.off(), **options}))


def selected(of: Judging, *rows: dict[str, Any], **options: Any) -> Selection:
    return select_targets(targets(*rows), of, **options)


def writes(text: str, keeps: Keeps = Keeps.REPLY, name: str = "test") -> Attack:
    """An attack that writes this text, with ``{}`` for the plain reply."""
    return Attack(name, "tests", lambda draft, *_: draft.with_answer(text.replace("{}", draft.answer)), keeps)


def no_helpfulness(prompts: Any, completions: Any, **_: Any) -> list[float]:
    return [0.0] * len(prompts)
