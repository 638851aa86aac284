"""What several runs came to: whether they got safer, at what cost, and in what they differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from guard_reward.report.change import Pair, before_and_after, clearly_differ, half_change_step
from guard_reward.report.costs import cost_in_short
from guard_reward.report.doubts import doubts_of, second_opinion
from guard_reward.report.run import Measurement, Run
from guard_reward.report.settings import Difference, settings_diff
from guard_reward.report.words import listed, replies, shown, value

__all__ = ["costs", "differences", "safest"]

_MOST = 6  # runs that are named
_MOST_DOUBTS = 4
_MAX_VALUE = 30  # characters of a setting


def safest(runs: Sequence[Run]) -> str:
    """Whether the runs got safer, by how much, and which one ends safest."""
    pairs = {run.name: before_and_after(run) for run in runs}
    ends = {name: pair for name, pair in pairs.items() if pair is not None and pair.after is not None and pair.safety}
    missing = [name for name in pairs if name not in ends]
    if not ends:
        return f"Which of the {len(runs)} runs is safest is unknown: none of them has been measured after training."
    alarmed = {run.name for run in runs if run.name in ends and second_opinion(run, ends[run.name])}
    parts = [f"{_who_got_safer(ends, alarmed, len(runs))}: {_numbers(ends)}"]
    if len(ends) > 1:
        parts.append(_who_is_safest(runs, ends))
    if missing:
        parts.append(f"{listed(missing)} {'has' if len(missing) == 1 else 'have'} not been measured after training")
    return f"{'; '.join(parts)}."


def costs(runs: Sequence[Run]) -> str:
    """What each trained policy refuses, and how helpful it is."""
    known = {run.name: cost_in_short(run) for run in runs}
    said = [f"{name} {text}" for name, text in known.items() if text]
    if not said:
        return "Their costs are unknown."
    parts = said[:_MOST] + ([f"and {len(said) - _MOST} more runs"] if len(said) > _MOST else [])
    if unknown := [name for name, text in known.items() if not text]:
        parts.append(f"the cost of {listed(unknown)} is unknown")
    return f"At this cost: {'; '.join(parts)}."


def differences(runs: Sequence[Run]) -> str:
    """In what the runs differ, when they changed, and whom to distrust."""
    parts = [_settings(runs)]
    steps = [f"by step {step:,} in {run.name}" for run in runs if (step := half_change_step(run)) is not None]
    if steps:
        parts.append(f"half of the change came {listed(steps)}")
    doubts: dict[str, list[str]] = {}
    for run in runs:
        for kind in dict.fromkeys(doubt.kind for doubt in doubts_of(run, before_and_after(run))):
            doubts.setdefault(kind, []).append(run.name)
    whom = [
        f"{kind} ({'all' if len(names) == len(runs) else listed(names, 4)})"
        for kind, names in sorted(doubts.items(), key=lambda it: "judge" not in it[0])
    ]
    if whom:
        more = [f"{len(whom) - _MOST_DOUBTS} more doubts"] if len(whom) > _MOST_DOUBTS else []
        parts.append(f"trust it with care: {', '.join(whom[:_MOST_DOUBTS] + more)}")
    return f"{'; '.join(parts)}."


_ONLY_LOOKS = "only looked safer, as a second guard disagreed"


def _who_got_safer(ends: Mapping[str, Pair], alarmed: Collection[str], count: int) -> str:
    outcomes = ("got safer", _ONLY_LOOKS, "got less safe", "did not clearly change", "")
    groups: dict[str, list[str]] = {outcome: [] for outcome in outcomes}
    for name, pair in ends.items():
        assert pair.safety
        is_clear = pair.is_clear(pair.safety)
        if is_clear:
            better = _ONLY_LOOKS if name in alarmed else "got safer"
            groups[better if pair.rise(pair.safety) > 0 else "got less safe"].append(name)
        else:
            groups["did not clearly change" if is_clear is False else ""].append(name)
    unknown = groups.pop("")
    said = {what: names for what, names in groups.items() if names}
    everyone = "Both runs" if count == 2 else f"All {count} runs"
    if len(said) == 1 and not unknown and len(ends) == count:
        return f"{everyone} {next(iter(said))}"
    if not said:
        return "Whether the runs got safer is unknown"
    parts = [f"{listed(names)} {what}" for what, names in said.items()]
    return ", ".join(parts) + (f", of {listed(unknown)} it is unknown" if unknown else "")


def _numbers(ends: Mapping[str, Pair]) -> str:
    ranked = sorted(ends, key=lambda name: _end(ends[name]), reverse=True)
    kinds = dict.fromkeys(replies(pair) for pair in ends.values())
    texts = [f"{name} {_from_to(ends[name])}" for name in ranked[:_MOST]]
    if len(kinds) > 1:
        texts = [f"{text} of the {replies(ends[name])}" for text, name in zip(texts, ranked, strict=False)]
    more = f" and {len(ranked) - _MOST} more" if len(ranked) > _MOST else ""
    what = f"safe {next(iter(kinds))}" if len(kinds) == 1 else "safe"
    return f"{what} {', '.join(texts)}{more}"


def _who_is_safest(runs: Sequence[Run], ends: Mapping[str, Pair]) -> str:
    judged = [pair.judged for pair in ends.values()]
    if len({_judge(one) for one in judged}) > 1:
        return "different guards judged them, so they cannot be ranked"
    if len({pair.safety for pair in ends.values()}) > 1 or _have_other_prompts(runs, judged):
        return "they were judged on different prompts, so they cannot be ranked"
    best, second = sorted(ends.values(), key=_end, reverse=True)[:2]
    key = str(best.safety)
    is_clear = clearly_differ(second.judged.values[key], best.judged.values[key])
    name = next(name for name, pair in ends.items() if pair is best)
    if is_clear:
        return f"{name} ends safest"
    if is_clear is None:
        return "which one ends safest is unclear, as there are no intervals"
    return f"{'neither' if len(ends) == 2 else 'none'} ends clearly safest"


def _judge(measurement: Measurement) -> str:
    return measurement.guard or measurement.judged_by.split(",")[0]


def _have_other_prompts(runs: Sequence[Run], judged: Sequence[Measurement]) -> bool:
    """Whether runs were judged on different prompts: by a hash, their number, or the runs' settings."""
    if len({one.prompts for one in judged if one.prompts}) > 1:
        return True
    counts = {one.judged_by.partition(", ")[2] for one in judged if not one.prompts}
    if any(one.prompts.startswith(("training", "evaluation")) for one in judged):
        return any(row.setting.startswith("prompts.") for row in settings_diff(runs))
    return len(counts - {""}) > 1


