"""How fast a generative guard can be scored: five ways, taking turns in one run on the same token ids.

    python benchmarks/scoring.py                                  # the 0.6B shape, what this machine has
    python benchmarks/scoring.py --json out.json --plot out.png   # keep the numbers, draw them
    python benchmarks/scoring.py --shape 4B --device cuda         # another shape, on a GPU
    python benchmarks/scoring.py --vllm-python ~/vllm/bin/python  # with vLLM, from an environment of its own

Variants:

- ``model_card``: the loop on Qwen3Guard's model card, one ``generate`` per conversation;
- ``batched_generate``: left-padded ``generate`` at the best of a few batch sizes;
- ``generic``: this library's engine through the model's own forward;
- ``fast``: its runner for Qwen3's shape, compiled unless ``--no-compile``;
- ``vllm``: vLLM with prefix caching, decoding the whole verdict.

The guard has random weights and gives chosen verdicts (`shaped_guard`); it takes as long as a trained guard of the same
shape. All variants must give the same verdicts, before they are timed and while they are timed. Needs torch,
transformers and psutil, no network; matplotlib for ``--plot``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # so that it runs from a checkout that is not installed

import torch  # noqa: E402
import transformers  # noqa: E402
from shaped_guard import END, INPUT_END, MARKER, SHAPES, encode, shaped_guard  # noqa: E402
from vllm_variant import VllmProcess  # noqa: E402

from guard_reward.guards.specs.qwen3guard import QWEN3GUARD  # noqa: E402
from guard_reward.models.precision import is_slow, warn_if_slow  # noqa: E402
from guard_reward.scoring import FastRunner, GenericRunner, ScoringEngine  # noqa: E402
from guard_reward.speed import (  # noqa: E402
    OutputMismatch,
    Roofline,
    Variant,
    batched_generate,
    compare_speeds,
    model_card,
    one_pass,
)

MIXES = {"all_safe": 0.0, "half_unsafe": 0.5, "all_unsafe": 1.0}
VARIANTS = ("model_card", "batched_generate", "generic", "fast", "vllm")
WORDS = range(6_000, 60_000)  # ids of ordinary words; the marker is not among them


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting that is measured."""

    mix: str
    completion_tokens: int
    group_size: int


