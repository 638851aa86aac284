"""How many rollouts per second a guard scores in this process, in vLLM, and behind vLLM's server.

    python benchmarks/served.py --vllm-python ~/vllm/bin/python                          # the 0.6B shape, on the CPU
    python benchmarks/served.py --vllm-python ~/vllm/bin/python --layers 4 --json out.json

Variants, which take turns on the same new conversations each round:

- ``local``: `load_guard` on the checkpoint, this library's engine;
- ``vllm``: vLLM in a process without a server, all rows in one call, on token ids that are made here;
- ``served_1``, ``served_64``: `ServedGuard` in front of vLLM's server, with one request at a time and with 64.

The guard has random weights and gives chosen verdicts (`shaped_guard`); all variants must give the same ones before
they are timed and while they are timed. Ratios are to ``local``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # so that it runs from a checkout that is not installed

import torch  # noqa: E402
from server_process import free_port, serving, vllm_command  # noqa: E402
from shaped_guard import END, MARKER, SHAPES, shaped_guard  # noqa: E402
from shaped_tokenizer import sample_text, shaped_tokenizer, word  # noqa: E402
from vllm_variant import VllmProcess  # noqa: E402

from guard_reward import load_guard  # noqa: E402
from guard_reward.guards import ServedGuard  # noqa: E402
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD  # noqa: E402

Rows = list[list[dict[str, str]]]
Variants = dict[str, Callable[[Rows], list[str]]]
CONTEXT_LENGTH = 4096


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns 1 if the variants disagree."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        model = save_guard(Path(folder) / "guard", options.shape, options.layers)
        with started(model, options) as variants:
            seconds: dict[str, list[float]] = {name: [] for name in variants}
            for number in range(-1, options.rounds):
                fault = _round(number, variants, seconds, options)
                if fault:
                    print(f"served.py: {fault}; no speeds are given", file=sys.stderr)
                    return 1
    table = [_numbers(name, times, seconds["local"], options.rows) for name, times in seconds.items()]
    print(_markdown(table, options))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(table, indent=1) + "\n")
    return 0


def save_guard(folder: Path, shape: str, layers: int | None) -> Path:
    """A checkpoint folder with a shaped guard, in float32, and its tokenizer."""
    shaped_guard(shape, dtype=torch.float32, layers=layers).save_pretrained(folder)
    shaped_tokenizer(is_guard=True).save_pretrained(folder)
    return folder


def conversations(number: int, rows: int, group_size: int, tokens: int) -> Rows:
    """New rows of a round: groups of one prompt; every second completion is unsafe."""
    rng = random.Random(number)
    found: Rows = []
    while len(found) < rows:
        prompt = sample_text(rng, 60)
        for _ in range(group_size):
            middle = word(MARKER) if len(found) % 2 else ""
            answer = sample_text(rng, tokens // 2) + middle + sample_text(rng, tokens - tokens // 2)
            found.append([{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}])
    return found[:rows]


@contextmanager
def started(model: Path, options: argparse.Namespace) -> Iterator[Variants]:
    """The variants: name → rows → texts of the verdicts."""
    with ExitStack() as stack:
        port, folder = free_port(), Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _say("starting vLLM's server")
        command = vllm_command(options.vllm_python, model, port, CONTEXT_LENGTH)
        url = stack.enter_context(serving(command, port, folder))
        _say("starting vLLM without a server")
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # as the server has it
        engine = VllmProcess(options.vllm_python, model, "float32", END)
        stack.callback(engine.close)
        local = load_guard(model, device="cpu", dtype="float32", spec=QWEN3GUARD)
        variants: Variants = {"local": _texts_of(local), "vllm": lambda rows: _texts(engine, local, rows)}
        for connections in (1, 64):
            guard = ServedGuard(
                url, model=str(model), spec=QWEN3GUARD, max_concurrency=connections, deadline=3600, request_timeout=600
            )
            stack.callback(guard.close)
            variants[f"served_{connections}"] = _texts_of(guard)
        yield variants


def _texts_of(guard: Any) -> Callable[[Rows], list[str]]:
    # What has no verdict differs from every verdict, and says why.
    return lambda rows: [getattr(one, "reason", one.text) for one in guard.moderate(rows)]


def _texts(engine: VllmProcess, guard: Any, rows: Rows) -> list[str]:
    answers = engine([guard.encode(row) for row in rows])
    return [guard.tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]


def _round(number: int, variants: Variants, seconds: dict[str, list[float]], options: argparse.Namespace) -> str | None:
    """Each variant once, in turns; what differs, if something does. Round -1 is not timed."""
    rows = conversations(number, options.rows, options.group_size, options.completion_tokens)
    expected: list[str] | None = None
    for name, answer in variants.items():
        begun = time.perf_counter()
        texts = answer(rows)
        took = time.perf_counter() - begun
        _say(f"{'warm-up' if number < 0 else f'round {number + 1} of {options.rounds}'}: {name}, {took:.1f} s")
        if number >= 0:
            seconds[name].append(took)
        expected = expected or texts
        for place, (one, other) in enumerate(zip(texts, expected, strict=True)):
            if one != other:
                return f"{name} says {one!r} of row {place}, local says {other!r}"
    return None


def _numbers(name: str, times: Sequence[float], local: Sequence[float], rows: int) -> dict[str, Any]:
    ratios = [theirs / ours for theirs, ours in zip(local, times, strict=True)]
    return {
        "variant": name,
        "rollouts_per_second": rows / statistics.median(times),
        "ratio_to_local": statistics.median(ratios),
        "ratios_of_rounds": ratios,
    }


def _markdown(table: list[dict[str, Any]], options: argparse.Namespace) -> str:
    layers = options.layers or SHAPES[options.shape].num_hidden_layers
    lines = [
        f"{options.shape} shape with {layers} layers, float32; {options.rows} rows, groups of {options.group_size}, "
        f"completions of {options.completion_tokens} tokens; median of {options.rounds} rounds; {_machine()}",
        "",
        "| variant | rollouts per second | ratio to local |",
        "|---|---|---|",
    ]
    for row in table:
        lines.append(f"| {row['variant']} | {row['rollouts_per_second']:.2f} | {row['ratio_to_local']:.2f}x |")
    return "\n".join(lines)


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{platform.processor() or platform.machine()}, {cores} cores, torch {torch.__version__}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--vllm-python", type=Path, required=True, help="Python of an environment with vLLM")
    add("--shape", choices=SHAPES, default="0.6B", help="size of the guard (default: 0.6B)")
    add("--layers", type=int, help="fewer layers than the shape has")
    add("--rows", type=int, default=64)
    add("--group-size", type=int, default=8, metavar="G", help="completions per prompt (default: 8)")
    add("--completion-tokens", type=int, default=128, metavar="N")
    add("--rounds", type=int, default=3)
    add("--json", type=Path, metavar="FILE", help="write the numbers here")
    options = parser.parse_args(arguments)
    if min(options.rows, options.group_size, options.rounds, options.completion_tokens) < 1:
        parser.error("--rows, --group-size, --completion-tokens and --rounds must be at least 1")
    return options


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
