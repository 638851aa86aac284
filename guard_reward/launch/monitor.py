"""The alarm for a reward that is being hacked, from a recipe's file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from guard_reward.errors import UserError, first_paragraph
from guard_reward.guards.loading import is_served
from guard_reward.launch.config import load_named_guard

if TYPE_CHECKING:
    from guard_reward.monitoring.monitor import RewardMonitor
    from guard_reward.rewards.base import BaseGuardReward

__all__ = ["MonitorConfig", "build_monitor"]


@dataclass
class MonitorConfig:
    """The options of `guard_reward.monitoring.monitor.RewardMonitor` as plain values.

    >>> MonitorConfig(monitor_guard="Qwen/Qwen3Guard-Stream-0.6B").monitor_action
    'warn'
    """

    _argument_group_name: ClassVar[str] = "the alarm"

    monitor: bool = field(
        default=False,
        metadata={
            "help": "Watch the run for a policy that hacks its guard: alarms in the log and in monitor.jsonl. Without "
            "monitor_guard by texts and outcomes only."
        },
    )
    monitor_guard: str | None = field(
        default=None,
        metadata={
            "help": "A second guard, of another size or family than the guard, or a stream guard; it is asked about a "
            "sample of the rollouts and gives no reward. Hub id, folder, or its server's URL."
        },
    )
    monitor_revision: str | None = field(default=None, metadata={"help": "Its branch, tag or commit on the hub."})
    monitor_device: str | None = field(
        default=None, metadata={"help": "Where it runs, such as cuda:1; default: the device of this rank's policy."}
    )
    monitor_dtype: str | None = field(
        default=None, metadata={"help": "Of its weights, such as bfloat16; default: the checkpoint's."}
    )
    monitor_sample: int = field(
        default=32,
        metadata={"help": "Rollouts per reward call and rank that it is asked about, at most."},
    )
    monitor_max_share: float = field(
        default=0.05,
        metadata={"help": "Of the run's time that the monitor takes, at most; it looks at fewer rollouts then."},
    )
    monitor_warmup_steps: int = field(
        default=6, metadata={"help": "Steps from which it learns what is usual, before it tests."}
    )
    monitor_action: Literal["warn", "stop"] = field(
        default="warn", metadata={"help": "What an alarm does: warn, or stop the run at the end of its step."}
    )
    monitor_stop_on: list[str] | None = field(
        default=None,
        metadata={"help": "Signals that stop it, by name; default: all but length and truncated. The others warn."},
    )
    monitor_deadline: float = field(
        default=30.0, metadata={"help": "Seconds that a reward call waits for a served second guard."}
    )


def build_monitor(config: MonitorConfig, reward: BaseGuardReward) -> RewardMonitor | None:
    """The callback; None unless ``monitor`` is set.

    Args:
        config: the options.
        reward: of the run. A second guard by the name of its shadow or its evaluations' judge is loaded once.

    Raises:
        UserError: names the field that is wrong.

    Example:
        >>> monitor = build_monitor(MonitorConfig(monitor=True), reward)          # doctest: +SKIP
        >>> trainer = GRPOTrainer(..., callbacks=[monitor] if monitor else None)  # doctest: +SKIP
    """
    if not config.monitor:
        if config.monitor_guard is not None:
            raise UserError("monitor_guard needs monitor: true")
        return None
    from guard_reward.monitoring.monitor import RewardMonitor

    try:
        return RewardMonitor(
            reward,
            _second_guard(config, reward),
            sample=config.monitor_sample,
            max_share=config.monitor_max_share,
            warmup_steps=config.monitor_warmup_steps,
            action=config.monitor_action,
            stop_on=config.monitor_stop_on,
            deadline=config.monitor_deadline,
        )
    except ValueError as error:
        raise UserError(f"monitor: {first_paragraph(error)}") from error


def _second_guard(config: MonitorConfig, reward: BaseGuardReward) -> Any:
    name = config.monitor_guard
    own = {"device": config.monitor_device, "dtype": config.monitor_dtype, "revision": config.monitor_revision}
    given: dict[str, Any] = {option: value for option, value in own.items() if value is not None}
    if name is None:
        if given:
            raise UserError(f"{', '.join(f'monitor_{option}' for option in given)}: only with monitor_guard")
        return None
    if name == getattr(reward.guard, "name", None) and config.monitor_revision is None:
        raise UserError("monitor_guard is the guard itself, and errs where it errs: name another one")
    if not given:
        for loaded in (reward.shadow, reward.eval_judge):
            if loaded is not None and getattr(loaded, "name", None) == name:
                return loaded
    if is_served(name):
        given["deadline"] = config.monitor_deadline
    return load_named_guard("monitor_guard", name, **given)
