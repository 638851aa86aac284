"""From scores and values to advantages: per-token rewards, GAE(γ, λ), whitening. Plain tensors; no trainer, no model.

B rows, T completion tokens. `mask` is 1 where the policy wrote the token: 0 for padding, and for what a tool put
between its tokens. An episode is a row's masked tokens in order; whatever lies between two of them is skipped. It ends
with the last one, whether that is an end token or the length limit, because the score is given there in both cases.
"""

from __future__ import annotations

import torch

__all__ = ["explained_variance", "generalized_advantages", "token_rewards", "variance", "whiten"]


def token_rewards(scores: torch.Tensor, kl: torch.Tensor | None, mask: torch.Tensor, beta: float) -> torch.Tensor:
    """The reward of every token: minus the KL penalty on each, plus the score on the last.

        r_t = -β (log π(a_t) - log π_ref(a_t)) + [t is the last] · score

    The per-token penalty of Ziegler et al. (arXiv 1909.08593, equation 2) and InstructGPT (arXiv 2203.02155).

    Args:
        scores: (B,) what the reward functions gave.
        kl: (B, T) log-ratio of policy and reference for the sampled tokens; None without a reference.
        mask: (B, T).
        beta: the penalty's weight.

    Returns:
        (B, T), 0 where `mask` is.

    >>> token_rewards(torch.tensor([2.0]), torch.tensor([[1.0, 1.0, 9.0]]), torch.tensor([[1, 1, 0]]), beta=0.1)
    tensor([[-0.1000,  1.9000,  0.0000]])
    """
    mask = mask.float()
    rewards = torch.zeros_like(mask) if kl is None else -beta * kl * mask
    is_last = (mask.flip(1).cumsum(1).flip(1) == 1) & (mask == 1)
    return rewards + is_last * scores.unsqueeze(1)


def generalized_advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalized advantage estimation (Schulman et al., arXiv 1506.02438, equation 16), and the returns.

        δ_t = r_t + γ V(s_{t+1}) - V(s_t),   A_t = δ_t + γ λ A_{t+1},   R_t = A_t + V(s_t)

    with V = A = 0 beyond the last token.

    Args:
        rewards, values, mask: (B, T).
        gamma: discount of future rewards.
        lam: λ; 0 trusts the critic for everything beyond one step, 1 for nothing.

    Returns:
        Advantages and returns, each (B, T), 0 where `mask` is.

    >>> rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.25]])
    >>> generalized_advantages(rewards, values, torch.tensor([[1, 1]]), gamma=1.0, lam=1.0)
    (tensor([[0.5000, 0.7500]]), tensor([[1., 1.]]))
    """
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.size(1))):
        own = mask[:, t].bool()
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * lam * next_advantage
        advantages[:, t] = torch.where(own, advantage, 0.0)
        next_advantage = torch.where(own, advantage, next_advantage)
        next_value = torch.where(own, values[:, t], next_value)
    return advantages, (advantages + values) * mask


def whiten(x: torch.Tensor, mask: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
    """`x` (B, T) shifted and scaled to mean 0 and variance 1 over the masked tokens; 0 elsewhere.

    Args:
        moments: (3,) count, sum and sum of squares over the masked tokens, added up over all ranks.
    """
    count, total, _ = moments.tolist()
    # Inside the root: where all advantages are equal, what rounding leaves of their differences must not be blown up.
    return (x - total / max(count, 1.0)) / (variance(moments) + 1e-8) ** 0.5 * mask


def variance(moments: torch.Tensor) -> float:
    """The variance that belongs to moments (3,): count, sum and sum of squares; 0 without a count."""
    count, total, squares = moments.double().tolist()
    return max(squares / count - (total / count) ** 2, 0.0) if count else 0.0


def explained_variance(returns: torch.Tensor, errors: torch.Tensor) -> float:
    """1 - Var(R - V) / Var(R): 1 for a perfect critic, 0 for one that knows only the mean; NaN if R never varies.

    Args:
        returns, errors: (3,) moments (count, sum, sum of squares) of the returns R and of R - V.
    """
    spread = variance(returns)
    return 1.0 - variance(errors) / spread if spread > 1e-12 else float("nan")
