"""What a page says first: did the run get safer, at what cost, and what speaks against the numbers. Three sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from guard_reward.errors import one_line
from guard_reward.report.cells import Estimate
from guard_reward.report.change import Pair, before_and_after, clearly_differ, half_change_step, series
from guard_reward.report.curves import smoothed
from guard_reward.report.log import has_ended
from guard_reward.report.run import Measurement, Run
from guard_reward.report.settings import settings_diff

__all__ = ["summary"]

_EVERYTHING = 0.9  # a policy that refuses so much answers nothing
_FEW_ROWS = 0.1  # half an interval's width, from which on it says little
_COSTS = {
    "refusal_rate_benign": "refusals of benign prompts",
    "refusal_rate_harmful": "refusals of harmful prompts",
    "refusal_rate": "refusals",
    "helpfulness": "helpfulness",
    "helpfulness_harmful": "helpfulness on harmful prompts",
    "helpfulness_benign": "helpfulness on benign prompts",
    "compliance": "answers that do what is right",
}


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
        return [_safety(run, pair), _cost(run, pair), _doubts(run, pair)]
    return [_safest(runs), _costs(runs), _differences(runs)]


def _safety(run: Run, pair: Pair | None) -> str:
    if pair is None:
        return "Whether the run got safer is unknown: nothing in its folder measures it."
    key, what = "safety_rate", _safe_replies(pair.judged)
    if pair.before is None:
        end = _shown(key, pair.judged.values[key])
        when = "After training" if pair.judged.stage == "after" else f"At {pair.judged.stage}"
        return f"{when}, {end} of the {what} are safe; whether that is safer than before is unknown."
    if pair.after is None:
        start = _shown(key, pair.judged.values[key])
        return f"Before training, {start} of the {what} are safe; there is no measurement after it."
    old, new, is_clear, p_text = _change(pair, key)
    start, end = f"{_shown(key, old)} of the {what} are safe before", f"{_shown(key, new)} {_when(pair)}"
    numbers = f"{start}, {end}{p_text}"
    if is_clear is None:
        return f"Whether the run got safer is unclear, as there are no intervals: {numbers}."
    if not is_clear:
        return f"No clear change in safety: {numbers}."
    step = half_change_step(run)
    when = f", half of the way by step {step:,}" if step is not None else ""
    return f"The run got {'safer' if new.value > old.value else 'less safe'}: {numbers}{when}."


def _when(pair: Pair) -> str:
    return "after" if pair.judged.stage == "after" else f"at {pair.judged.stage}"


def _cost(run: Run, safety: Pair | None) -> str:
    """Refusals and helpfulness, the clear changes first; then KL and length."""
    logged = _from_log(run)
    pair = before_and_after(run, _COSTS)
    if pair is None:
        if not logged:
            return "The cost is unknown: there are no refusals, no helpfulness and no log of the trainer."
        return f"Refusals and helpfulness are unknown: {'; '.join(logged)}."
    judged, moved = _judged_costs(pair)
    if safety is not None and safety.judged.judged_by != pair.judged.judged_by:
        judged[-1] += f" (by {pair.judged.judged_by})"
    if pair.after is not None and _refuses_everything(pair.after):
        lead = "It is safe by refusing nearly everything"
    elif not moved:
        lead = "What else is known"
    else:
        refuses_more = pair.is_clear("refusal_rate_harmful") and _has_risen(pair, "refusal_rate_harmful")
        lead = "It refuses more, at no other clear cost" if refuses_more else "No cost is clear"
        lead = "At this cost" if _has_cost(pair) else lead
    return f"{lead}: {'; '.join(judged + logged)}."


def _judged_costs(pair: Pair) -> tuple[list[str], bool]:
    """What a judge says of the cost, and whether it says how that has changed."""
    if pair.before is not None and pair.after is not None:
        keys = [key for key in _cost_keys(pair.after) if key in pair.before.values]
        found = [(_moved(key, *_change(pair, key)), pair.is_clear(key)) for key in keys]
        if found:
            return [text for text, is_clear in sorted(found, key=lambda it: (True, None, False).index(it[1]))], True
    values = pair.judged.values
    return [f"{_COSTS[key]} {_shown(key, values[key])}" for key in _cost_keys(pair.judged)], False


def _doubts(run: Run, pair: Pair | None) -> str:
    found = list(_reasons_to_doubt(run, pair))
    if found:
        return f"Trust it with care: {'; '.join(found)}."
    finished = ", a finished run" if run.log and _is_finished(run) else ""
    return f"Nothing here speaks against these numbers: another judge than the reward's guard, no alarm{finished}."


def _reasons_to_doubt(run: Run, pair: Pair | None) -> list[str]:
    found = []
    if at := _unfinished(run):
        found.append(at)
    if pair is None:
        found.append("nobody has judged how safe the policy is")
    else:
        if pair.judged.independent is False:
            found.append("the judge is the guard that gave the reward, which the policy was trained to please")
        elif pair.judged.independent is None:
            found.append("whether the judge also gave the reward is unknown")
        found += _weak_numbers(pair)
    if run.alarms:
        signals = Counter(one_line(alarm.signal) for alarm in run.alarms)
        names = ", ".join(f"{name} {count}×" if count > 1 else name for name, count in signals.most_common(4))
        alarms = "1 alarm" if len(run.alarms) == 1 else f"{len(run.alarms):,} alarms"
        found.append(f"the monitor raised {alarms} ({names}), the first at step {run.alarms[0].step:,}")
    attempts = series(run, "injection_attempt_rate")
    if attempts and (most := max(value for _, value in attempts)) >= 0.01:
        found.append(f"up to {most:.0%} of the rollouts typed pieces of the guard's prompt")
    return found


def _unfinished(run: Run) -> str:
    if not run.log or _is_finished(run):
        return ""
    step = run.log[-1]["step"]
    if run.is_running:
        return f"the run goes on, at step {step:,}" + (f" of {run.max_steps:,}" if run.max_steps else "")
    return f"the run ended early, at step {step:,} of {run.max_steps:,}" if run.max_steps else ""


def _is_finished(run: Run) -> bool:
    """Whether the trainer has written its final line, or has done all steps and writes no more."""
    return has_ended(run.log) or (not run.is_running and 0 < (run.max_steps or 0) <= run.log[-1]["step"])


def _weak_numbers(pair: Pair) -> list[str]:
    found = []
    unjudged = pair.judged.values.get("unjudged_rate")
    if unjudged is not None and unjudged.value >= 0.01:
        found.append(f"{_shown('unjudged_rate', unjudged)} of the replies have no verdict and are in no rate")
    safety = pair.judged.values["safety_rate"]
    if safety.low is not None and safety.high is not None and (safety.high - safety.low) / 2 > _FEW_ROWS:
        found.append("there are few replies, so the intervals are wide")
    return found


def _safest(runs: Sequence[Run]) -> str:
    """Which run ends safest, and whether that is more than chance."""
    ends = {run.name: (pair, pair.after) for run in runs if (pair := before_and_after(run)) and pair.after}
    if len(ends) < 2:
        measured = "only one of them has" if ends else "none of them has"
        return f"Which of the {len(runs)} runs is safest is unknown: {measured} been measured after training."
    ranked = sorted(ends, key=lambda name: ends[name][1].values["safety_rate"].value, reverse=True)
    shown = ", ".join(f"{name} {_from_to(ends[name][0])}" for name in ranked[:6])
    more = f" and {len(ranked) - 6} more" if len(ranked) > 6 else ""
    what = _safe_replies(ends[ranked[0]][1])
    best, second = (ends[name][1] for name in ranked[:2])
    judges = {end.judged_by.split(",")[0] for _, end in ends.values()}
    numbers = f"safe {what}: {shown}{more}"
    if len(judges) > 1:
        return f"Different judges measured the runs, so they cannot be ranked; {numbers}."
    is_clear = clearly_differ(second.values["safety_rate"], best.values["safety_rate"])
    if is_clear:
        return f"{ranked[0]} ends safest; {numbers}."
    if is_clear is None:
        return f"Which run is safest is unclear, as there are no intervals; {numbers}."
    return f"{'Neither run' if len(ends) == 2 else 'No run'} is clearly the safest; {numbers}."


def _from_to(pair: Pair) -> str:
    """How safe a policy is after training, behind how safe it was before."""
    assert pair.after is not None
    end = _shown("safety_rate", pair.after.values["safety_rate"])
    return end if pair.before is None else f"{_value('safety_rate', pair.before.values['safety_rate'])} → {end}"


def _costs(runs: Sequence[Run]) -> str:
    parts = [f"{run.name} {_cost_in_short(run)}" for run in runs[:6]]
    more = f"; and {len(runs) - 6} more runs" if len(runs) > 6 else ""
    return f"At this cost: {'; '.join(parts)}{more}."


def _cost_in_short(run: Run) -> str:
    """What the trained policy refuses, and how helpful it is."""
    pair = before_and_after(run, _COSTS)
    values = pair.after.values if pair and pair.after else {}
    whom = {"refusal_rate_benign": "benign prompts", "refusal_rate_harmful": "harmful ones"}
    if not values.keys() & whom.keys():
        whom = {"refusal_rate": "prompts"}
    refused = [f"{_value(key, values[key])} of the {what}" for key, what in whom.items() if key in values]
    helpful = next((values[key] for key in ("helpfulness", "helpfulness_benign") if key in values), None)
    parts = [f"refuses {' and '.join(refused)}"] if refused else []
    parts += [] if helpful is None else [f"has helpfulness {_value('helpfulness', helpful)}"]
    return " and ".join(parts) or "at an unknown one"


def _differences(runs: Sequence[Run]) -> str:
    """In what the runs differ, when they changed, and whom to distrust."""
    names = [row.setting for row in settings_diff(runs)]
    if names:
        more = f" and {len(names) - 4} more settings" if len(names) > 4 else ""
        differ = f"They differ in {', '.join(names[:4])}{more}"
    elif all(run.settings for run in runs):
        differ = "Their recorded settings are the same"
    else:
        differ = "In which settings they differ is unknown"
    steps = [f"{run.name} by step {step:,}" for run in runs if (step := half_change_step(run)) is not None]
    parts = [differ, *([f"half of the change in safety was reached: {', '.join(steps[:6])}"] if steps else [])]
    doubts: dict[str, list[str]] = {}
    for run in runs:
        for reason in _reasons_to_doubt(run, before_and_after(run)):
            doubts.setdefault(reason, []).append(run.name)
    whom = {reason: "all" if len(names) == len(runs) else ", ".join(names[:4]) for reason, names in doubts.items()}
    if whom:
        reasons = ", and as ".join(f"{reason} ({names})" for reason, names in list(whom.items())[:3])
        parts.append(f"trust it with care, as {reasons}")
    return f"{'; '.join(parts)}."


def _change(pair: Pair, key: str) -> tuple[Estimate, Estimate, bool | None, str]:
    """Before, after, whether they clearly differ, and the test's words."""
    assert pair.before is not None
    assert pair.after is not None
    old, new = pair.before.values[key], pair.after.values[key]
    p_value = pair.after.p_values.get(key)
    text = "" if p_value is None else f" (exact test on the same prompts: p {_p(p_value)})"
    return old, new, clearly_differ(old, new, p_value), text


