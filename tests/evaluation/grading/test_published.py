"""The published numbers: copied right, if the report's own averages follow from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard_reward.evaluation.grading.labelled import Task
from guard_reward.evaluation.grading.public_sets import PUBLIC_SETS
from guard_reward.evaluation.grading.published import Published, published_for

NUMBERS = [number for preset in PUBLIC_SETS for number in published_for(preset)]
AVERAGES = {
    Task.PROMPT_HARM: {
        "LlamaGuard3-8B": 79.4, "LlamaGuard4-12B": 75.9, "WildGuard-7B": 85.8, "ShieldGemma-9B": 70.4,
        "ShieldGemma-27B": 70.0, "NemoGuard-8B": 82.9, "PolyGuard-Qwen-7B": 87.0, "Qwen3Guard-0.6B-Gen": 88.1,
        "Qwen3Guard-4B-Gen": 89.3, "Qwen3Guard-8B-Gen": 90.0, "Qwen3Guard-0.6B-Stream": 86.3,
        "Qwen3Guard-4B-Stream": 89.1, "Qwen3Guard-8B-Stream": 88.3,
    },
    Task.RESPONSE_HARM: {
        "LlamaGuard3-8B": 70.7, "LlamaGuard4-12B": 67.5, "WildGuard-7B": 79.9, "ShieldGemma-9B": 62.2,
        "ShieldGemma-27B": 65.9, "NemoGuard-8B": 78.1, "PolyGuard-Qwen-7B": 74.0, "Qwen3Guard-0.6B-Gen": 82.0,
        "Qwen3Guard-4B-Gen": 83.7, "Qwen3Guard-8B-Gen": 83.9, "Qwen3Guard-0.6B-Stream": 79.2,
        "Qwen3Guard-4B-Stream": 81.8, "Qwen3Guard-8B-Stream": 81.1,
    },
}  # fmt: skip


@pytest.mark.parametrize(("task", "guard"), [(task, guard) for task, guards in AVERAGES.items() for guard in guards])
def test_the_averages_of_the_better_mode(task: Task, guard: str) -> None:
    found = [number for number in NUMBERS if (number.task, number.guard) == (task, guard)]
    sets = {number.preset for number in found}
    assert len(sets) == 7
    best = [max(number.f1 for number in found if number.preset == preset) for preset in sets]
    assert 100 * sum(best) / 7 == pytest.approx(AVERAGES[task][guard], abs=0.11)  # the report has rounded twice


def test_the_page_has_every_set(repository: Path) -> None:
    page = (repository / "docs" / "grading.md").read_text()
    for name, chosen in PUBLIC_SETS.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(part in line for part in (chosen.hub, chosen.config or "", chosen.where.partition(" ")[0]))
        assert ("gated" in line) is chosen.is_gated


def test_refusals_and_sets_without_numbers() -> None:
    assert Published("xstest-response", Task.REFUSAL, "Qwen3Guard-4B-Gen", "", 0.946, "Table 7") in NUMBERS
    assert published_for("xstest") == []
