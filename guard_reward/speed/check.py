"""How fast a user's guard is on the user's machine, and how fast it could be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from guard_reward.speed.compare import Variant, compare_speeds
from guard_reward.speed.roofline import Roofline, matmul_rate
from guard_reward.speed.variants import Rows, batched_generate, model_card, one_pass

if TYPE_CHECKING:
    from guard_reward.guards import TransformersGuard

__all__ = ["check_speed", "turns"]

_COMMON_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which "
    "one you were all her she there would their we him been has when who will no more if out so up said what its about "
    "than into them can only other time new some could these two may first then do any like my now over such our man"
)


def check_speed(
    guard: TransformersGuard,
    *,
    prompts: int = 2,
    group_size: int = 8,
    completion_tokens: int = 128,
    rounds: int = 2,
    batch_size: int = 8,
    on_step: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Compare the model card's loop, batched ``generate`` and this library's engine on made-up rollouts.

    Args:
        guard: a local guard.
        prompts: prompts per round.
        group_size: completions per prompt.
        completion_tokens: about how long they are.
        rounds: how often each variant runs.
        batch_size: of batched ``generate``.
        on_step: called with what happens next, before each of the `turns`.

    Returns:
        ``guard`` (its description), ``matmul_tflops`` (the device's rate), ``floor_rollouts_per_second`` (the
        most that any scorer can reach on this work) and ``variants``, a list of dictionaries like the benchmark's.

    Raises:
        OutputMismatch: the variants answer differently.

    Example:
        >>> from guard_reward import load_guard
        >>> guard = load_guard("Qwen/Qwen3Guard-Gen-0.6B", dtype="bfloat16")   # doctest: +SKIP
        >>> check_speed(guard)["variants"][-1]["ratio_to_model_card"]          # doctest: +SKIP
    """
    model, engine = guard.model, guard.engine
    work = _MadeUpWork(guard, prompts, group_size, completion_tokens)
    roofline, preamble = Roofline.of(model), _preamble_tokens(guard)
    results = compare_speeds(
        _variants(guard, batch_size),
        work,
        rounds=rounds,
        roofline=roofline,
        preamble=preamble,
        device=model.device,
        dtype=model.dtype,
        on_step=on_step,
    )
    rate = matmul_rate(model.device, model.dtype)
    sample = work(0)
    operations = roofline.operations(sample, one_pass(engine, sample, guard.response_grammar), preamble)
    return {
        "guard": guard.describe(),
        "matmul_tflops": rate / 1e12,
        "floor_rollouts_per_second": rate * len(sample) / operations,
        "variants": [
            {"completion_tokens": completion_tokens, "group_size": group_size, **result.numbers(results[0])}
            for result in results
        ],
    }


def turns(rounds: int) -> int:
    """How many turns the three variants take in so many rounds and the warm-up."""
    return 3 * (rounds + 1)


@dataclass(frozen=True)
class _MadeUpWork:
    """Rollouts of common words: round → token ids, groups of completions that share their prompt."""

    guard: TransformersGuard
    prompts: int
    group_size: int
    completion_tokens: int

    def __call__(self, number: int) -> Rows:
        rng = Random(f"speed {number}")
        prompts = [_text(self.guard, rng, 40) for _ in range(self.prompts)]
        return [
            self.guard.encode(
                [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": _text(self.guard, rng, self.completion_tokens)},
                ]
            )
            for _ in range(self.group_size)
            for prompt in prompts
        ]


def _variants(guard: TransformersGuard, batch_size: int) -> list[Variant]:
    model, engine, before = guard.model, guard.engine, guard.usage
    ends = sorted(engine.end_token_ids)
    return [
        Variant("model_card", lambda rows: model_card(model, rows, ends), most_rows=2),
        Variant("batched_generate", lambda rows: batched_generate(model, rows, ends, batch_size), batch_size),
        Variant(
            engine.runner.name,
            lambda rows: one_pass(engine, rows, guard.response_grammar),
            passes=lambda: guard.usage.since(before).passes_per_verdict,
        ),
    ]


def _preamble_tokens(guard: TransformersGuard) -> int:
    """Tokens with which all inputs of the guard begin."""
    probe = guard.encode([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    return max((len(p) for p in guard.engine.preambles if probe[: len(p)] == p), default=0)


def _text(guard: TransformersGuard, rng: Random, tokens: int) -> str:
    """Common words, about `tokens` tokens."""
    text = " ".join(rng.choices(_COMMON_WORDS.split(), k=tokens))
    ids = guard.tokenizer.encode(text, add_special_tokens=False)[:tokens]
    return str(guard.tokenizer.decode(ids))
