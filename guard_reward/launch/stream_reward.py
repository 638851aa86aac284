"""A stream guard's rewards per token, from a recipe's file: for PPO only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from guard_reward.errors import UserError, first_paragraph
from guard_reward.launch.config import guard_named, load_named_guard
from guard_reward.rewards.stream_reward import StreamReward

__all__ = ["StreamRewardConfig", "build_stream_rewards"]


@dataclass
class StreamRewardConfig:
    """A reward per token beside the sequence score: the options of `guard_reward.StreamReward` as plain values.

    >>> StreamRewardConfig("Qwen/Qwen3Guard-Stream-0.6B", stream_weight=10.0).stream_form
    'penalty'
    """

    _argument_group_name: ClassVar[str] = "rewards per token"

    stream_guard: str | None = field(
        default=None,
        metadata={
            "help": "A stream guard whose verdicts on tokens are rewards too: hub id or folder of a "
            "Qwen3Guard-Stream checkpoint."
        },
    )
    stream_revision: str | None = field(default=None, metadata={"help": "Its branch, tag or commit on the hub."})
    stream_device: str | None = field(
        default=None, metadata={"help": "Where it runs, such as cuda:1; default: the device of this rank's policy."}
    )
    stream_dtype: str | None = field(
        default=None, metadata={"help": "Of its weights, such as bfloat16; default: the checkpoint's."}
    )
    stream_sleep: bool = field(
        default=False, metadata={"help": "Keep it in main memory while the policy trains; frees its GPU memory."}
    )
    stream_weight: float = field(
        default=1.0, metadata={"help": "How much a whole rise of P(not safe) costs, in units of the sequence score."}
    )
    stream_form: Literal["penalty", "shaping"] = field(
        default="penalty",
        metadata={"help": "penalty lowers the sum of the rewards; shaping gives it back at the last token."},
    )


def build_stream_rewards(config: StreamRewardConfig) -> list[StreamReward]:
    """What ``token_reward_funcs=`` of the PPO trainer takes; empty without a stream guard.

    Args:
        config: what to load, and how it rewards.

    Raises:
        UserError: names the field that is wrong.
    """
    name = guard_named(config, "stream_guard")
    if name is None:
        return []
    own = {"device": config.stream_device, "dtype": config.stream_dtype, "revision": config.stream_revision}
    guard = load_named_guard("stream_guard", name, **own)
    try:
        return [StreamReward(guard, weight=config.stream_weight, form=config.stream_form, sleep=config.stream_sleep)]
    except ValueError as error:
        raise UserError(f"stream_guard, stream_weight or stream_form: {first_paragraph(error)}") from error
