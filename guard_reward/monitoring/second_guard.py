"""Asking the second guard: a sample over the prompts, with a deadline, and what it could not judge by name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from random import Random
from typing import Any

from guard_reward.rewards.judge import Judge, RolloutRequests, as_guard
from guard_reward.verdict import Outcome, Unjudged, Verdict

__all__ = ["SecondGuard", "spread"]

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 64  # calls


class SecondGuard:
    """A guard that is asked about samples; a guard that is gone costs a warning and pauses, never the run.

    Args:
        guard: a guard, or what `guard_reward.load_guard` takes.
        deadline: seconds that a call waits for a served guard.
        sleep: give the accelerator's memory back after every call.
    """

    def __init__(self, guard: Any, deadline: float, *, sleep: bool = False):
        self.judge = Judge(as_guard(guard))
        self.deadline = deadline
        self.sleep = sleep
        self._pause, self._waited = 0, 0
        self._busy: threading.Thread | None = None

    @property
    def name(self) -> str:
        """What the guard is called."""
        return str(getattr(self.judge.guard, "name", None) or repr(self.judge.guard))

    @property
    def is_pausing(self) -> bool:
        """Whether it is not asked in this call, because it did not answer in the last ones; counts the call."""
        self._waited += 1
        return self._waited <= self._pause

    def __call__(self, conversations: Sequence[Any]) -> list[Verdict | Unjudged]:
        """A verdict or an `Unjudged` per conversation."""
        found = self._ask([RolloutRequests(answer=conversation) for conversation in conversations])
        if found and not any(isinstance(one, Verdict) for one in found):
            self._fail(found[0])
        elif self._pause:
            self._pause = 0
            logger.warning("the monitor's second guard %s answers again", self.name)
        return found

    def _fail(self, example: Verdict | Unjudged) -> None:
        if not self._pause:
            reason = getattr(example, "reason", "") or getattr(example, "outcome", "")
            logger.warning(
                "the monitor's second guard %s gives no verdict: %s. The run goes on without it; it is asked "
                "again from time to time, and monitor/second_guard_unjudged_rate counts",
                self.name,
                reason,
            )
        self._pause, self._waited = min(max(2 * self._pause, 1), _LONGEST_PAUSE), 0

    def _ask(self, requests: Sequence[RolloutRequests]) -> list[Verdict | Unjudged]:
        if not callable(getattr(self.judge.guard, "amoderate", None)):
            return self._judged(requests)
        if self._busy is not None and self._busy.is_alive():
            return [Unjudged(Outcome.TIMEOUT, reason="the last call has not returned yet")] * len(requests)
        answers: list[list[Verdict | Unjudged]] = []
        # A daemon: a server that never answers cannot keep the process alive.
        self._busy = threading.Thread(target=lambda: answers.append(self._judged(requests)), daemon=True)
        self._busy.start()
        self._busy.join(self.deadline)
        if answers:
            return answers[0]
        return [Unjudged(Outcome.TIMEOUT, reason=f"no answer within {self.deadline:g} s")] * len(requests)

    def _judged(self, requests: Sequence[RolloutRequests]) -> list[Verdict | Unjudged]:
        try:
            verdicts, _ = self.judge(requests)
            answers = [one.answer or Unjudged(Outcome.GUARD_ERROR, reason="not asked") for one in verdicts]
        except Exception as error:  # another number of verdicts than asked for
            answers = [Unjudged(Outcome.GUARD_ERROR, reason=f"{type(error).__name__}: {error}")] * len(requests)
        if self.sleep and callable(sleep := getattr(self.judge.guard, "sleep", None)):
            sleep()
        return answers


def spread(prompts: Sequence[str], count: int, random: Random) -> list[int]:
    """Up to `count` indices, at random but over as many different prompts as possible.

    Rollouts of one prompt are alike: eight of one say less than one each of eight.

    >>> sorted(spread(["a", "a", "a", "b"], 2, Random(0)))[-1]
    3
    """
    by_prompt: dict[str, list[int]] = {}
    for index in random.sample(range(len(prompts)), len(prompts)):
        by_prompt.setdefault(prompts[index], []).append(index)
    ranked = [(place, index) for indices in by_prompt.values() for place, index in enumerate(indices)]
    return [index for _, index in sorted(ranked, key=lambda one: one[0])[:count]]