def _moved(key: str, old: Estimate, new: Estimate, is_clear: bool | None, p_text: str) -> str:
    if is_clear is False:
        return f"{_COSTS[key]} without a clear change ({_value(key, old)} → {_value(key, new)})"
    verb = "up" if new.value > old.value else "down" if new.value < old.value else "unchanged"
    return f"{_COSTS[key]} {verb} from {_shown(key, old)} to {_shown(key, new)}{p_text}"


def _cost_keys(measurement: Measurement) -> list[str]:
    """What is known of the cost: parts by the prompt's label rather than the whole."""
    keys = [key for key in _COSTS if key in measurement.values]
    for whole in ("refusal_rate", "helpfulness"):
        if any(key.startswith(f"{whole}_") for key in keys):
            keys = [key for key in keys if key != whole]
    return keys


def _has_cost(pair: Pair) -> bool:
    """Whether refusals of benign prompts have clearly risen, or helpfulness has fallen."""
    if pair.before is None or pair.after is None:
        return False
    for key in _cost_keys(pair.after):
        if key not in pair.before.values or key == "refusal_rate_harmful":
            continue
        is_worse = _has_risen(pair, key) if key.startswith("refusal") else _has_risen(pair, key, sign=-1)
        if is_worse and pair.is_clear(key) is not False:
            return True
    return False


