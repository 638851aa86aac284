"""PPO as a thin subclass of TRL's `GRPOTrainer`: what it adds is a critic and per-token advantages.

    trainer = PPOTrainer(
        model="Qwen/Qwen3-4B",
        reward_funcs=GuardReward("Qwen/Qwen3Guard-Gen-4B", "hybrid", helpfulness="Skywork/Skywork-Reward-V2-Qwen3-4B"),
        args=PPOConfig("runs/ppo", beta=0.05, vf_coef=0.1),
        train_dataset=prompts,
    )
    trainer.train()

Datasets, reward functions, generation (transformers or vLLM), DeepSpeed, LoRA, logging and checkpoints are TRL's.
What is overridden stands under "The seam"; `check_seam` says clearly which of it a TRL release has moved.
"""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

import torch
import trl
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

__all__ = ["PPOTrainer", "check_seam"]


class PPOTrainer(GRPOTrainer):
    """Proximal policy optimization (Schulman et al., arXiv 1707.06347) with the interface of TRL's `GRPOTrainer`.

    Per-token rewards (KL penalty on every token, the scaled score on the last) and the critic's values give advantages
    by GAE(γ, λ); TRL's own clipped loss takes them, and a value loss is added to it:

        L = L_clip + vf_coef · ½ mean max[(V - R)², (clip(V, V_old ± c) - R)²]

    The value loss trains the value head and, through the hidden states, the policy's trunk. A row without a reward
    (all reward functions gave None) adds to neither loss, nor to whitening. The value head is saved beside the policy
    in the folder ``critic``; the policy's own files have exactly the base model's keys, and load anywhere.

    Logged beside GRPO's metrics: ``kl``, ``value/loss``, ``value/clip_ratio``, ``value/explained_variance``,
    ``value/mean``, ``returns/mean``, ``returns/std``. The rollouts table shows each row's mean advantage.

    Args:
        model, reward_funcs, args, and the others: as `GRPOTrainer`'s, with a `PPOConfig`. With ``beta > 0`` the model
            must be a hub id or folder (or have come from one): the reference is loaded from there.

    Raises:
        TypeError: `args` is no `PPOConfig`.
        ValueError: float16 with loss scaling, which the value head takes no part in.
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
        **kwargs: Any,
    ):
        check_seam()
        if args is None:
            name = model if isinstance(model, str) else model.config._name_or_path
            args = PPOConfig(f"{name.rstrip('/').split('/')[-1]}-PPO")
        if not isinstance(args, PPOConfig):
            raise TypeError(f"args should be a guard_reward.trainers.PPOConfig, found {type(args).__name__}")
        super().__init__(model, reward_funcs, args, train_dataset, eval_dataset, **kwargs)
        if self.accelerator.scaler is not None:
            raise ValueError("mixed_precision fp16 scales the loss, which the value head takes no part in; use bf16")
        self.critic = Critic(
            self.model,
            self.accelerator,
            learning_rate=args.value_learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
            max_grad_norm=args.max_grad_norm,
        )
        self.add_callback(_CriticStep(self))
        self._values: list[torch.Tensor] = []
        self._rewards_per_func = torch.empty(0)

    # The seam ------------------------------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kw: Any,
    ) -> Any:
        """TRL's log-probabilities; the critic listens to the same forward."""
        with self.critic.listening(logits_to_keep) as heard:
            result = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kw
            )
        if heard:  # the reference model has no critic
            self._values.append(torch.cat(heard))
        return result

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's rewards of all ranks' rows, (rows, functions); kept for `_generate_and_score_completions`."""
        self._rewards_per_func = super()._calculate_rewards(*args, **kwargs)
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's rollouts, with advantages (B, T), returns and old values in place of group advantages."""
        self._values.clear()
        rollouts = super()._generate_and_score_completions(inputs)
        if "old_per_token_logps" in rollouts:
            old_values = self._first_values()
        else:
            rollouts["old_per_token_logps"], old_values = self._logps_and_values(rollouts)
        self._add_advantages(rollouts, old_values)
        return rollouts

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's clipped policy loss on per-token advantages, and the value loss."""
        self._values.clear()
        # The KL penalty is in the rewards already; TRL would add it to the loss as well.
        beta, self.beta = self.beta, 0.0
        try:
            policy_loss = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
        return policy_loss + self.args.vf_coef * self._value_loss(self._first_values(), inputs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the policy as the base model would be saved, and the value head beside it."""
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
        if Path(self.state.best_model_checkpoint).is_dir():  # transformers only warns where it is on another node
            self.critic.load(Path(self.state.best_model_checkpoint))

    # Rollouts ------------------------------------------------------------------------------------------------------

    def _logps_and_values(self, rollouts: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and values (B, T) of the policy that wrote the rollouts."""
        completion_ids = rollouts["completion_ids"]
        training = self.model.training
        with torch.no_grad():
            self._values.clear()
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([rollouts["prompt_ids"], completion_ids], dim=1),
                torch.cat([rollouts["prompt_mask"], rollouts["completion_mask"]], dim=1),
                completion_ids.size(1),
                batch_size=self.args.per_device_train_batch_size if training else self.args.per_device_eval_batch_size,
                **{name: rollouts[name] for name in _IMAGE_INPUTS if name in rollouts},
            )
        return logps, self._first_values()

    def _first_values(self) -> torch.Tensor:
        """The values of the policy's forward; with adapters the reference's forward comes after it."""
        if not self._values:
            raise RuntimeError(_moved("no forward of the policy's decoder was seen in its log-probabilities"))
        return self._values[0]

    def _add_advantages(self, rollouts: dict[str, Any], values: torch.Tensor) -> None:
        """Turn scores into advantages and returns, (B, T) each, and log what they look like."""
        mask = rollouts["completion_mask"] * rollouts.get("tool_mask", 1)
        scores = self._local_scores(len(mask))
        scored = ~scores.isnan()
        valued = (mask * scored.unsqueeze(1)).float()  # tokens that teach: written by the policy, in a scored row
        if self.args.scale_rewards == "batch":
            if self.model.training:  # an evaluation is not learned from
                self.critic.scale.update(scores)
            scores = self.critic.scale(scores)
        kl = None
        if "ref_per_token_logps" in rollouts:
            kl = rollouts["old_per_token_logps"] - rollouts["ref_per_token_logps"]
        rewards = token_rewards(scores.nan_to_num(), kl, valued, self.args.beta)
        advantages, returns = generalized_advantages(rewards, values, valued, self.args.gamma, self.args.lam)
        moments = self._moments([advantages, returns, returns - values, values], valued)
        rollouts["advantages"] = whiten(advantages, valued, moments[0]) if self.args.whiten_advantages else advantages
        rollouts |= {"returns": returns, "old_values": values, "valued": valued}
        self._log_rollouts(moments, kl, mask)
        self._show_advantages(rollouts["advantages"], valued)

    def _local_scores(self, rows: int) -> torch.Tensor:
        """(B,) this rank's scores: the weighted sum of the reward functions, NaN where all of them gave None."""
        per_function = self._rewards_per_func
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
        returns, old_values, valued = inputs["returns"], inputs["old_values"], inputs["valued"]
        errors = (values - returns) ** 2
        is_clipped = torch.zeros_like(errors)
        if self.args.cliprange_value is not None:
            clipped = old_values + (values - old_values).clamp(-self.args.cliprange_value, self.args.cliprange_value)
            is_clipped = ((clipped - returns) ** 2 > errors).float()
            errors = torch.maximum(errors, (clipped - returns) ** 2)
        losses = 0.5 * errors
        loss_moments, clip_moments = self._moments([losses.detach(), is_clipped], valued)
        self._log_mean("value/loss", loss_moments)
        if self.args.cliprange_value is not None:
            self._log_mean("value/clip_ratio", clip_moments)
        # As TRL's token-level losses: `num_items_in_batch` spans the rollouts of all ranks and accumulation steps.
        tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        if self.model.training:
            tokens = tokens * self.current_gradient_accumulation_steps / self.args.steps_per_generation
        return (losses * valued).sum() / tokens

    # Telling -------------------------------------------------------------------------------------------------------

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
        """Log a mean over tokens; nothing where there were none."""
        count, total, _ = moments.tolist()
        if count:
            self._log_value(name, total / count)

    def _log_value(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)

    def _show_advantages(self, advantages: torch.Tensor, valued: torch.Tensor) -> None:
        """Put each row's mean advantage into the rollouts table, where TRL has put GRPO's group advantages."""
        means = (advantages * valued).sum(1) / valued.sum(1).clamp(min=1)
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
"""What TRL's forward takes beside token ids, and its rollouts hold under the same names."""

