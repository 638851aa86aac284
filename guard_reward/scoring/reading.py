"""What a batch reads off logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["LOGITS_CHUNK", "log_probs_of", "padded"]

LOGITS_CHUNK = 256  # positions whose logits are held at once: 78 MB in bfloat16 for a vocabulary of 152k


def padded(token_ids: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Rows of token ids as one tensor, short rows filled up with their first id."""
    width = max(map(len, token_ids), default=0)
    return torch.tensor([[*row, *[row[0]] * (width - len(row))] for row in token_ids], dtype=torch.long, device=device)


def log_probs_of(logits: Tensor, watched: Tensor) -> Tensor:
    """Log-probabilities of each row's watched tokens, shape (n, watched), from logits, shape (n, vocabulary)."""
    logits = logits.float()
    return logits.gather(1, watched) - logits.logsumexp(dim=1, keepdim=True)
