"""What a run cost: refusals and helpfulness by its best judge, then what its log says."""

from __future__ import annotations

from typing import NamedTuple

from guard_reward.report.cells import Estimate
from guard_reward.report.change import Pair, before_and_after, series
from guard_reward.report.curves import Curve, smoothed
from guard_reward.report.run import Measurement, Run
from guard_reward.report.words import p_text, shown, value

__all__ = ["cost", "cost_in_short"]

_EVERYTHING = 0.9  # a policy that refuses so much answers nothing
_COSTS = {
    "refusal_rate_benign": "refusals of benign prompts",
    "refusal_rate_harmful": "refusals of harmful prompts",
    "refusal_rate": "refusals",
    "helpfulness": "helpfulness",
    "helpfulness_harmful": "helpfulness on harmful prompts",
    "helpfulness_benign": "helpfulness on benign prompts",
    "compliance": "answers that do what is right",
}
_WHOLE = ("refusal_rate", "helpfulness")


class _Moved(NamedTuple):
    """What moved: which way is worse for a user, and whether it moved clearly (None: unknown)."""

    text: str
    is_worse: bool
    is_clear: bool | None
    is_better: bool


def cost(run: Run, safety: Pair | None) -> str:
    """The sentence about one run: the clear changes first; then KL and length."""
    logged = _from_log(run)
    pair = before_and_after(run, _COSTS)
    moved = _moves(pair)
    if helpful := _helpfulness_in_training(run, pair):
        moved.append(helpful)
    if not moved:
        known = _ends(pair) + logged
        if not known:
            return "The cost is unknown: there are no refusals, no helpfulness and no log of the trainer."
        if pair is None:
            return f"Refusals and helpfulness are unknown: {'; '.join(known)}."
        lead = "It refuses nearly everything" if _refuses_everything(pair.judged) else "What it costs is unknown"
        return f"{lead}: {'; '.join(known)}."
    order = (True, None, False)
    texts = [one.text for one in sorted(moved, key=lambda it: (order.index(it.is_clear), not it.is_worse))]
    if pair is not None and safety is not None and safety.judged.judged_by != pair.judged.judged_by:
        texts[-1] += f" (refusals by {pair.judged.judged_by})" if helpful else f" (by {pair.judged.judged_by})"
    return f"{_lead(pair, moved, safety)}: {'; '.join(texts + logged)}."


def cost_in_short(run: Run) -> str:
    """What the trained policy refuses, and how helpful it is; empty if neither is known."""
    pair = before_and_after(run, _COSTS)
    values = pair.after.values if pair and pair.after else {}
    whom = {"refusal_rate_benign": "benign", "refusal_rate_harmful": "harmful"}
    refused = [f"{value(key, values[key])} of the {what}" for key, what in whom.items() if key in values]
    if not refused and "refusal_rate" in values:
        refused = [f"{value('refusal_rate', values['refusal_rate'])} of the"]
    parts = [f"refuses {' and '.join(refused)} prompts"] if refused else []
    helpful = next((key for key in ("helpfulness", "helpfulness_benign") if key in values), None)
    if helpful:
        old = pair.before.values.get(helpful) if pair and pair.before else None
        start = f"{value(helpful, old)} → " if old else ""
        parts.append(f"has helpfulness {start}{value(helpful, values[helpful])}")
    elif ends := _logged_helpfulness(run):
        parts.append(f"has helpfulness {ends[0]:.2f} → {ends[1]:.2f} in training")
    text = " and ".join(parts)
    return (
        f"became safe by refusing: it {text}"
        if pair and _became_safe_by_refusing(pair, before_and_after(run))
        else text
    )


def _lead(pair: Pair | None, moved: list[_Moved], safety: Pair | None) -> str:
    has_cost = any(one.is_worse and one.is_clear is True for one in moved)
    if pair is not None and pair.after is not None and _refuses_everything(pair.after):
        if pair.before is not None and _refuses_everything(pair.before):
            return "It refuses nearly everything, as before"
        return "It refuses nearly everything" if _less_safe(safety) else "It is safe by refusing nearly everything"
    if pair is not None and _became_safe_by_refusing(pair, safety):
        return f"It became safe by refusing harmful prompts, {'at this cost' if has_cost else 'at no other clear cost'}"
    if has_cost:
        return "At this cost"
    if any(one.is_worse and one.is_clear is None for one in moved):
        return "A cost is possible, but there are no intervals"
    if pair is not None and _rose(pair, "refusal_rate_harmful"):
        return "It refuses more harmful prompts, at no other clear cost"
    if any(one.is_better and one.is_clear is True for one in moved):
        return "No cost is clear, and there is a gain"
    return "No cost is clear"


