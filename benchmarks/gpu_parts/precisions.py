"""The same rows through ``generate`` and through the engine, in float32 and in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gpu_parts.bench import cast, say
from gpu_parts.rows import Row
from guard_reward.models.precision import is_slow
from guard_reward.scoring import FastRunner, GenericRunner, Grammar, ScoringEngine
from guard_reward.speed import model_card, one_pass

__all__ = ["TIE", "Case", "Flips", "compare_precisions", "flips"]

TIE = 1e-4  # two float32 logits that are nearer than this are a tie, which `generate` itself breaks by batch size
Answers = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Case:
    """What is compared.

    Attributes:
        part, shape, setting: for the table.
        model: a causal LM; its weights are bfloat16 numbers, in any dtype.
        rows: token ids.
        grammar: of the answers.
        ends: ids that end an answer.
        verdict: answer → its verdict; None if the answers are no verdicts.
    """

    part: str
    shape: str
    setting: str
    model: Any
    rows: Answers
    grammar: Grammar
    ends: Sequence[int]
    verdict: Callable[[Sequence[int]], Any] | None

    def row(self, variant: str, **fields: Any) -> Row:
        """A row of the table."""
        return Row(part=self.part, shape=self.shape, setting=self.setting, variant=variant, **fields)


@dataclass(frozen=True, slots=True)
class Flips:
    """How two lists of answers differ.

    Attributes:
        rows: answers compared.
        differing: indices of answers that differ.
        tokens: compared, of each answer up to and with its first difference: behind it the contexts differ.
        verdicts: answers whose verdicts differ; None if they are no verdicts.
    """

    rows: int
    differing: tuple[int, ...]
    tokens: int
    verdicts: int | None

    @property
    def token_rate(self) -> float:
        """First differences per compared token."""
        return len(self.differing) / self.tokens if self.tokens else 0.0

    def __str__(self) -> str:
        verdicts = "" if self.verdicts is None else f"{self.verdicts} of {self.rows} verdicts flip, "
        return f"{verdicts}{len(self.differing)} of {self.tokens} tokens flip ({self.token_rate:.2%})"


def flips(reference: Answers, others: Answers, verdict: Callable[[Sequence[int]], Any] | None = None) -> Flips:
    """Compare answers, token by token (the end token counts as one) and verdict by verdict.

    >>> str(flips([[1, 2, 3], [4]], [[1, 9, 3], [4]]))
    '1 of 4 tokens flip (25.00%)'
    """
    differing, tokens = [], 0
    for index, (one, other) in enumerate(zip(reference, others, strict=True)):
        place = first_difference(one, other)
        tokens += len(one) + 1 if place is None else place + 1
        if place is not None:
            differing.append(index)
    pairs = ((reference[index], others[index]) for index in differing)
    changed = None if verdict is None else sum(verdict(one) != verdict(other) for one, other in pairs)
    return Flips(len(reference), tuple(differing), tokens, changed)


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Where two answers first differ; None if they are equal."""
    if list(one) == list(other):
        return None
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def compare_precisions(case: Case) -> Iterator[Row]:
    """Rows: float32 equals ``generate`` with both runners; how often bfloat16 flips, here and in ``generate``.

    The model is in float32 or bfloat16 afterwards.
    """
    model = case.model
    cast(model, torch.float32)
    say(f"  generate, float32, {len(case.rows)} rows")
    reference = model_card(model, case.rows, case.ends)
    for runner in (FastRunner(model), GenericRunner(model)):
        say(f"  {runner.name} runner, float32")
        yield _exactness(case, f"float32, {runner.name} runner = generate", reference, _score(case, runner))
    if is_slow(torch.bfloat16, model.device):
        yield case.row("bfloat16 against float32", status="n/a", result="this CPU has no instructions for bfloat16")
        return
    cast(model, torch.bfloat16)
    for name, score in (
        ("engine", lambda: _score(case, FastRunner(model))),
        ("generate", lambda: model_card(model, case.rows, case.ends)),
    ):
        say(f"  {name}, bfloat16")
        found = flips(reference, score(), case.verdict)
        numbers = {"verdict_flips": found.verdicts, "token_flip_rate": found.token_rate, "rows": found.rows}
        yield case.row(f"bfloat16 {name} against float32", result=str(found), numbers=numbers)


def _score(case: Case, runner: Any) -> list[list[int]]:
    return one_pass(ScoringEngine(case.model, case.ends, runner=runner), case.rows, case.grammar)


def _exactness(case: Case, variant: str, reference: Answers, answers: Answers) -> Row:
    found = flips(reference, answers, case.verdict)
    if not found.differing:
        result = f"equal: {found.rows} answers, {found.tokens} tokens"
        return case.row(variant, result=result, numbers={"equal": True, "rows": found.rows, "tokens": found.tokens})
    margins = [_margin(case, index, reference[index], answers[index]) for index in found.differing]
    ties = max(margins) <= TIE
    result = f"{len(margins)} of {found.rows} answers differ, logits at most {max(margins):.1e} apart"
    result += " (ties)" if ties else ""
    return case.row(variant, result=result, numbers={"equal": ties, "rows": found.rows, "margins": margins})


@torch.inference_mode()
def _margin(case: Case, index: int, reference: Sequence[int], answer: Sequence[int]) -> float:
    """How far apart the two best logits are where an answer first differs from the reference."""
    known = [*case.rows[index], *reference[: first_difference(reference, answer)]]
    ids = torch.tensor([known], device=case.model.device)
    best = case.model(input_ids=ids, use_cache=False).logits[0, -1].topk(2).values
    return float(best[0] - best[1])
