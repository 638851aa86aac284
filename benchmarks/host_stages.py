"""One measurement of ``benchmarks/host.py``: prints one line of JSON, milliseconds per row of each stage.

Runs with the package of any commit on its path: a stage is a list of methods, and those that the commit does not have
are left out. A stage's time is that of its methods without what they call of other stages.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

STAGES = {
    "reading rows": ["rewards.base:BaseGuardReward._prepare", "models.chat_template:Prompter.normalize"],
    "typed marks": [
        *(f"guards.typed_marks:TypedMarks.{name}" for name in ("find", "quote", "parts", "readings")),
        "guards.inputs:InputEncoder._readings",
    ],
    "encoding": [f"models.chat_template:Prompter.{name}" for name in ("encode_turns", "encode_batch")],
    "planning": [
        "scoring.batching:BatchRunner.run",
        "guards.preparation:Preparation.__call__",
        "guards.preparation:Preparation._plan",
        *(f"scoring.engine:ScoringEngine.{name}" for name in ("plan", "_begin", "_draft", "_pass", "_plan_pass")),
    ],
    "verifying": [
        f"scoring.engine:ScoringEngine.{n}" for n in ("generate", "_generate", "_run", "_verify", "_continue")
    ],
    "verdicts": [
        "guards.transformers_guard:TransformersGuard._verdict",
        "guards.answer_reader:AnswerReader.read",
    ],
    "rewards and metrics": [f"rewards.base:BaseGuardReward.{name}" for name in ("_finish", "_finished", "_conclude")],
    "device": ["scoring.packing:PlannedPass.to"],
}
DEVICE = "device"


class Stopwatch:
    """Seconds of each stage, without those of the stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, measured as a part of `stage`."""

        @functools.wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            self._book()
            self._running.append(stage)
            try:
                return function(*arguments, **options)
            finally:
                self._book()
                self._running.pop()

        return measured

    def _book(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] = self.seconds.get(self._running[-1], 0.0) + now - self._since
        self._since = now


class ScriptedRunner:
    """Computes nothing: says at which depth of its row's draft each kept place is.

    Args:
        input_end: the token with which every input ends, and no guess.
    """

    name = "scripted"

    def __init__(self, input_end: int):
        self._input_end = input_end

    def forward(self, packed: Any, cache: Any) -> Any:
        """Depth of each place in its row's draft, shape (V,)."""
        import torch

        kept = packed.logits_to_keep
        positions, is_root = packed.positions[kept], packed.tokens[kept] == self._input_end
        root = torch.where(is_root, torch.arange(len(kept)), 0).cummax(0).values
        return positions - positions[root]

    def logits(self, output: Any) -> Any:
        raise AssertionError("no logits are computed")


def main() -> None:
    """Measure what the first argument, as JSON, asks for."""
    asked = json.loads(sys.argv[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked["cores"]])
    guard, script = _guard(asked["guard"])
    watch = Stopwatch()
    _script_the_device(guard, script, watch)
    prompts, completions, tokens = _rollouts(guard, asked)
    from guard_reward import GuardReward
    from guard_reward.schemes import SeverityTable

    reward = GuardReward(guard, SeverityTable())
    metrics: list[Any] = []
    arguments = {"prompts": prompts, "completions": completions, "log_metric": lambda *found: metrics.append(found)}
    reward(**arguments)  # warm-up
    reward(**arguments)
    raw = _raw_seconds(guard, prompts, completions)
    _wrap_stages(watch)
    watch.seconds.clear()
    gc.collect()
    started = time.perf_counter()
    rewards = reward(**arguments)
    total = time.perf_counter() - started
    assert set(rewards) == {rewards[0]} != {None}, "every row should have a safe verdict"
    seconds = {**watch.seconds, "rest": total - sum(watch.seconds.values())}
    device = seconds.pop(DEVICE)
    everything = total - device
    summary = {
        **{stage: seconds.get(stage, 0.0) for stage in (*STAGES, "rest") if stage != DEVICE},
        "all of the host": everything,
        "all but encoding": everything - seconds["encoding"],
        "raw tokenizer, batched": raw,
    }
    rows = len(prompts)
    print(json.dumps({**{stage: 1000 * value / rows for stage, value in summary.items()}, "tokens": tokens}))


