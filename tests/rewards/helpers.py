"""Helpers of the reward tests: a log like a trainer's, a helpfulness, and guards that fail."""

from __future__ import annotations

from pathlib import Path

from tests.scripted_guard import ScriptedGuard

REPOSITORY = Path(__file__).parents[2]
THINK = "<think>{}</think>{}".format


def by_length(prompts, completions, **columns):
    """A helpfulness function: one point per character."""
    return [float(len(completion)) for completion in completions]


class Log:
    """What TRL's trainers pass as ``log_metric`` and ``log_extra``."""

    def __init__(self):
        self.metrics: dict[str, list[float]] = {}
        self.columns: dict[str, list] = {}

    def metric(self, name, value):
        self.metrics.setdefault(name, []).append(value)

    def extra(self, name, values):
        self.columns.setdefault(name, []).extend(values)


def score(reward, /, *completions, log: Log | None = None, **columns):
    """Rewards of `completions` to one plain prompt."""
    logs = {"log_metric": log.metric, "log_extra": log.extra} if log else {}
    return reward(prompts=["How?"] * len(completions), completions=list(completions), **logs, **columns)


def image_row(text):
    return [{"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": text}]}]


class Raising:
    def moderate(self, conversations):
        raise ConnectionError("the guard is away")


class Forgetful:
    def moderate(self, conversations):
        return ScriptedGuard().moderate(conversations)[:-1]


USER = {"role": "user", "content": "How?"}


def reply(text):
    return [USER, {"role": "assistant", "content": text}]
