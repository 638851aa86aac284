"""PPO as a thin subclass of TRL's `GRPOTrainer`, which adds a critic and per-token advantages.

    trainer = PPOTrainer(
        model="Qwen/Qwen3-4B",
        reward_funcs=GuardReward("Qwen/Qwen3Guard-Gen-4B", "hybrid", helpfulness="Skywork/Skywork-Reward-V2-Qwen3-4B"),
        args=PPOConfig("runs/ppo", beta=0.05, vf_coef=0.1),
        train_dataset=prompts,
    )
    trainer.train()

Datasets, reward functions, generation (transformers or vLLM), DeepSpeed, LoRA, logging and checkpoints are TRL's.
The overridden methods are in the section "TRL's methods"; `trl_compatibility` checks that TRL still has them.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from guard_reward.trainers.advantages import (
    explained_variance,
    generalized_advantages,
    token_rewards,
    variance,
    whiten,
)
from guard_reward.trainers.critic import Critic
from guard_reward.trainers.ppo_config import PPOConfig
from guard_reward.trainers.reward_inputs import check_columns, check_names
from guard_reward.trainers.token_rewards import names_of, padded, summed_token_rewards
from guard_reward.trainers.trl_compatibility import check_trl_compatibility, incompatible

__all__ = ["PPOTrainer", "check_seam"]


@dataclass
class _Captured:
    """Numbers that PPO needs from inside TRL's methods, which do not return them.

    - `_get_per_token_logps_and_entropies` gives log-probabilities; the values come from the same forward.
    - `_generate_and_score_completions` turns the rewards into group advantages and returns only these.

    Both are called deep inside other methods of TRL. So PPO's versions of them put the numbers here, and PPO's versions
    of the outer methods read them.

    Attributes:
        values: (rows, T) for each call of `_get_per_token_logps_and_entropies` with the policy, since the last `clear`.
        rewards: (rows, functions), the rewards of all ranks' rows.
        token_rewards: of this rank's rows, the sum of the functions that reward tokens; None without such functions.
    """

    values: list[torch.Tensor] = field(default_factory=list)
    rewards: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    token_rewards: list[list[float]] | None = None

    def clear(self) -> None:
        self.values.clear()
        self.rewards = torch.empty(0)
        self.token_rewards = None

    def first_values(self) -> torch.Tensor:
        """The values of the policy's own forward; with adapters, the reference's forward comes after it.

        Raises:
            RuntimeError: the critic has seen no forward.
        """
        if not self.values:
            raise incompatible("no forward of the policy's decoder was seen in its log-probabilities")
        return self.values[0]


class PPOTrainer(GRPOTrainer):
    """Proximal policy optimization (Schulman et al., arXiv 1707.06347) with the interface of TRL's `GRPOTrainer`.

    Per-token rewards (KL penalty on every token, the scaled score on the last) and the critic's values give advantages
    by GAE(γ, λ); TRL's own clipped loss takes them, and a value loss is added to it:

        L = L_clip + vf_coef · ½ mean max[(V - R)², (clip(V, V_old ± c) - R)²]

    The value loss trains the value head and, through the hidden states, the policy's trunk. A row without a reward
    (all reward functions gave None) is left out of both losses and of whitening. The value head is saved next to the
    policy, in the folder ``critic``; the policy's own files have exactly the base model's keys, and load anywhere.

    With `token_reward_funcs`, such as `guard_reward.rewards.stream_reward.StreamReward`, their rewards are added to the
    tokens' rewards, in units of the sequence score: they are scaled as it is, but not shifted.

    Logged in addition to GRPO's metrics: ``kl``, ``value/loss``, ``value/clip_ratio``, ``value/explained_variance``,
    ``value/mean``, ``returns/mean``, ``returns/std``. The rollouts table shows each row's mean advantage.

    Args:
        model: as for `GRPOTrainer`. With ``beta > 0`` it must be a hub id or folder, or have been loaded from one: the
            reference is loaded from there.
        reward_funcs: as for `GRPOTrainer`.
        args: the settings.
        train_dataset: as for `GRPOTrainer`.
        eval_dataset: as for `GRPOTrainer`.
        **kwargs: the other arguments of `GRPOTrainer`.
        token_reward_funcs: one or several functions with the arguments of a reward function of TRL's, that return a
            list of numbers per row, one per token in ``completion_ids``, or None for a row without them.

    Raises:
        TypeError: `args` is not a `PPOConfig`.
        ValueError: float16 with loss scaling, which does not reach the value head; two reward functions with the same
            name; rewards per token together with tools; a dataset column called ``prompts`` or ``completions``, which
            TRL cannot pass on.
        RuntimeError: this version of TRL has changed what the trainer builds on.

    >>> trainer = PPOTrainer("Qwen/Qwen3-0.6B", reward, PPOConfig("runs/ppo"), prompts)      # doctest: +SKIP
    >>> trainer.train()                                                                     # doctest: +SKIP
    """

    _tag_names = ["trl", "ppo", "guard-reward"]  # noqa: RUF012  TRL's own names and types
    _name = "PPO"
    _paper = {  # noqa: RUF012
        "title": "Proximal Policy Optimization Algorithms",
        "id": "1707.06347",
        "citation": textwrap.dedent("""\
            @article{schulman2017proximal,
                title        = {{Proximal Policy Optimization Algorithms}},
                author       = {John Schulman and Filip Wolski and Prafulla Dhariwal and Alec Radford and Oleg Klimov},
                year         = 2017,
                eprint       = {arXiv:1707.06347},
            }"""),
    }

    args: PPOConfig
    beta: float

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: PPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        *,
        token_reward_funcs: Callable[..., Any] | Sequence[Callable[..., Any]] = (),
        **kwargs: Any,
    ):
        check_trl_compatibility()
        if args is None:
            name = model if isinstance(model, str) else model.config._name_or_path
            args = PPOConfig(f"{name.rstrip('/').split('/')[-1]}-PPO")
        if not isinstance(args, PPOConfig):
            raise TypeError(f"args should be a guard_reward.trainers.PPOConfig, found {type(args).__name__}")
        if token_reward_funcs and (kwargs.get("tools") or kwargs.get("environment_factory")):
            raise ValueError("token_reward_funcs: rewards per token would count what tools write; leave out the tools")
        if isinstance(token_reward_funcs, str):
            raise TypeError("token_reward_funcs: pass a function, such as StreamReward(load_guard(...)), not a name")
        check_columns(train_dataset)
        check_columns(eval_dataset)
        super().__init__(model, reward_funcs, args, train_dataset, eval_dataset, **kwargs)
        self.token_reward_funcs = [token_reward_funcs] if callable(token_reward_funcs) else list(token_reward_funcs)
        check_names([*self.reward_func_names, *(names_of(self.token_reward_funcs))])
        if self.accelerator.scaler is not None:
            raise ValueError("mixed_precision fp16 scales the loss, but not for the value head; use bf16")
        self.critic = Critic(
            self.model,
            self.accelerator,
            learning_rate=args.value_learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
            max_grad_norm=args.max_grad_norm,
        )
        self.add_callback(_CriticStep(self))
        self._captured = _Captured()

    # TRL's methods -------------------------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kw: Any,
    ) -> Any:
        """TRL's log-probabilities; the values of the same forward are captured."""
        with self.critic.capture_values(logits_to_keep) as values:
            result = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kw
            )
        if values:  # a separate reference model has no critic
            self._captured.values.append(torch.cat(values))
        return result

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """TRL's rewards of all ranks' rows, (rows, functions); captured, with the rewards of this rank's tokens."""
        rows = (inputs, prompts, completions, completion_ids_list)
        self._captured.rewards = super()._calculate_rewards(*rows, *args, **kwargs)
        if self.token_reward_funcs:
            self._captured.token_rewards = summed_token_rewards(self, *rows)
        return self._captured.rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's rollouts, with advantages (B, T), returns and old values instead of group advantages."""
        self._captured.clear()
        rollouts = super()._generate_and_score_completions(inputs)
        if "old_per_token_logps" in rollouts:
            old_values = self._captured.first_values()
        else:
            rollouts["old_per_token_logps"], old_values = self._logps_and_values(rollouts)
        self._add_advantages(rollouts, old_values)
        return rollouts

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's clipped policy loss on per-token advantages, plus the value loss."""
        self._captured.values.clear()
        # The rewards contain the KL penalty already; with its own beta, TRL would add it to the loss a second time.
        beta, self.beta = self.beta, 0.0
        try:
            policy_loss = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        return policy_loss + self.args.vf_coef * self._value_loss(self._captured.first_values(), inputs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the policy as the base model would be saved, and the value head next to it."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            self.critic.save(Path(output_dir or self.args.output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            self.critic.save_optimizer(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.critic.load(Path(checkpoint))
            self.critic.load_optimizer(Path(checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if Path(self.state.best_model_checkpoint).is_dir():  # on another node transformers only warns
            self.critic.load(Path(self.state.best_model_checkpoint))

    # Rollouts ------------------------------------------------------------------------------------------------------

    def _logps_and_values(self, rollouts: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and values (B, T) of the policy that wrote the rollouts."""
        completion_ids = rollouts["completion_ids"]
        training = self.model.training
        self._captured.values.clear()  # with adapters, the reference's forward may have left its own here
        with torch.no_grad():
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([rollouts["prompt_ids"], completion_ids], dim=1),
                torch.cat([rollouts["prompt_mask"], rollouts["completion_mask"]], dim=1),
                completion_ids.size(1),
                batch_size=self.args.per_device_train_batch_size if training else self.args.per_device_eval_batch_size,
                **{name: rollouts[name] for name in _IMAGE_INPUTS if name in rollouts},
            )
        return logps, self._captured.first_values()

    def _add_advantages(self, rollouts: dict[str, Any], values: torch.Tensor) -> None:
        """Turn scores into advantages and returns, (B, T) each, and log their statistics."""
        mask = rollouts["completion_mask"] * rollouts.get("tool_mask", 1)
        scores = self._local_scores(len(mask))
        scored = ~scores.isnan()
        loss_mask = (mask * scored.unsqueeze(1)).float()  # tokens that the policy wrote, in rows with a score
        if self.args.scale_rewards == "batch":
            if self.model.training:  # nothing is learned from an evaluation
                self.critic.scale.update(scores)
            scores = self.critic.scale(scores)
        kl = None
        if "ref_per_token_logps" in rollouts:
            kl = rollouts["old_per_token_logps"] - rollouts["ref_per_token_logps"]
        rewards = token_rewards(scores.nan_to_num(), kl, loss_mask, self.args.beta)
        if self._captured.token_rewards is not None:
            dense = padded(self._captured.token_rewards, like=rewards) * loss_mask
            rewards = rewards + (dense / self.critic.scale.deviation if self.args.scale_rewards == "batch" else dense)
        advantages, returns = generalized_advantages(rewards, values, loss_mask, self.args.gamma, self.args.lam)
        moments = self._moments([advantages, returns, returns - values, values], loss_mask)
        rollouts["advantages"] = (
            whiten(advantages, loss_mask, moments[0]) if self.args.whiten_advantages else advantages
        )
        rollouts |= {"returns": returns, "old_values": values, "loss_mask": loss_mask}
        self._log_rollouts(moments, kl, mask)
        self._show_advantages(rollouts["advantages"], loss_mask)

    def _local_scores(self, rows: int) -> torch.Tensor:
        """(B,) this rank's scores: the weighted sum of the reward functions, NaN if all of them gave None."""
        per_function = self._captured.rewards
        scores = (per_function * self.reward_weights.to(per_function.device)).nansum(dim=1)
        scores[per_function.isnan().all(dim=1)] = torch.nan
        start = self.accelerator.process_index * rows
        return scores[start : start + rows]

    def _moments(self, tensors: list[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        """(tensors, 3): count, sum and sum of squares of each over the masked tokens of all ranks."""
        mask = mask.double()
        local = [torch.stack([mask.sum(), (x * mask).sum(), (x**2 * mask).sum()]) for x in tensors]
        return self.accelerator.reduce(torch.stack(local), reduction="sum")

    # Losses --------------------------------------------------------------------------------------------------------

    def _value_loss(self, values: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """Half the squared error, clipped, averaged over the tokens of one accumulation window on all ranks."""
        returns, old_values, loss_mask = inputs["returns"], inputs["old_values"], inputs["loss_mask"]
        errors = (values - returns) ** 2
        is_clipped = torch.zeros_like(errors)
        if self.args.cliprange_value is not None:
            clipped = old_values + (values - old_values).clamp(-self.args.cliprange_value, self.args.cliprange_value)
            is_clipped = ((clipped - returns) ** 2 > errors).float()
            errors = torch.maximum(errors, (clipped - returns) ** 2)
        losses = 0.5 * errors
        loss_moments, clip_moments = self._moments([losses.detach(), is_clipped], loss_mask)
        self._log_mean("value/loss", loss_moments)
        if self.args.cliprange_value is not None:
            self._log_mean("value/clip_ratio", clip_moments)
        # Normalised like TRL's token-level losses: `num_items_in_batch` spans all ranks and accumulation steps.
        tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        if self.model.training:
            tokens = tokens * self.current_gradient_accumulation_steps / self.args.steps_per_generation
        return (losses * loss_mask).sum() / tokens

    # Logging -------------------------------------------------------------------------------------------------------

    def _log_rollouts(self, moments: torch.Tensor, kl: torch.Tensor | None, mask: torch.Tensor) -> None:
        _, returns, errors, values = moments
        if kl is not None:
            self._log_mean("kl", self._moments([kl], mask)[0])
        self._log_mean("returns/mean", returns)
        self._log_mean("value/mean", values)
        if returns[0] > 0:
            self._log_value("returns/std", variance(returns) ** 0.5)
            self._log_value("value/explained_variance", explained_variance(returns, errors))

    def _log_mean(self, name: str, moments: torch.Tensor) -> None:
        """Log a mean over tokens; nothing if there were no tokens."""
        count, total, _ = moments.tolist()
        if count:
            self._log_value(name, total / count)

    def _log_value(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)

    def _show_advantages(self, advantages: torch.Tensor, loss_mask: torch.Tensor) -> None:
        """Replace GRPO's group advantages in TRL's rollouts table by each row's mean advantage."""
        means = (advantages * loss_mask).sum(1) / loss_mask.sum(1).clamp(min=1)
        shown = self.accelerator.gather(means).tolist()
        table = self._logs["advantages"]
        for _ in range(min(len(shown), len(table))):
            table.pop()
        table.extend(shown)


class _CriticStep(TrainerCallback):
    """The critic takes a step whenever the policy does."""

    def __init__(self, trainer: PPOTrainer):
        self.trainer = trainer

    def on_optimizer_step(self, args: PPOConfig, state: Any, control: Any, **kwargs: Any) -> None:
        schedule = self.trainer._get_learning_rate() / args.learning_rate if args.learning_rate > 0 else 1.0
        self.trainer.critic.step(schedule)


_IMAGE_INPUTS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""Inputs of TRL's forward in addition to token ids; its rollouts have them under the same names."""


def check_seam(trainer_class: type = GRPOTrainer) -> None:
    """Deprecated: use `guard_reward.trainers.trl_compatibility.check_trl_compatibility`."""
    new = "guard_reward.trainers.trl_compatibility.check_trl_compatibility"
    warnings.warn(f"check_seam is deprecated: use {new}", DeprecationWarning, stacklevel=2)
    check_trl_compatibility(trainer_class)
