"""What speaks against a run's numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from guard_reward.errors import one_line
from guard_reward.report.change import SAFETY, Pair, opposite, series
from guard_reward.report.log import has_ended
from guard_reward.report.run import Alarm, Run
from guard_reward.report.words import shown

__all__ = ["Doubt", "doubts_of", "is_finished", "second_opinion"]

_FEW_ROWS = 0.1  # half an interval's width, from which on it says little


class Doubt(NamedTuple):
    """A reason to distrust numbers.

    Attributes:
        text: of one run, with its numbers.
        kind: of several runs, without numbers; the same for the same reason.
    """

    text: str
    kind: str


def doubts_of(run: Run, pair: Pair | None) -> list[Doubt]:
    """All reasons, those of the judge first."""
    return [*_of_judge(run, pair), *_of_numbers(pair), *_of_course(run)]


def is_finished(run: Run) -> bool:
    """Whether the trainer has written its final line, or has done all steps and writes no more."""
    return has_ended(run.log) or (not run.is_running and 0 < (run.max_steps or 0) <= run.log[-1]["step"])


def second_opinion(run: Run, pair: Pair) -> Alarm | None:
    """The first alarm of the monitor's second guard, if no other judge has confirmed what the reward's guard says."""
    if pair.judged.independent:
        return None
    return next((alarm for alarm in run.alarms if alarm.signal.startswith("second_guard")), None)


def _of_judge(run: Run, pair: Pair | None) -> Iterator[Doubt]:
    if pair is None:
        yield _same("nobody has judged how safe the policy is")
        return
    if pair.judged.independent is False:
        text = "the judge is the guard that gave the reward, which the policy was trained to please"
        yield Doubt(text, "the judge is the guard that gave the reward")
    elif pair.judged.independent is None:
        yield _same("whether the judge also gave the reward is unknown")
    elif pair.judged.is_relative:
        text = "the judge is of the same family as the reward's guard, so it may have the same blind spots"
        yield Doubt(text, "the judge is of the same family as the reward's guard")
    if ends := opposite(run, pair):
        text = f"the reward's guard says the opposite: {ends[0]:.0%} → {ends[1]:.0%}"
        yield Doubt(text, "the reward's guard says the opposite")


def _of_numbers(pair: Pair | None) -> Iterator[Doubt]:
    if pair is None:
        return
    if pair.before is None or pair.after is None:
        yield _same(f"nothing was measured {'before' if pair.before is None else 'after'} training")
    elif pair.safety and pair.is_clear(pair.safety) is None:
        yield _same("there are no intervals")
    rates = [one.values["unjudged_rate"] for one in pair.ends if "unjudged_rate" in one.values]
    most = max(rates, key=lambda rate: rate.value, default=None)
    if most is not None and most.value >= 0.01:
        text = f"{shown('unjudged_rate', most)} of the replies have no verdict and are in no rate"
        yield Doubt(text, "some replies have no verdict")
    safety = next((pair.judged.values[key] for key in SAFETY if key in pair.judged.values), None)
    if safety and safety.low is not None and safety.high is not None and (safety.high - safety.low) / 2 > _FEW_ROWS:
        yield Doubt("there are few replies, so the intervals are wide", "there are few replies")


def _of_course(run: Run) -> Iterator[Doubt]:
    if run.alarms:
        signals = Counter(one_line(alarm.signal) for alarm in run.alarms)
        names = ", ".join(f"{name} {count}×" if count > 1 else name for name, count in signals.most_common(4))
        alarms = "1 alarm" if len(run.alarms) == 1 else f"{len(run.alarms):,} alarms"
        text = f"the monitor raised {alarms} ({names}), the first at step {run.alarms[0].step:,}"
        yield Doubt(text, "the monitor raised alarms")
    if run.log and not is_finished(run):
        step = f"{run.log[-1]['step']:,}" + (f" of {run.max_steps:,}" if run.max_steps else "")
        if run.is_running:
            yield Doubt(f"the run goes on, at step {step}", "the run goes on")
        else:
            yield Doubt(f"the run ended early, at step {step}", "the run ended early")
    attempts = series(run, "injection_attempt_rate")
    if attempts and (most := max(rate for _, rate in attempts)) >= 0.01:
        text = f"up to {most:.0%} of the rollouts typed pieces of the guard's prompt"
        yield Doubt(text, "rollouts typed pieces of the guard's prompt")


def _same(text: str) -> Doubt:
    return Doubt(text, text)