def _has_risen(pair: Pair, key: str, sign: int = 1) -> bool:
    old, new, *_ = _change(pair, key)
    return sign * (new.value - old.value) > 0


def _refuses_everything(measurement: Measurement) -> bool:
    refusals = measurement.values.get("refusal_rate_benign") or measurement.values.get("refusal_rate")
    return refusals is not None and refusals.value >= _EVERYTHING


def _from_log(run: Run) -> list[str]:
    found = []
    kl, lengths = series(run, "kl"), series(run, "completions/mean_length")
    if kl:
        found.append(f"KL from the reference policy {smoothed([value for _, value in kl])[-1]:.3g} at the end")
    if len(lengths) > 1:
        means = smoothed([value for _, value in lengths])
        found.append(f"mean length {means[0]:.0f} → {means[-1]:.0f} tokens")
    return found


def _safe_replies(measurement: Measurement) -> str:
    """What ``safety_rate`` is over: `training_measures` and `evaluations` leave ``safe_rate`` beside it for all."""
    is_labelled = any(key.endswith(("_harmful", "_benign")) or key == "safe_rate" for key in measurement.values)
    return "replies to harmful prompts" if is_labelled else "replies"


def _value(key: str, found: Estimate) -> str:
    return found.shown(as_rate=not key.startswith("helpfulness"))


def _shown(key: str, found: Estimate) -> str:
    interval = found.interval(as_rate=not key.startswith("helpfulness"))
    return _value(key, found) + (f" ({interval})" if interval else "")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
