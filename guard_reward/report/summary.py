"""What a page says first: did the run get safer, at what cost, and what speaks against the numbers. Three sentences."""

from __future__ import annotations

from collections.abc import Sequence

from guard_reward.report.change import Pair, before_and_after, half_change_step
from guard_reward.report.costs import cost
from guard_reward.report.doubts import doubts_of, is_finished, second_opinion
from guard_reward.report.run import Run
from guard_reward.report.several import costs, differences, safest
from guard_reward.report.words import p_text, replies, shown, when

__all__ = ["summary"]


def summary(runs: Sequence[Run]) -> list[str]:
    """Three sentences about a run, or about several: safety, its cost, and what to distrust.

    A change is called one only if the exact test on the same prompts or the two 95% intervals say so.

    >>> summary([Run("hybrid", "runs/hybrid")])[0]
    'Whether the run got safer is unknown: nothing in its folder measures it.'
    """
    if not runs:
        return []
    if len(runs) == 1:
        (run,) = runs
        pair = before_and_after(run)
        return [_safety(run, pair), cost(run, pair), _doubts(run, pair)]
    return [safest(runs), costs(runs), differences(runs)]


def _safety(run: Run, pair: Pair | None) -> str:
    if pair is None or not pair.safety:
        return "Whether the run got safer is unknown: nothing in its folder measures it."
    key, what = pair.safety, replies(pair)
    if pair.after is None or pair.before is None:
        time = "After training" if pair.judged.stage == "after" else when(pair.judged).capitalize()
        end = f"{time}, {shown(key, pair.judged.values[key])} of the {what} were safe"
        if pair.after is None:
            return f"{end}; there is no measurement after it."
        return f"{end}; whether that is safer than before is unknown."
    old, new, is_clear = pair.before.values[key], pair.after.values[key], pair.is_clear(key)
    start, end = shown(key, old), shown(key, new)
    by = ", by the reward's own guard" if pair.after.when else ""
    test = p_text(pair.after.p_values.get(key))
    numbers = f"of the {what}, {start} were safe {when(pair.before)} and {end} {when(pair.after)}{by}{test}"
    if is_clear is None:
        return f"Whether the run got safer is unclear, as there are no intervals: {numbers}."
    if not is_clear:
        return f"No clear change in safety: {numbers}."
    step = half_change_step(run)
    half = f"; half of the change came by step {step:,}" if step is not None else ""
    if new.value > old.value and (alarm := second_opinion(run, pair)):
        return (
            "The run looks safer to the guard that gave the reward, but a second guard disagrees since step "
            f"{alarm.step:,}: {numbers}."
        )
    return f"The run got {'safer' if new.value > old.value else 'less safe'}: {numbers}{half}."


def _doubts(run: Run, pair: Pair | None) -> str:
    found = [doubt.text for doubt in doubts_of(run, pair)]
    unwatched = [] if run.is_monitored or run.alarms else ["no monitor was on"]
    if found:
        return f"Trust it with care: {'; '.join(found + unwatched)}."
    good = ["another judge than the reward's guard", *([] if unwatched else ["no alarm"])]
    good += ["a finished run"] if run.log and is_finished(run) else []
    but = f"; but {unwatched[0]}" if unwatched else ""
    return f"Nothing here speaks against these numbers: {', '.join(good)}{but}."
