"""A guard whose forward passes fail: a runner around its own, and the conversations that it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from guard_reward.guards import StreamGuard, TransformersGuard
from guard_reward.verdict import Unjudged, Verdict

OBJECTS = ("blue gravok", "red tazzle", "small lorrin")
CONVERSATIONS: list[Any] = [
    [
        {"role": "user", "content": f"How do I use a {thing}? {number}"},
        {"role": "assistant", "content": "First fold it."},
    ]
    for thing in OBJECTS
    for number in range(3)
] + [[{"role": "user", "content": f"How do I break a {thing}?"}] for thing in OBJECTS]


class FailingRunner:
    """Raises `error` at some of the forward passes; otherwise the runner that it wraps.

    Args:
        runner: the guard's own.
        fails: number of a pass, from 0 → whether it fails.
        error: what it raises then.
    """

    def __init__(self, runner: Any, fails: Callable[[int], bool], error: Exception):
        self.runner, self.name, self.fails, self.error, self.passes = runner, runner.name, fails, error, 0

    def forward(self, packed: Any, cache: Any) -> Any:
        number, self.passes = self.passes, self.passes + 1
        if self.fails(number):
            raise self.error
        return self.runner.forward(packed, cache)

    def logits(self, output: Any) -> Any:
        return self.runner.logits(output)


class ChangedLogits:
    """Changes the logits of some calls, in place.

    Args:
        runner: the guard's own.
        change: gets the logits, shape (places, outputs), and the number of the call, from 0.
    """

    def __init__(self, runner: Any, change: Callable[[Any, int], None]):
        self.runner, self.name, self.change, self.calls = runner, runner.name, change, 0

    def forward(self, packed: Any, cache: Any) -> Any:
        return self.runner.forward(packed, cache)

    def logits(self, output: Any) -> Any:
        logits = self.runner.logits(output).clone()
        self.change(logits, self.calls)
        self.calls += 1
        return logits


def guard_like(tiny: Any, token_budget: int = 100) -> Any:
    """A guard of its own with the tiny guard's weights, that needs several batches."""
    kind = StreamGuard if isinstance(tiny, StreamGuard) else TransformersGuard
    return kind(tiny.model, tiny.tokenizer, token_budget=token_budget)


def renewed(guard: Any) -> Any:
    """The guard as if nothing had happened to it."""
    engine = engine_of(guard)
    engine.runner = getattr(engine.runner, "runner", engine.runner)
    guard._parts.batches.ceiling = None
    getattr(engine, "reset_prefix_cache", engine.forget)()
    return guard


def engine_of(guard: Any) -> Any:
    """What runs a guard's model."""
    return guard._parts.engine


def alike(found: list[Verdict | Unjudged], expected: list[Verdict | Unjudged]) -> bool:
    """Whether the same was said of every row, with probabilities that differ in rounding only."""
    return len(found) == len(expected) and all(
        isinstance(one, Verdict)
        and isinstance(other, Verdict)
        and (one.severity, one.categories, one.refusal, one.text)
        == (other.severity, other.categories, other.refusal, other.text)
        and max(abs(p - q) for p, q in zip(one.probabilities or (), other.probabilities or (), strict=True)) < 1e-4
        for one, other in zip(found, expected, strict=True)
    )
