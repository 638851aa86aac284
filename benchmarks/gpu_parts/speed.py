"""How fast rows of token ids are scored: the variants of ``benchmarks/scoring.py`` take turns on the same rows."""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scoring import Cell, Work
from shaped_guard import END, encode
from vllm_variant import VllmProcess

from gpu_parts.bench import Bench, say
from gpu_parts.measures import mfu
from gpu_parts.rows import Row
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.scoring import FastRunner, GenericRunner, ScoringEngine
from guard_reward.speed import Result, Roofline, Variant, batched_generate, compare_speeds, model_card, one_pass

PREAMBLE_TOKENS, PROMPT_TOKENS, SUFFIX_TOKENS = 267, 60, 124  # of Qwen3Guard's template, around a prompt of 60 tokens
VLLM_START_SECONDS, VLLM_ANSWER_SECONDS = 300, 120


class _Setting(Cell):
    """A setting that reads well in the table."""

    def __str__(self) -> str:
        return f"{self.completion_tokens} tokens, G = {self.group_size}, {self.mix.replace('_', ' ')}"


def settings(options: argparse.Namespace, shape: str) -> list[Any]:
    """Completions × groups × mixes; verdicts of both kinds first."""
    mixes = ("half_unsafe", "all_safe")
    products = itertools.product(mixes, options.completions, options.groups)
    return [_Setting(mix, tokens, group_size) for mix, tokens, group_size in products]


def measure(bench: Bench, shape: str, setting: Any) -> Iterator[Row]:
    """One row per variant; variants that could not be started have a row with the reason, once per shape."""
    contest = bench.keep("contest", lambda: _Contest(bench, shape))
    about = {"part": "speed", "shape": shape}
    for variant, (status, reason) in contest.absent.items():
        yield Row(**about, setting="start", variant=variant, status=status, result=reason)
    work = _work(bench.options, setting)
    variants = contest.variants(work, setting.completion_tokens)
    results = compare_speeds(
        variants,
        work,
        rounds=bench.options.rounds,
        roofline=contest.roofline,
        preamble=PREAMBLE_TOKENS,
        device=bench.device,
        dtype=bench.dtype,
        rate=bench.rate,
        on_step=lambda step: say(f"  {step}"),
    )
    for result in results:
        yield _row(bench, about, setting, result, results[0], contest.batch_sizes.get(setting.completion_tokens))


def _row(bench: Bench, about: dict[str, str], setting: Cell, result: Result, base: Result, batch: int | None) -> Row:
    numbers = result.numbers(base)
    fraction = numbers["floor_fraction"]
    is_batched = result.name == "batched_generate"
    return Row(
        **about,
        setting=str(setting),
        variant=result.name,
        rollouts_per_second=numbers["rollouts_per_second"],
        ratio_to_model_card=numbers["ratio_to_model_card"],
        roofline_fraction=fraction,
        mfu=mfu(fraction * bench.rate, 1.0, bench.peak),
        peak_memory_bytes=numbers["peak_memory_bytes"],
        passes_per_verdict=numbers["passes_per_verdict"],
        result=f"batches of {batch}" if is_batched else "",
        numbers={"seconds_per_row": result.seconds_per_row, "batch_size": batch if is_batched else None},
    )