_SEAM = {
    "_generate_and_score_completions": ("inputs",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_get_per_token_logps_and_entropies": ("model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"),
    "_compute_loss": ("model", "inputs"),
    "save_model": ("output_dir", "_internal_call"),
    "_save_optimizer_and_scheduler": ("output_dir",),
    "_load_optimizer_and_scheduler": ("checkpoint",),
    "_load_best_model": (),
    "_get_learning_rate": (),
}
"""The methods that PPO overrides or calls, and the parameters of theirs that it relies on."""


def check_seam(trainer_class: type = GRPOTrainer) -> None:
    """Whether TRL's `GRPOTrainer` still has the methods that PPO builds on.

    Raises:
        RuntimeError: it has not; names the method and TRL's version.

    >>> check_seam()
    """
    for name, expected in _SEAM.items():
        method = getattr(trainer_class, name, None)
        if method is None:
            raise RuntimeError(_moved(f"it has no {trainer_class.__name__}.{name}"))
        found = inspect.signature(method).parameters
        takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in found.values())
        missing = [parameter for parameter in expected if parameter not in found]
        if missing and not takes_any:
            raise RuntimeError(_moved(f"{trainer_class.__name__}.{name} has no {', '.join(missing)}"))


def _moved(what: str) -> str:
    return f"TRL {trl.__version__} has changed what PPOTrainer builds on ({what}); use TRL 1.14 to 1.16"
