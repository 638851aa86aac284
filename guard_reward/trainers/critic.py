"""The critic: a value head on the policy's hidden states that is not a module of the policy.

So the policy's checkpoints, its LoRA adapters and the weights that are sent to vLLM have exactly the base model's keys,
and ZeRO and FSDP do not partition the head. Its gradients are averaged over the ranks here, and its own optimizer takes
a step whenever the policy's does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from guard_reward.trainers.reward_scale import RewardScale

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel

__all__ = ["VALUE_HEAD_FILE", "Critic"]

# In a subfolder: loaders such as vLLM's read all *.safetensors files in the policy's folder as the policy's.
VALUE_HEAD_FILE = "critic/value_head.safetensors"
VALUE_OPTIMIZER_FILE = "critic/optimizer.pt"


class Critic:
    """V(s_t) for every completion token, from the hidden states of the forward that also gives the log-probabilities.

    A linear map from the last hidden state at unit scale (RMS-normalised, since the model's final gain may have any
    size), always in float32, zero before training. It predicts rewards on the scale of
    `scale`, which is saved with it.

    Args:
        policy: the policy, with or without adapters; a hook is put on its decoder.
        learning_rate: of the head; None for 1 / hidden size, so that a step moves V equally far in wide and narrow
            policies (Yang et al., arXiv 2203.03466, table 3: Adam on output weights).
        betas, eps, max_grad_norm: as the policy's.
    """

    def __init__(
        self,
        policy: PreTrainedModel,
        accelerator: Accelerator,
        *,
        learning_rate: float | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        max_grad_norm: float = 1.0,
    ):
        self.accelerator = accelerator
        self.scale = RewardScale(accelerator)
        self.max_grad_norm = max_grad_norm
        width = policy.config.get_text_config().hidden_size
        self.learning_rate = 1.0 / width if learning_rate is None else learning_rate
        self.head = nn.Linear(width, 1, device=accelerator.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(), lr=self.learning_rate, betas=betas, eps=eps, weight_decay=0.0
        )
        self._columns: int | None = None
        self._captured: list[torch.Tensor] = []
        _decoder(policy).register_forward_hook(self._capture)

    @contextmanager
    def capture_values(self, columns: int) -> Iterator[list[torch.Tensor]]:
        """Collect the values of every forward of the policy inside the block.

        Args:
            columns: T, the number of completion tokens, which come last.

        Yields:
            A list that each forward adds a (rows, T) tensor to: V before token t, so from the position before it.
        """
        self._columns, self._captured = columns, []
        try:
            yield self._captured
        finally:
            self._columns, self._captured = None, []

    def _capture(self, decoder: nn.Module, args: Any, output: Any) -> None:
        if self._columns is None:
            return
        hidden = output.last_hidden_state if hasattr(output, "last_hidden_state") else output[0]
        with torch.autocast(hidden.device.type, enabled=False):
            before = hidden[:, -self._columns - 1 : -1].to(self.head.weight)  # (rows, T, hidden), float32
            self._captured.append(self.head(nn.functional.rms_norm(before, before.shape[-1:])).squeeze(-1))

    def step(self, schedule: float) -> None:
        """One optimizer step on gradients averaged over the ranks.

        Args:
            schedule: the policy's current learning rate as a fraction of its first one, from 0 to 1.
        """
        parameters = list(self.head.parameters())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self.accelerator.reduce(torch.cat([g.flatten() for g in gradients]), reduction="mean")
        for parameter, gradient in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter)
        if self.max_grad_norm > 0:
            nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * schedule
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, folder: Path) -> None:
        """Write the head and the scale of its rewards into the policy's folder."""
        from safetensors.torch import save_file

        path = folder / VALUE_HEAD_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu() for name, tensor in self.head.state_dict().items()}
        save_file({**weights, "reward_moments": self.scale.moments}, path)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: the folder has no head, so another trainer wrote it.
            ValueError: the head belongs to a policy of another width, or the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = folder / VALUE_HEAD_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} has no {VALUE_HEAD_FILE}: only checkpoints of PPOTrainer can be resumed by it; to start PPO "
                "from another trainer's policy, pass that folder as the model instead"
            )
        try:
            weights = load_file(path)
            self.scale.moments = weights.pop("reward_moments")
            self.head.load_state_dict(weights)
        except (SafetensorError, RuntimeError, KeyError) as error:
            raise ValueError(f"{path} cannot be loaded: {error}") from error

    def save_optimizer(self, folder: Path) -> None:
        """Write the optimizer's state into `folder`."""
        path = folder / VALUE_OPTIMIZER_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(self.optimizer.state_dict(), path)

    def load_optimizer(self, folder: Path) -> None:
        """Read the optimizer's state, if the checkpoint was saved with optimizers."""
        path = folder / VALUE_OPTIMIZER_FILE
        if path.is_file():
            self.optimizer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _decoder(policy: PreTrainedModel) -> nn.Module:
    """The stack whose output the LM head reads, without adapters around it."""
    is_adapted = hasattr(policy, "get_base_model")  # peft's PeftModel, which need not be installed
    return (policy.get_base_model() if is_adapted else policy).base_model
