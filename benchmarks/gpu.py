"""What a machine with one GPU does with this library: one command, one table, no network, no checkpoint.

    python benchmarks/gpu.py --out runs/gpu                              # everything that fits into 24 minutes
    python benchmarks/gpu.py --quick                                     # two guards, one length: 5.5 minutes
    python benchmarks/gpu.py --vllm-python ~/vllm/bin/python             # with vLLM, from an environment of its own
    python benchmarks/gpu.py --shapes 4B --parts speed idle              # some of it
    python benchmarks/gpu.py --device cpu --shapes tiny --skip speed     # a trial of the benchmark itself

Parts:

- ``exactness``: the engine's answers in float32 equal those of greedy ``generate``; how often bfloat16 flips a verdict
  or a token, in the engine and in ``generate``;
- ``trained``: the same with the trained tiny guard of the package;
- ``sleep``: seconds and GB/s of ``guard.sleep()`` and ``guard.wake()``;
- ``idle``: how long the GPU waits for the host in a whole ``guard.moderate``;
- ``grpo``, ``ppo``: three steps of TRL's ``GRPOTrainer`` and of ``PPOTrainer``, and the guard's share of a step;
- ``speed``: the engine's two runners, the model card's loop, batched ``generate`` and vLLM, with their fraction of the
  roofline, MFU and peak memory.

The guards have the shapes of Qwen3-0.6B, 4B and 8B and random weights, and give chosen verdicts (`shaped_guard`).
``report.md`` and ``results.json`` are written after every setting. Ends with 1 if a float32 answer is not the one of
``generate``.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # so that it runs from a checkout that is not installed

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched; before anything imports a library that reads it

import torch  # noqa: E402
import transformers  # noqa: E402
from gpu_parts.bench import Bench, Clock, say  # noqa: E402
from gpu_parts.registry import PARTS, Part, run_parts  # noqa: E402
from gpu_parts.rows import Report  # noqa: E402
from shaped_guard import SHAPES  # noqa: E402

from guard_reward.models.precision import is_slow  # noqa: E402

MINUTES, QUICK_MINUTES = 24.0, 5.5
# Option → its value on a GPU, in a quick run on a GPU, and on a CPU, where only a trial makes sense.
DEFAULTS: dict[str, tuple[Any, Any, Any]] = {
    "shapes": (["0.6B", "4B", "8B"], ["0.6B", "4B"], ["0.6B"]),
    "completions": ([128, 512, 2048], [512], [128]),
    "groups": ([8, 16], [8], [8]),
    "rounds": (2, 2, 1),
    "round_tokens": (65_536, 65_536, 2_048),
    "batch_sizes": ([16, 64], [32], [4]),
    "model_card_rows": (4, 2, 2),
    "exactness_rows": (24, 8, 4),
    "trained_rows": (200, 50, 20),
    "policy_shape": ("0.6B", "0.6B", "tiny"),
    "policy_tokens": (256, 128, 16),
    "step_rollouts": (64, 64, 16),
}


def main(arguments: Sequence[str] | None = None, parts: Sequence[Part] = PARTS) -> int:
    """Run the parts and print the table; returns 1 if a float32 answer is not the one of ``generate``."""
    options = parse(arguments)
    warnings.filterwarnings("ignore", module="torch|transformers|trl|accelerate")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    clock = Clock(options.limit_minutes)
    bench = Bench(options, clock)
    report = Report(bench.machine(), {name: str(value) for name, value in vars(options).items()})
    chosen = [part for part in parts if part.name in options.parts and part.name not in options.skip]
    try:
        run_parts(bench, chosen, report, options.out)
    finally:
        bench.release()
    print(report.markdown())
    say(f"written: {options.out / 'report.md'}, {options.out / 'results.json'}")
    return 0 if all(row.numbers.get("equal", True) for row in report.rows) else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; those that are not given depend on the device and on ``--quick``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    _add_options(parser)
    options = parser.parse_args(arguments)
    is_cpu = torch.device(options.device).type == "cpu"
    for name, values in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, values[2 if is_cpu else 1 if options.quick else 0])
    if options.limit_minutes is None:
        options.limit_minutes = QUICK_MINUTES if options.quick else MINUTES
    if options.dtype is None:
        options.dtype = "float32" if is_slow(torch.bfloat16, torch.device(options.device)) else "bfloat16"
    if options.step_rollouts % options.groups[0]:
        parser.error("--step-rollouts must be a multiple of the first of --groups")
    return options


def _add_options(parser: argparse.ArgumentParser) -> None:
    names = [part.name for part in PARTS]
    has_gpu = torch.cuda.is_available()
    add = parser.add_argument
    add("--device", default="cuda" if has_gpu else "cpu", help="default: the GPU, else the CPU")
    add("--dtype", help="of the guard (default: bfloat16, or float32 on a CPU without instructions for it)")
    add("--parts", nargs="+", choices=names, default=names, help="default: all")
    add("--skip", nargs="+", choices=names, default=[], help="parts to leave out")
    add("--shapes", nargs="+", choices=SHAPES, help="of the guards (default: 0.6B 4B 8B)")
    add("--layers", type=int, help="fewer layers than the shapes have: a trial of the benchmark itself")
    add("--completions", nargs="+", type=int, metavar="N", help="tokens of a completion (default: 128 512 2048)")
    add("--groups", nargs="+", type=int, metavar="G", help="completions per prompt (default: 8 16)")
    add("--quick", action="store_true", help="two guards, one length, one group size, within 5.5 minutes")
    add(
        "--limit-minutes",
        type=float,
        metavar="M",
        help="the rest is reported as not run (default: 24; quick: 5.5)",
    )
    add("--out", type=Path, default=Path("runs/gpu"), metavar="DIR", help="for the report (default: runs/gpu)")
    add("--vllm-python", type=Path, help="Python of an environment with vLLM")
    add("--no-compile", dest="compile", action="store_false", default=has_gpu, help="the guard without torch.compile")
    add("--rounds", type=int, help="how often each variant takes its turn (default: 2)")
    add("--round-tokens", type=int, metavar="N", help="completion tokens per round (default: 65536)")
    add("--batch-sizes", nargs="+", type=int, metavar="N", help="of batched generate; the fastest is measured")
    add("--model-card-rows", type=int, metavar="N", help="rows per round for the slowest (default: 4)")
    add("--exactness-rows", type=int, metavar="N", help="rows per guard (default: 24)")
    add("--trained-rows", type=int, metavar="N", help="conversations of the tiny world (default: 200)")
    add("--policy-shape", choices=SHAPES, help="of the policy that is trained (default: 0.6B)")
    add("--policy-tokens", type=int, metavar="N", help="tokens of its completions (default: 256)")
    add("--step-rollouts", type=int, metavar="N", help="rollouts per training step (default: 64)")
    add("--micro-batch", type=int, default=16, metavar="N", help="rollouts per backward pass (default: 16)")


if __name__ == "__main__":
    sys.exit(main())