def _work(options: argparse.Namespace, cell: Cell) -> Work:
    """Rounds of about as many tokens, whatever the setting."""
    prompts = max(1, options.round_tokens // (cell.group_size * cell.completion_tokens))
    sizes = argparse.Namespace(
        preamble_tokens=PREAMBLE_TOKENS,
        prompt_tokens=PROMPT_TOKENS,
        suffix_tokens=SUFFIX_TOKENS,
        prompts=prompts,
        varied=False,
        seed=0,
    )
    return Work(sizes, cell)


class _Contest:
    """The variants for one guard.

    Attributes:
        roofline: of the guard.
        absent: variant → why it takes no part: status and reason.
        batch_sizes: tokens of a completion → the fastest batch of batched ``generate``.
    """

    def __init__(self, bench: Bench, shape: str):
        self.bench, self.model = bench, bench.model(shape)
        self.roofline = Roofline.of(self.model)
        self.grammar = QWEN3GUARD.grammar(encode, is_response=True)
        self.absent: dict[str, tuple[str, str]] = {}
        self.batch_sizes: dict[int, int] = {}
        self._work = _work(bench.options, _Setting("half_unsafe", 32, 2))
        self._vllm = self._started("vllm", self._start_vllm)
        compile = bench.options.compile
        self._engines = {
            "generic": self._started("generic", lambda: self._engine(GenericRunner(self.model))),
            "fast": self._started("fast", lambda: self._engine(FastRunner(self.model, compile=compile))),
        }
        if compile and self._engines["fast"] is None:
            without = self._started("fast, not compiled", lambda: self._engine(FastRunner(self.model)))
            self._engines["fast, not compiled"] = without

    def close(self) -> None:
        """End vLLM."""
        if self._vllm is not None:
            self._vllm.close()

    def variants(self, work: Work, completion_tokens: int) -> list[Variant]:
        """Those that take part, the model card's loop first."""
        model, options = self.model, self.bench.options
        found = [Variant("model_card", lambda rows: model_card(model, rows, [END]), options.model_card_rows)]
        size = self._batch_size(work(-2), completion_tokens)
        if size is not None:
            batched = Variant("batched_generate", lambda rows: batched_generate(model, rows, [END], size), size)
            found.append(batched)
        for name, engine in self._engines.items():
            if engine is not None:
                engine.usage = type(engine.usage)()
                found.append(self._variant(name, engine))
        if self._vllm is not None:
            found.append(Variant("vllm", self._vllm, is_elsewhere=True))
        return found

    def _variant(self, name: str, engine: ScoringEngine) -> Variant:
        return Variant(
            name,
            lambda rows: one_pass(engine, rows, self.grammar),
            passes=lambda: engine.usage.passes_per_verdict,
        )

    def _started(self, name: str, start: Callable[[], Any]) -> Any:
        """What `start` returns; None, with the reason in `absent`, if it fails."""
        say(f"  starting {name}")
        try:
            return start()
        except Exception as error:  # the other variants are still worth measuring
            self.absent[name] = ("failed", f"{type(error).__name__}: {str(error).strip()[:300]}")
            return None

    def _engine(self, runner: Any) -> ScoringEngine:
        engine = ScoringEngine(self.model, [END], preambles=[self._work.preamble], runner=runner)
        one_pass(engine, self._work(0)[:4], self.grammar)
        return engine

    def _start_vllm(self) -> VllmProcess | None:
        python = self.bench.options.vllm_python
        if python is None:
            self.absent["vllm"] = ("not run", "no --vllm-python")
            return None
        deadline = max(1.0, min(VLLM_START_SECONDS, self.bench.clock.left))
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(folder)
            process = VllmProcess(python, Path(folder), self.bench.options.dtype, END, deadline=deadline)
        process.deadline = VLLM_ANSWER_SECONDS
        return process

    def _batch_size(self, rows: list[list[int]], completion_tokens: int) -> int | None:
        """The batch size of a few with which batched ``generate`` is fastest; None if none fits into memory."""
        times: dict[int, float] = {}
        if completion_tokens in self.batch_sizes:
            return self.batch_sizes[completion_tokens]
        for size in self.bench.options.batch_sizes:
            started = time.perf_counter()
            sample = (rows * size)[:size]
            if self._started(f"batched_generate of {size}", lambda n=size, r=sample: self._generate(r, n)) is not None:
                times[size] = (time.perf_counter() - started) / size
        if not times:
            return None
        self.batch_sizes[completion_tokens] = min(times, key=times.__getitem__)
        return self.batch_sizes[completion_tokens]

    def _generate(self, rows: list[list[int]], size: int) -> list[list[int]]:
        return batched_generate(self.model, rows, [END], size)