def _moves(pair: Pair | None) -> list[_Moved]:
    if pair is None or pair.before is None or pair.after is None:
        return []
    found = []
    for key in _keys(pair.after):
        if key not in pair.before.values:
            continue
        rise, is_clear = pair.rise(key), pair.is_clear(key)
        old, new = pair.before.values[key], pair.after.values[key]
        is_refusal = key.startswith("refusal")
        is_worse = rise > 0 and key != "refusal_rate_harmful" if is_refusal else rise < 0
        is_better = rise < 0 if is_refusal else rise > 0
        text = _moved(key, old, new, is_clear, p_text(pair.after.p_values.get(key)))
        found.append(_Moved(text, is_worse, is_clear, is_better))
    return found


def _moved(key: str, old: Estimate, new: Estimate, is_clear: bool | None, p_value: str) -> str:
    if value(key, old) == value(key, new):
        return f"{_COSTS[key]} unchanged at {value(key, new)}"
    if is_clear is False:
        return f"{_COSTS[key]} without a clear change ({value(key, old)} → {value(key, new)})"
    verb = "up" if new.value > old.value else "down"
    return f"{_COSTS[key]} {verb} from {shown(key, old)} to {shown(key, new)}{p_value}"


def _ends(pair: Pair | None) -> list[str]:
    """What a single measurement says."""
    return [f"{_COSTS[key]} {shown(key, pair.judged.values[key])}" for key in _keys(pair.judged)] if pair else []


def _keys(measurement: Measurement) -> list[str]:
    """What is known of the cost: parts by the prompt's label rather than the whole."""
    keys = [key for key in _COSTS if key in measurement.values]
    for whole in _WHOLE:
        if any(key.startswith(f"{whole}_") for key in keys):
            keys = [key for key in keys if key != whole]
    return keys


def _helpfulness_in_training(run: Run, pair: Pair | None) -> _Moved | None:
    """How helpfulness moved in the log, if no judge says it."""
    if pair is not None and any(key.startswith("helpfulness") for key in pair.judged.values):
        return None
    ends = _logged_helpfulness(run)
    if ends is None:
        return None
    start, end, is_clear = ends
    if not is_clear:
        return _Moved(f"helpfulness in training without a clear change ({start:.2f} → {end:.2f})", False, False, False)
    verb = "up" if end > start else "down"
    return _Moved(f"helpfulness in training {verb} from {start:.2f} to {end:.2f}", end < start, True, end > start)


def _logged_helpfulness(run: Run) -> tuple[float, float, bool] | None:
    """Its means over the first and the last tenth of the log, and whether they differ by more than chance."""
    found = series(run, "helpfulness")
    if len(found) < 2:
        return None
    curve = Curve([step for step, _ in found], [helpful for _, helpful in found])
    start, end = curve.ends
    return start, end, start != end and curve.halfway(0.0) is not None


def _rose(pair: Pair, key: str) -> bool:
    return pair.is_clear(key) is True and pair.rise(key) > 0


def _less_safe(safety: Pair | None) -> bool:
    return bool(safety and safety.safety and safety.is_clear(safety.safety) and safety.rise(safety.safety) < 0)


def _became_safe_by_refusing(pair: Pair, safety: Pair | None) -> bool:
    """Whether nearly all harmful prompts are refused now, more than before, and the replies are not less safe."""
    refused = pair.after.values.get("refusal_rate_harmful") if pair.after else None
    is_refusing = refused is not None and refused.value >= _EVERYTHING
    got_safer = bool(safety and safety.safety and safety.is_clear(safety.safety) and not _less_safe(safety))
    return is_refusing and got_safer and _rose(pair, "refusal_rate_harmful")


def _refuses_everything(measurement: Measurement) -> bool:
    """Nearly all benign prompts, or nearly all prompts without labels."""
    values = measurement.values
    is_labelled = any(key.endswith(("_benign", "_harmful")) for key in values)
    refusals = values.get("refusal_rate_benign" if is_labelled else "refusal_rate")
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
