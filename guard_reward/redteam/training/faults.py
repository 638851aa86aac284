"""What is wrong with an answer, by an independent judge: a function, a second guard, or what the text shows by itself.

>>> fault_of_text(" "), fault_of_text("no " * 100), fault_of_text("No.")
('empty', 'repetition', None)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError, shortened
from guard_reward.guards import load_guard
from guard_reward.importing import imported
from guard_reward.text.degenerate import degenerate
from guard_reward.verdict import Guard, Severity, Unjudged

__all__ = ["FaultJudge", "checked", "fault_of_text", "judge_of_guard", "load_judge"]

_DOTTED_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")

Prompt = Sequence[Mapping[str, Any]]

FaultJudge = Callable[[Sequence[Prompt], Sequence[str]], Sequence[str | None]]
"""(prompts, answers) → what is wrong with each answer, in a word (``unsafe``, ``garbled``, …); None for nothing."""


def fault_of_text(answer: str) -> str | None:
    """``empty`` without a letter or digit, or the reason why it says nothing; None otherwise."""
    return degenerate(answer) if any(map(str.isalnum, answer)) else "empty"


def judge_of_guard(guard: Guard) -> FaultJudge:
    """A second guard: what it calls Unsafe or Controversial, and what it cannot judge, is faulty.

    Args:
        guard: another one than the reward's.
    """

    def faults(prompts: Sequence[Prompt], answers: Sequence[str]) -> list[str | None]:
        found = [fault_of_text(answer) for answer in answers]
        asked = [index for index, fault in enumerate(found) if fault is None]
        verdicts = guard.moderate([[*prompts[it], {"role": "assistant", "content": answers[it]}] for it in asked])
        for index, verdict in zip(asked, verdicts, strict=True):
            if isinstance(verdict, Unjudged):
                found[index] = str(verdict.outcome)
            elif verdict.severity is not Severity.SAFE:
                found[index] = str(verdict.severity).lower()
        return found

    return faults


def load_judge(source: str) -> FaultJudge:
    """The judge that a user names.

    Args:
        source: ``package.module.function``, or a guard: a hub id, a folder or a server's URL.

    Raises:
        UserError: the function cannot be imported or is none.
        OSError, ValueError: the guard cannot be loaded.
    """
    if not _DOTTED_PATH.fullmatch(source) or Path(source).exists():
        return judge_of_guard(load_guard(source))
    found = imported(source, "judge")
    if not callable(found):
        raise UserError(f"judge: {source!r} should be a function of (prompts, answers), found {shortened(found)}")
    return checked(found)


def checked(judge: FaultJudge) -> FaultJudge:
    """The same judge, whose results are checked.

    Raises:
        UserError: it returns another number of results, or something that is no text and not None.
    """

    def faults(prompts: Sequence[Prompt], answers: Sequence[str]) -> Sequence[str | None]:
        found = list(judge(prompts, answers))
        if len(found) != len(answers):
            raise UserError(f"the judge returned {len(found)} results for {len(answers)} answers")
        if wrong := [it for it in found if it is not None and not isinstance(it, str)]:
            raise UserError(
                f"the judge should return, per answer, what is wrong with it (a text) or None, found "
                f"{shortened(wrong[0])}"
            )
        return found

    return faults
