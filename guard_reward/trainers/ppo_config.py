"""Settings of PPO: TRL's `GRPOConfig` and what a critic adds."""

from __future__ import annotations

from dataclasses import dataclass, field

from trl import GRPOConfig

__all__ = ["PPOConfig"]

LOSS_TYPES = ("dapo", "bnpo", "grpo")  # the clipped losses that are means over tokens, like the value loss


@dataclass
class PPOConfig(GRPOConfig):
    """Settings of `guard_reward.trainers.PPOTrainer`; all other fields mean the same as for GRPO.

    Fields of `GRPOConfig` with another role in PPO: `epsilon` (and `epsilon_high`) is the policy's clip range,
    `num_iterations` the number of passes over each batch of rollouts, `num_generations` the number of samples per
    prompt, which may be 1 (then the batch of one generation round must be even). `beta` is the KL coefficient of the
    scaled reward; the loss has no KL term.

    Raises:
        ValueError: a value out of range, or a GRPO setting that does not work with per-token advantages.

    >>> PPOConfig("runs/ppo", per_device_train_batch_size=8, num_generations=1, bf16=False).num_generations
    1
    """

    gamma: float = field(default=1.0, metadata={"help": "Discount of future rewards, per token."})
    lam: float = field(default=0.95, metadata={"help": "λ of generalized advantage estimation."})
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss in the loss."})
    cliprange_value: float | None = field(
        default=0.2,
        metadata={
            "help": "How far a value may move from its old one per batch of rollouts before the value loss ignores it, "
            "on the scale of the scaled rewards. None: no clipping."
        },
    )
    value_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Learning rate of the value head; follows the policy's schedule. None: 1 / the policy's hidden "
            "size."
        },
    )
    whiten_advantages: bool = field(
        default=True, metadata={"help": "Bring advantages to mean 0 and variance 1 over the rollouts of all ranks."}
    )
    scale_rewards: str = field(
        default="batch",
        metadata={
            "help": "'batch' brings the rewards to mean 0 and variance 1 over all batches so far; 'none' leaves "
            "them; then beta, vf_coef and cliprange_value are on the rewards' own scale."
        },
    )
    beta: float = field(
        default=0.05,
        metadata={
            "help": "KL coefficient: each token's reward is lowered by beta times its log-ratio to the reference."
        },
    )
    num_iterations: int = field(default=2, metadata={"help": "Passes over each batch of rollouts (PPO epochs)."})

    def __post_init__(self) -> None:
        one_each: bool = self.num_generations == 1  # type: ignore[has-type]
        if one_each:  # GRPO needs a group for its baseline; a critic does not
            self.num_generations = 2
            self.num_generations_eval = self.num_generations_eval or 1  # type: ignore[has-type]
        try:
            super().__post_init__()
        except ValueError as error:
            if one_each and "divisible by num_generations" in str(error):
                raise ValueError(
                    f"num_generations=1 needs an even number of rollouts per round, found {self.generation_batch_size} "
                    "(per_device_train_batch_size x processes x steps_per_generation)"
                ) from error
            raise
        if one_each:
            self.num_generations = 1
        self._check()

    def _check(self) -> None:
        for name in ("gamma", "lam"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} should be from 0 to 1, found {getattr(self, name)}")
        for name in ("vf_coef", "beta"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} should not be negative, found {getattr(self, name)}")
        if self.value_learning_rate is not None and self.value_learning_rate <= 0.0:
            raise ValueError(f"value_learning_rate should be positive, found {self.value_learning_rate}")
        if self.cliprange_value is not None and self.cliprange_value <= 0.0:
            raise ValueError(f"cliprange_value should be positive or None (no clipping), found {self.cliprange_value}")
        if self.scale_rewards not in ("batch", "none"):
            raise ValueError(
                f"scale_rewards should be 'batch' (running) or 'none' with PPO, found {self.scale_rewards!r}"
            )
        if self.off_policy_mask_threshold is not None:
            raise ValueError("off_policy_mask_threshold needs one advantage per sequence; leave it out with PPO")
        if self.loss_type not in LOSS_TYPES:
            raise ValueError(
                f"loss_type={self.loss_type!r} does not work with per-token advantages and values; PPO's clipped loss "
                f"can be {', '.join(LOSS_TYPES)} (how tokens are averaged)"
            )
        if self.importance_sampling_level != "token":
            raise ValueError(
                f"importance_sampling_level={self.importance_sampling_level!r} does not work with per-token "
                "advantages; use 'token' with PPO, or GRPOTrainer for GSPO"
            )
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError(
                "multi_objective_aggregation='normalize_then_sum' normalises within groups, and PPO has no groups; use "
                "'sum_then_normalize'"
            )
        if self.fp16:
            raise ValueError("fp16=True scales the loss, but not for the value head; use bf16=True")
