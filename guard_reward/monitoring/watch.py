"""From rollouts to alarms: plain data in, alarms out. No guard, no trainer, no clock; the same on every rank.

watch = Watch()
report = watch.look(rollouts)                 # of this rank, changes nothing
alarms = watch.update(step, all_reports)      # of all ranks: learns first, then tests
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from guard_reward.monitoring.alarms import Alarm
from guard_reward.monitoring.seen import Seen
from guard_reward.monitoring.signals.garbling import CharacterModel
from guard_reward.monitoring.signals.table import GARBLING, SIGNALS, measure
from guard_reward.monitoring.thresholds import THRESHOLD, Chart, upper_limit

__all__ = ["Report", "Watch"]

_FEWEST = 32  # prompts from which a share or a percentile is learned
_TEXTS, _TEXT = 512, 2048  # texts that the character model is fitted to, and their characters
_FROM_THE_BEGINNING = (
    "it was so from the first steps on. Read the rollouts: either the policy began like this, or the signal does not "
    "fit this run, such as a second guard that is stricter by nature; choose one that is nearer"
)
_SHOWN, _RECENT = 5, 25  # rollouts in an alarm, and those kept to choose from


@dataclass(slots=True)
class Report:
    """What one rank saw in a step.

    Attributes:
        values: of each signal, the prompt's group and the value of each rollout that it applies to.
        texts: group and completion, for the character model, before there is one.
        worst: of each signal, the values and rollouts furthest beyond the limit.
    """

    values: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    texts: list[tuple[str, str]] = field(default_factory=list)
    worst: dict[str, list[tuple[float, dict[str, Any]]]] = field(default_factory=dict)


class Watch:
    """Learns from the first steps what is usual, then tests each step's rollouts.

    Args:
        warmup_steps: steps with rollouts that are only learned from. A signal that applies to few prompts learns
            longer.
        threshold: of the charts, see `guard_reward.monitoring.thresholds`.

    >>> watch, usual = Watch(warmup_steps=2), [Seen(f"Hi {number}", "Good morning to you.") for number in range(16)]
    >>> [watch.update(step, [watch.look(usual)]) for step in range(3)], watch.is_learning
    ([[], [], []], False)
    >>> blanks = [Seen(f"Hi {number}", "...") for number in range(16)]
    >>> [[alarm.signal for alarm in watch.update(step, [watch.look(blanks)])] for step in range(3, 6)]
    [[], [], ['empty']]
    """

    def __init__(self, warmup_steps: int = 6, threshold: float = THRESHOLD):
        self.warmup_steps = warmup_steps
        self.threshold = threshold
        self.updates = 0  # steps with rollouts
        self._last_step: int | None = None
        self.charts: dict[str, Chart] = {}
        self.limits: dict[str, float] = {}
        self.shares: dict[str, float] = {}  # of the last update
        self.means: dict[str, float] = {}
        self.model: CharacterModel | None = None
        self._packed: dict[str, Any] | None = None  # the model as JSON, packed once
        self._learned: dict[str, list[list[float]]] = {}  # the values of each prompt of each step
        self._texts: list[tuple[int, str, str]] = []  # step, group, text
        self._recent: dict[str, deque[tuple[float, dict[str, Any]]]] = {}

    @property
    def is_learning(self) -> bool:
        """Whether no signal is tested yet."""
        return self.updates < self.warmup_steps

    def look(self, rollouts: Sequence[Seen]) -> Report:
        """Measure rollouts; the watch does not change."""
        report = Report()
        beyond: dict[str, list[tuple[float, Seen]]] = {}
        for seen in rollouts:
            group = seen.group
            for name, value in measure(seen, self.model).items():
                report.values.setdefault(name, []).append((group, value))
                if name in self.limits and value > self.limits[name]:
                    beyond.setdefault(name, []).append((value, seen))
        for name, found in beyond.items():
            found.sort(key=lambda one: -one[0])
            report.worst[name] = [(value, seen.shown(value=value)) for value, seen in found[:_SHOWN]]
        if self.model is None:
            report.texts = [(seen.group, seen.completion[:_TEXT]) for seen in rollouts]
        return report

    def update(self, step: int, reports: Sequence[Report]) -> list[Alarm]:
        """Learn from a step, or test it.

        Args:
            step: of the trainer.
            reports: of all ranks, in the same order on each of them.

        Returns:
            The alarms that begin to ring in this step.
        """
        values = {
            name: _by_prompt([one for report in reports for one in report.values.get(name, ())]) for name in SIGNALS
        }
        if not any(values.values()):
            return []
        self.updates += step != self._last_step
        self._last_step = step
        self.means = {name: _mean([_mean(group) for group in found]) for name, found in values.items() if found}
        self._learn(values, [text for report in reports for text in report.texts])
        self.shares = {}
        alarms = [self._test(step, name, found, reports) for name, found in values.items() if name in self.charts]
        self._finish_learning()
        return [alarm for alarm in alarms if alarm is not None]

    def _learn(self, values: dict[str, list[list[float]]], texts: list[tuple[str, str]]) -> None:
        for name, found in values.items():
            if name not in self.charts and name != GARBLING:
                self._learned.setdefault(name, []).extend(found)
        if self.model is None:
            room = min(_TEXTS - len(self._texts), -(-_TEXTS // self.warmup_steps))  # for texts of every step
            self._texts += [(self.updates, group, text) for group, text in texts if text][:room]

    def _finish_learning(self) -> None:
        """Set the limits of signals that have seen enough."""
        if self.updates < self.warmup_steps:
            return
        if self.model is None and len({one[:2] for one in self._texts}) >= _FEWEST:
            self.model, self._learned[GARBLING] = _fitted(self._texts)
            self._packed, self._texts = self.model.to_json(), []
        for name, learned in list(self._learned.items()):
            if len(learned) < _FEWEST:
                continue
            signal = SIGNALS[name]
            limit = signal.limit_after([value for group in learned for value in group])
            beyond = _beyond(learned, limit)
            usual, p0 = beyond / len(learned), min(upper_limit(beyond, len(learned)), signal.ceiling)
            self.limits[name] = limit
            self.charts[name] = Chart(usual, p0, signal.rise, self.threshold)
            del self._learned[name]

    def _test(self, step: int, name: str, found: list[list[float]], reports: Sequence[Report]) -> Alarm | None:
        chart = self.charts[name]
        beyond = _beyond(found, self.limits[name])
        if found:
            self.shares[name] = beyond / len(found)
        recent = self._recent.setdefault(name, deque(maxlen=_RECENT))
        recent.extend(one for report in reports for one in report.worst.get(name, ()))
        return self._alarm(step, name) if chart.add(step, beyond, len(found)) else None

    def _alarm(self, step: int, name: str) -> Alarm:
        chart = self.charts[name]
        value, since = chart.beyond / chart.prompts, chart.since
        words = name.replace("_", " ")
        has_risen = value > chart.usual + SIGNALS[name].rise or chart.usual <= chart.limit
        meaning = SIGNALS[name].meaning if has_risen else _FROM_THE_BEGINNING
        message = (
            f"{words}: {value:.0%} of the rollouts of {chart.prompts} prompts since step {since}, "
            f"{chart.usual:.0%} in the first steps (limit {chart.limit:.0%}): {meaning}."
        )
        shown = _worst(self._recent[name])
        return Alarm(step, name, round(value, 4), round(chart.limit, 4), round(chart.usual, 4), message, shown)

    def to_json(self) -> dict[str, Any]:
        """What a resumed run needs. No text is in it: in its first steps a resumed run learns garbling again."""
        return {
            "updates": self.updates,
            "charts": {name: asdict(chart) for name, chart in self.charts.items()},
            "limits": self.limits,
            "learned": self._learned,
            "model": self._packed,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where the watch was that `to_json` saved.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it is not what `to_json` makes.
        """
        charts = {name: Chart(**values) for name, values in saved["charts"].items() if name in SIGNALS}
        limits = {name: float(saved["limits"][name]) for name in charts}
        learned = {name: [list(map(float, group)) for group in groups] for name, groups in saved["learned"].items()}
        model = None if saved["model"] is None else CharacterModel.from_json(saved["model"])
        self.updates, self.charts, self.limits = int(saved["updates"]), charts, limits
        self._learned = {name: values for name, values in learned.items() if name in SIGNALS}
        self.model, self._packed = model, saved["model"]

    def forget(self, name: str) -> None:
        """Learn a signal anew."""
        self.charts.pop(name, None)
        self.limits.pop(name, None)
        self._learned.pop(name, None)


