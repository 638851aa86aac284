"""Same seed, same numbers: a context for everything random in the tiny world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["THREADS", "reproducible"]

THREADS = 2
"""CPU threads of every computation here: sums are split by thread, so another number gives other last digits."""


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch, fix the threads, ask for deterministic kernels; afterwards all is as before."""
    import random

    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        torch.set_num_threads(THREADS)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.set_num_threads(threads)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