def _end(pair: Pair) -> float:
    return pair.judged.values[str(pair.safety)].value


def _from_to(pair: Pair) -> str:
    """How safe a policy is at the end, behind how safe it was before."""
    key = str(pair.safety)
    end = shown(key, pair.judged.values[key])
    return end if pair.before is None else f"{value(key, pair.before.values[key])} → {end}"


def _settings(runs: Sequence[Run]) -> str:
    rows = _once(settings_diff(runs))
    if not rows:
        same = all(run.settings for run in runs)
        return "Their recorded settings are the same" if same else "In which settings they differ is unknown"
    if len(rows) == 1:
        return f"They differ in the {_name(rows[0])}: {_against(rows[0])}"
    texts = [f"{_name(row)} ({_against(row)})" for row in rows[:2]] + [_name(row) for row in rows[2:4]]
    more = [f"{len(rows) - 4} more settings"] if len(rows) > 4 else []
    return f"They differ in {listed(texts + more)}"


def _once(rows: Sequence[Difference]) -> list[Difference]:
    """Each setting once: the reward's record and its config both have the scheme, the config in fewer words."""
    found: dict[str, Difference] = {}
    for row in rows:
        name = _name(row)
        if name not in found or _length(row) < _length(found[name]):
            found[name] = row
    return list(found.values())


def _length(row: Difference) -> int:
    return sum(len(text or "unknown") for text in row.values)


def _name(row: Difference) -> str:
    return row.setting.rsplit(".", 1)[-1]


def _against(row: Difference) -> str:
    texts = ["unknown" if text is None else text for text in row.values]
    short = [text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…" for text in texts]
    return listed(short, _MOST, word="against")