def _worst(recent: Iterable[tuple[float, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rollouts with the highest values, the latest first among equals, different prompts before the same again."""
    latest_first = list(recent)[::-1]
    ranked = sorted(latest_first, key=lambda one: -one[0])
    seen: Counter[str] = Counter()
    kept: dict[str, tuple[int, dict[str, Any]]] = {}
    for _, rollout in ranked:
        if rollout["completion"] not in kept:
            kept[rollout["completion"]] = (seen[rollout["prompt"]], rollout)
            seen[rollout["prompt"]] += 1
    return [rollout for _, rollout in sorted(kept.values(), key=lambda one: one[0])[:_SHOWN]]


def _by_prompt(found: Iterable[tuple[str, float]]) -> list[list[float]]:
    """The values of each prompt: its rollouts are alike, on whichever rank they are."""
    groups: dict[str, list[float]] = defaultdict(list)
    for group, value in found:
        groups[group].append(value)
    return list(groups.values())


def _beyond(groups: Iterable[Sequence[float]], limit: float) -> float:
    """The sum, over the prompts, of the share of its values above the limit."""
    return sum(sum(value > limit for value in group) / len(group) for group in groups)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _fitted(texts: Sequence[tuple[int, str, str]]) -> tuple[CharacterModel, list[list[float]]]:
    """The character model of all texts; and, by prompt, the bits per character under a model of the other half.

    A text is more usual to a model that was fitted to it, or to another text for the same prompt: a prompt is in one
    half, in all steps.
    """
    halves: list[list[tuple[str, str]]] = [[], []]
    place = {group: index % 2 for index, group in enumerate(dict.fromkeys(group for _, group, _ in texts))}
    for step, group, text in texts:
        halves[place[group] if len(place) > 1 else step % 2].append((f"{step} {group}", text))
    bits: list[tuple[str, float]] = []
    for half, other in ((0, 1), (1, 0)):
        model = CharacterModel()
        model.fit(text for _, text in halves[other])
        bits += [(group, model.bits(text)) for group, text in halves[half]]
    whole = CharacterModel()
    whole.fit(text for _, _, text in texts)
    return whole, _by_prompt(bits)
