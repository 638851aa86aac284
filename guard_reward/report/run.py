"""What the report knows of a run: plain data, read by `guard_reward.report.folders` and shown by the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guard_reward.report.cells import Estimate

__all__ = ["Alarm", "Measurement", "Run"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A run's policy, measured once: before training, after it, or at a step.

    Attributes:
        stage: ``before``, ``after``, or a text such as ``step 400``.
        judged_by: who judged, on what, in words: ``the judge wildguard, 500 held-out prompts``.
        independent: whether the judge is another guard than the one that gave the reward; None if that is unknown.
        values: by metric (``safety_rate``, ``refusal_rate_harmful``, …), with intervals where they are known.
        p_values: by metric, of the exact test on the prompts that this measurement and the one before training share.
        guard: that judged, with its revision; empty if it is unknown.
        prompts: which ones, a hash of them; empty if that is unknown.
        when: in words, of a stage that is a part of the training: ``in steps 1–10``.
        is_relative: whether the judge is another guard of the same family as the one that gave the reward.
    """

    stage: str
    judged_by: str
    independent: bool | None
    values: Mapping[str, Estimate]
    p_values: Mapping[str, float] = field(default_factory=dict)
    guard: str = ""
    prompts: str = ""
    when: str = ""
    is_relative: bool = False


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that the monitor raised during training, a line of ``monitor.jsonl``.

    Attributes:
        step: of the trainer.
        signal: what jumped, such as ``second_guard`` or ``repetition``.
        message: in words.
        rollouts: some that caused it: ``prompt``, ``completion`` and the signal's ``value``.
        value: of the signal; None if it is unknown.
        limit: that the value passed; None if it is unknown.
    """

    step: int
    signal: str
    message: str
    rollouts: Sequence[Mapping[str, Any]] = ()
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as far as its folder tells.

    Attributes:
        name: different from that of the page's other runs.
        folder: where it was read.
        log: the trainer's log lines by step, of training and of evaluations (``eval_…``); rates are exact.
        rollouts: rows of its rollouts tables, a sample if there are too many; with ``step``, ``prompt``,
            ``thinking``, ``completion`` and the reward's columns.
        rollout_total: how many rows there are.
        settings: flat: ``scheme``, ``GRPOConfig.learning_rate``, … → text.
        measurements: before and after, as far as they are known.
        alarms: of the monitor, by step.
        max_steps: planned; None if that is unknown.
        is_running: whether the run seems to go on.
        is_monitored: whether a monitor watched it.
        notes: what is missing or could not be read, one sentence each.
    """

    name: str
    folder: str
    log: Sequence[Mapping[str, Any]] = ()
    rollouts: Sequence[Mapping[str, Any]] = ()
    rollout_total: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    measurements: Sequence[Measurement] = ()
    alarms: Sequence[Alarm] = ()
    max_steps: int | None = None
    is_running: bool = False
    is_monitored: bool = False
    notes: Sequence[str] = ()