class Work:
    """Rows of token ids: a preamble that all share, prompts that groups share, completions, the template's end.

    Args:
        options: of the command line.
        cell: the setting.
    """

    def __init__(self, options: argparse.Namespace, cell: Cell):
        self.options, self.cell = options, cell
        self.preamble = self._words(random.Random(0), options.preamble_tokens)
        self.end = [*self._words(random.Random(1), options.suffix_tokens - 1), INPUT_END]

    def __call__(self, number: int) -> list[list[int]]:
        """The rows of a round, new ones each round; ordered so that any first few are a fair sample."""
        rng = random.Random(f"{self.options.seed} {self.cell} {number}")
        prompts = [self._words(rng, self.options.prompt_tokens) for _ in range(self.options.prompts)]
        unsafe = MIXES[self.cell.mix]
        return [
            [
                *self.preamble,
                *prompts[place],
                *self._completion(rng, int((n + 1) * unsafe) > int(n * unsafe)),
                *self.end,
            ]
            for n, (_, place) in enumerate(itertools.product(range(self.cell.group_size), range(len(prompts))))
        ]

    def _completion(self, rng: random.Random, unsafe: bool) -> list[int]:
        tokens = self.cell.completion_tokens
        words = self._words(rng, rng.randint(tokens // 2, tokens * 3 // 2) if self.options.varied else tokens)
        if unsafe:
            words[len(words) // 2] = MARKER
        return words

    @staticmethod
    def _words(rng: random.Random, count: int) -> list[int]:
        return rng.choices(WORDS, k=count)


class Bench:
    """The guard and the ways to score it."""

    def __init__(self, options: argparse.Namespace, preamble: list[int]):
        self.options = options
        self.dtype = getattr(torch, options.dtype)
        self.device = torch.device(options.device)
        warn_if_slow("scoring.py", self.dtype, self.device)
        _say(f"building a guard of the {options.shape} shape, {options.dtype}, on {options.device}")
        self.model = shaped_guard(options.shape, dtype=self.dtype, device=self.device, layers=options.layers)
        self.grammar = QWEN3GUARD.grammar(encode, is_response=True)
        self.vllm: VllmProcess | None = None
        if "vllm" in options.variants:
            _say("starting vLLM")
            with tempfile.TemporaryDirectory() as folder:
                self.model.save_pretrained(folder)
                self.vllm = VllmProcess(options.vllm_python, Path(folder), options.dtype, END)
        self.engines = {
            name: ScoringEngine(self.model, [END], preambles=[preamble], runner=runner)
            for name, runner in (
                ("generic", GenericRunner(self.model)),
                ("fast", FastRunner(self.model, compile=options.compile)),
            )
            if name in options.variants
        }

    def variants(self, batch_size: int) -> list[Variant]:
        """The variants, in the order of the options."""
        return [self._variant(name, batch_size) for name in self.options.variants]

    def best_batch_size(self, rows: list[list[int]]) -> int:
        """The batch size of a few with which batched ``generate`` is fastest on such rows."""
        times = {}
        for size in self.options.batch_sizes:
            sample = (rows * size)[:size]
            started = time.perf_counter()
            batched_generate(self.model, sample, [END], size)
            times[size] = (time.perf_counter() - started) / size
            _say(f"batched generate, {size} rows: {times[size]:.2f} s per row")
        return min(times, key=times.__getitem__)

    def _variant(self, name: str, batch_size: int) -> Variant:
        if name == "model_card":
            return Variant(name, lambda rows: model_card(self.model, rows, [END]), self.options.model_card_rows)
        if name == "batched_generate":
            return Variant(name, lambda rows: batched_generate(self.model, rows, [END], batch_size), max(batch_size, 8))
        if name == "vllm":
            assert self.vllm is not None
            return Variant(name, self.vllm, is_elsewhere=True)
        engine = self.engines[name]

        def passes() -> float:
            return engine.usage.passes_per_verdict

        return Variant(name, lambda rows: one_pass(engine, rows, self.grammar), passes=passes)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns 1 if the variants disagree."""
    options = _options(arguments)
    torch.manual_seed(options.seed)
    cells = [Cell(*key) for key in itertools.product(options.mixes, options.completion_tokens, options.group_sizes)]
    bench = Bench(options, Work(options, cells[0]).preamble)
    try:
        return _run(options, cells, bench)
    finally:
        if bench.vllm is not None:
            bench.vllm.close()


def _run(options: argparse.Namespace, cells: list[Cell], bench: Bench) -> int:
    """Measure every setting and write the numbers after each."""
    roofline = Roofline.of(bench.model)
    _say(_machine(options))
    table: list[dict[str, Any]] = []
    batch_sizes: dict[int, int] = {}
    for cell in cells:
        _say(f"\n{cell.mix}, completions of {cell.completion_tokens} tokens, groups of {cell.group_size}")
        work = Work(options, cell)
        if "batched_generate" in options.variants and cell.completion_tokens not in batch_sizes:
            batch_sizes[cell.completion_tokens] = bench.best_batch_size(work(-2))
        for engine in bench.engines.values():
            engine.usage = type(engine.usage)()
        try:
            results = compare_speeds(
                bench.variants(batch_sizes.get(cell.completion_tokens, 1)),
                work,
                rounds=options.rounds,
                roofline=roofline,
                preamble=options.preamble_tokens,
                device=bench.device,
                dtype=bench.dtype,
            )
        except OutputMismatch as error:
            print(f"scoring.py: {error}", file=sys.stderr)
            return 1
        for result in results:
            table.append(
                {
                    "mix": cell.mix,
                    "completion_tokens": cell.completion_tokens,
                    "group_size": cell.group_size,
                    **result.numbers(results[0]),
                    "seconds_per_row": result.seconds_per_row,
                    "batch_size": batch_sizes.get(cell.completion_tokens) if "batched" in result.name else None,
                }
            )
            _print_row(table[-1])
        if options.json:  # after every setting, so that an interrupted run keeps what it has
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(table, indent=1) + "\n")
    if options.plot:
        _plot(table, options)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    has_gpu = torch.cuda.is_available()
    add("--shape", choices=SHAPES, default="0.6B", help="size of the guard (default: 0.6B)")
    add("--device", default="cuda" if has_gpu else "cpu", help="default: a GPU, else the CPU")
    add("--dtype", help="of the weights (default: bfloat16, or float32 on a CPU without instructions for it)")
    add("--variants", nargs="+", choices=VARIANTS, help="default: all but vllm; that too with --vllm-python")
    add("--mixes", nargs="+", choices=MIXES, default=list(MIXES), help="fractions of unsafe rows (default: all three)")
    add("--completion-tokens", nargs="+", type=int, default=[128, 512], metavar="N")
    add("--group-sizes", nargs="+", type=int, default=[8], metavar="G", help="completions per prompt (default: 8)")
    add("--prompts", type=int, default=64 if has_gpu else 2, help="prompts per round (default: %(default)s)")
    add("--prompt-tokens", type=int, default=60, metavar="N")
    add("--preamble-tokens", type=int, default=350, metavar="N", help="Qwen3Guard's template: 267 (default: 350)")
    add("--suffix-tokens", type=int, default=90, metavar="N", help="Qwen3Guard's template: 124 (default: 90)")
    add("--varied", action="store_true", help="completions of half to one and a half times --completion-tokens")
    add("--rounds", type=int, default=3)
    add("--model-card-rows", type=int, default=2, metavar="N", help="rows per round for the slowest (default: 2)")
    add("--batch-sizes", nargs="+", type=int, default=[16, 64, 256] if has_gpu else [4, 8, 16], metavar="N")
    add("--no-compile", dest="compile", action="store_false", help="the fast runner without torch.compile")
    add("--layers", type=int, help="fewer layers than the shape has: a trial of the benchmark itself")
    add("--vllm-python", type=Path, help="Python of an environment with vLLM")
    add("--seed", type=int, default=0)
    add("--json", type=Path, metavar="FILE", help="write the numbers here")
    add("--plot", type=Path, metavar="FILE", help="draw them here")
    options = parser.parse_args(arguments)
    if options.dtype is None:
        options.dtype = "float32" if is_slow(torch.bfloat16, torch.device(options.device)) else "bfloat16"
    if options.variants is None:
        options.variants = [name for name in VARIANTS if name != "vllm" or options.vllm_python]
    if "vllm" in options.variants and not options.vllm_python:
        parser.error("the variant vllm needs --vllm-python, the interpreter of an environment that has vLLM")
    if options.suffix_tokens < 1:
        parser.error("--suffix-tokens must be at least 1")
    options.variants = [name for name in VARIANTS if name in options.variants]
    return options


def _machine(options: argparse.Namespace) -> str:
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.processor() or "CPU"
    threads = torch.get_num_threads()
    return f"{device}, {threads} threads, torch {torch.__version__}, transformers {transformers.__version__}"


def _say(text: str) -> None:
    print(text, flush=True)


def _print_row(row: dict[str, Any]) -> None:
    ratio = "" if row["ratio_to_model_card"] is None else f"{row['ratio_to_model_card']:6.2f}x"
    passes = "" if row["passes_per_verdict"] is None else f"{row['passes_per_verdict']:5.2f} passes"
    memory = row["peak_memory_bytes"]
    gibibytes = "" if memory is None else f"{memory / 2**30:6.2f} GiB"
    _say(
        f"  {row['variant']:17} {row['rollouts_per_second']:8.2f} rollouts/s {ratio:8}"
        f"{row['floor_fraction']:6.2f} of the floor  {gibibytes:10}  {passes}"
    )


def _plot(table: list[dict[str, Any]], options: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    settings = list(dict.fromkeys((row["mix"], row["completion_tokens"], row["group_size"]) for row in table))
    figure, axes = pyplot.subplots(
        1, len(settings), figsize=(2.6 * len(settings) + 1, 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, setting in zip(axes[0], settings, strict=True):
        rows = [row for row in table if (row["mix"], row["completion_tokens"], row["group_size"]) == setting]
        colours = ["#2a6f97" if row["variant"] in ("generic", "fast") else "#adb5bd" for row in rows]
        bars = axis.bar(
            [row["variant"].replace("_", "\n") for row in rows], [row["rollouts_per_second"] for row in rows]
        )
        for bar, colour, row in zip(bars, colours, rows, strict=True):
            bar.set_color(colour)
            ratio = row["ratio_to_model_card"]
            label = f"{row['rollouts_per_second']:.2f}" if ratio is None else f"{ratio:.1f}×"
            axis.annotate(label, (bar.get_x() + bar.get_width() / 2, bar.get_height()), ha="center", va="bottom")
        axis.set_title(f"{setting[0]}\n{setting[1]} tokens, G = {setting[2]}", fontsize=9)
        axis.tick_params(axis="x", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("rollouts per second")
    figure.suptitle(f"{options.shape} shape, {options.dtype}, {_machine(options)}", fontsize=8)
    options.plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.plot, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