def _guard(source: str) -> tuple[Any, list[int]]:
    """A guard with a real tokenizer and a model of one tiny layer, and the tokens of a safe verdict, its end too."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from guard_reward.guards import TransformersGuard
    from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
    from guard_reward.tiny import load_tiny_guard

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(source) if source else load_tiny_guard(device="cpu").tokenizer
    sizes = {"hidden_size": 8, "intermediate_size": 8, "head_dim": 8, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1}
    config = Qwen3Config(
        vocab_size=len(tokenizer), max_position_embeddings=32_768, eos_token_id=tokenizer.eos_token_id, **sizes, **heads
    )
    guard = TransformersGuard(Qwen3ForCausalLM(config), tokenizer, spec=QWEN3GUARD, token_budget=65_536)
    answer = tokenizer.encode("Safety: Safe\nCategories: None\nRefusal: No", add_special_tokens=False)
    return guard, [*answer, tokenizer.eos_token_id]


def _script_the_device(guard: Any, script: list[int], watch: Stopwatch) -> None:
    """Let every row be answered as `script` says, by a device that takes no time."""
    from guard_reward.scoring import engine as engine_module

    input_end = guard.encode([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])[-1]
    engine = guard.engine
    engine.runner = ScriptedRunner(input_end)
    engine._rounding = (32, 32)  # as on a GPU
    engine._compute_preambles = lambda preambles: [engine._kept.setdefault(index, {}) for index in preambles] and 0
    engine.runner.forward = watch.wrap(DEVICE, engine.runner.forward)
    last = len(script) - 1

    def read_rows(self: Any, rows: Any, output: Any) -> Iterator[Any]:  # up to 0.1.0
        depths = iter(output.tolist())
        for row in rows:
            argmax = [script[min(next(depths), last)] for _ in row.draft.states]
            decisions = enumerate(map(row.grammar.decision, row.draft.states))
            yield argmax, {node: [-1.0] * len(one.token_ids) for node, one in decisions if one is not None}

    def read_logits(runner: Any, output: Any, decisions: Any) -> Any:
        from guard_reward.scoring.reading import ReadLogits

        argmax = [script[min(depth, last)] for depth in output.tolist()]
        log_probs = {n: [-1.0] * len(one.token_ids) for n, one in enumerate(decisions) if one is not None}
        return ReadLogits(argmax, log_probs)

    if hasattr(engine_module, "read_logits"):
        engine_module.read_logits = watch.wrap(DEVICE, read_logits)
    else:
        # A generator's time is that of its consumer, so its rows are made at once.
        engine_module.ScoringEngine._read = watch.wrap(DEVICE, lambda *arguments: list(read_rows(*arguments)))
    _without_overlap()


def _without_overlap() -> None:
    """Stages one after the other."""
    try:
        module = importlib.import_module("guard_reward.guards.transformers_guard")
        if hasattr(module, "ahead"):
            module.ahead = iter
    except ImportError:  # pragma: no cover
        return


def _rollouts(guard: Any, asked: dict[str, Any]) -> tuple[list[Any], list[Any], float]:
    """Prompts and completions in groups, and the mean number of tokens of the guard's inputs."""
    rng = random.Random(0)
    syllables = ["ba", "con", "der", "est", "fur", "gen", "hol", "ing", "ka", "lum", "mer", "non", "or", "pre", "qui"]
    words = [first + second for first in syllables for second in syllables]
    words += 6 * ["the", "of", "and", "to", "in", "is", "that", "it", "for", "was", "on", "are", "as", "with", "they"]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count)).capitalize() + "."

    def tokens(prompt: str, answer: str) -> int:
        return len(guard.encode([{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]))

    frame = tokens("a", "b")
    per_word = (tokens("a", text(200)) - frame) / 200
    wanted = max(int((asked["tokens"] - frame) / per_word), 4)
    prompts, completions = [], []
    for _ in range(asked["rows"] // asked["group"]):
        prompt = text(max(wanted // 3, 1))
        for _ in range(asked["group"]):
            prompts.append([{"role": "user", "content": prompt}])
            completions.append([{"role": "assistant", "content": text(max(2 * wanted // 3, 1))}])
    sample = [tokens(p[0]["content"], c[0]["content"]) for p, c in list(zip(prompts, completions, strict=True))[:32]]
    return prompts, completions, sum(sample) / len(sample)


def _raw_seconds(guard: Any, prompts: list[Any], completions: list[Any]) -> float:
    """Seconds of one batched call of the tokenizer over the rendered texts: the best of three."""
    tokenizer = guard.tokenizer
    pairs = zip(prompts, completions, strict=True)
    texts = [tokenizer.apply_chat_template([*p, *c], tokenize=False) for p, c in pairs]
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        tokenizer(texts, add_special_tokens=False)
        best = min(best, time.perf_counter() - started)
    return best


def _wrap_stages(watch: Stopwatch) -> None:
    for stage, methods in STAGES.items():
        for path in methods:
            module, _, name = path.partition(":")
            owner, _, method = name.partition(".")
            try:
                found = getattr(importlib.import_module(f"guard_reward.{module}"), owner)
            except (ImportError, AttributeError):
                continue
            if method in vars(found):
                setattr(found, method, watch.wrap(stage, vars(found)[method]))


if __name__ == "__main__":
    main()
