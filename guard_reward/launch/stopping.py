"""Rollouts that end where they become unsafe, from a recipe's file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from guard_reward.errors import UserError, first_paragraph
from guard_reward.launch.config import guard_named, load_named_guard
from guard_reward.streaming import StopUnsafe
from guard_reward.verdict import Severity

__all__ = ["StoppingConfig", "build_stopping"]


@dataclass
class StoppingConfig:
    """The options of `guard_reward.streaming.StopUnsafe` as plain values.

    >>> StoppingConfig("Qwen/Qwen3Guard-Stream-0.6B").stop_at
    'Unsafe'
    """

    _argument_group_name: ClassVar[str] = "stopping"

    stop_guard: str | None = field(
        default=None,
        metadata={
            "help": "A stream guard that ends each rollout where it becomes unsafe: hub id or folder of a "
            "Qwen3Guard-Stream checkpoint. One that gives a reward too, by the same name, is loaded once."
        },
    )
    stop_revision: str | None = field(default=None, metadata={"help": "Its branch, tag or commit on the hub."})
    stop_device: str | None = field(
        default=None, metadata={"help": "Where it runs, such as cuda:1; default: the device of this rank's policy."}
    )
    stop_dtype: str | None = field(
        default=None, metadata={"help": "Of its weights, such as bfloat16; default: the checkpoint's."}
    )
    stop_sleep: bool = field(
        default=False, metadata={"help": "Keep it in main memory while the policy trains; frees its GPU memory."}
    )
    stop_at: Literal["Controversial", "Unsafe"] = field(
        default="Unsafe",
        metadata={
            "help": "The severity from which a rollout ends; Controversial only where it pays no more than Unsafe."
        },
    )
    stop_every: int = field(
        default=1, metadata={"help": "How many tokens are judged at a time; more are cheaper and stop later."}
    )


def build_stopping(config: StoppingConfig, loaded: Iterable[Any] = ()) -> StopUnsafe | None:
    """What ``rollout_func=`` of a trainer takes; None without a guard.

    Args:
        config: the options.
        loaded: guards that the run has already.

    Raises:
        UserError: names the field that is wrong.
    """
    name = guard_named(config, "stop_guard")
    if name is None:
        return None
    own = {"device": config.stop_device, "dtype": config.stop_dtype, "revision": config.stop_revision}
    is_like_others = not any(own.values())
    same = [guard for guard in loaded if is_like_others and getattr(guard, "name", None) == name]
    guard = same[0] if same else load_named_guard("stop_guard", name, **own)
    try:
        stop_at = Severity(config.stop_at)
        return StopUnsafe(guard, stop_at=stop_at, every=config.stop_every, sleep=config.stop_sleep)
    except ValueError as error:
        raise UserError(f"stop_guard, stop_at or stop_every: {first_paragraph(error)}") from error
