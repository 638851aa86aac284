"""One checkout's engine as a child process: scores random rows with a guard of random weights, once per line of input.

Run by ``benchmarks/malformed.py``, with the checkout in ``PYTHONPATH``; speaks JSON lines.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Round", "Setting", "Worker"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is scored.

    Attributes:
        guard: ``tiny``, or a key of `shaped_guard.SHAPES`.
        layers: of a shape; it has more, but all layers take the same time.
        rows: in one batch.
        tokens: of each row.
        new_tokens: of each answer.
        threads: of torch; None for its own choice.
    """

    guard: str
    layers: int
    rows: int
    tokens: int
    new_tokens: int = 128
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round gave.

    Attributes:
        seconds: for the whole batch.
        answers: token ids, row by row.
        passes: summed over the rows.
    """

    seconds: float
    answers: list[list[int]]
    passes: int


class Worker:
    """Scores with the package of one checkout.

    Args:
        checkout: folder that has ``guard_reward``.
        setting: what is scored.
    """

    def __init__(self, checkout: Path, setting: Setting):
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(dataclasses.asdict(setting))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        )
        self(-1)  # builds the guard, and computes once what is computed once

    def __call__(self, number: int) -> Round:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("round "):  # other things may be printed
                return Round(**json.loads(line.removeprefix("round ")))
        raise RuntimeError(f"the worker ended with exit status {self._process.wait()}")

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def _guard(setting: Setting) -> tuple[Any, Any]:
    """A model with random weights, and the grammar that its answers do not follow."""
    import torch

    if setting.guard == "tiny":
        from guard_reward.tiny import load_tiny_guard

        trained = load_tiny_guard(device="cpu")
        torch.manual_seed(0)
        return type(trained.model)(trained.model.config).float().eval(), trained.response_grammar
    from shaped_guard import encode, shaped_guard

    from guard_reward.guards.specs.qwen3guard import QWEN3GUARD

    model = shaped_guard(setting.guard, dtype=torch.float32, layers=setting.layers)
    torch.manual_seed(0)
    with torch.no_grad():
        model.get_output_embeddings().weight.normal_(std=0.02)
    return model, QWEN3GUARD.grammar(encode, is_response=True)


def _serve(setting: Setting) -> None:
    import torch

    from guard_reward.scoring import ScoringEngine

    if setting.threads:
        torch.set_num_threads(setting.threads)
    model, grammar = _guard(setting)
    engine = ScoringEngine(model, (), setting.new_tokens)  # without an end token all answers are as long as they may be
    for line in sys.stdin:
        rng = random.Random(line)
        words = range(model.config.vocab_size)
        rows = [rng.choices(words, k=setting.tokens) for _ in range(setting.rows)]
        started = time.perf_counter()
        found = engine.generate(rows, [grammar] * len(rows))
        seconds = time.perf_counter() - started
        answers, passes = [one.token_ids for one in found], sum(one.passes for one in found)
        print("round", json.dumps(dataclasses.asdict(Round(seconds, answers, passes))), flush=True)


if __name__ == "__main__":
    _serve(Setting(**json.loads(sys.argv[1])))
