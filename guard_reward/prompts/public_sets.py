"""Public prompt sets by name, for `guard-reward evaluate` and `select`: where each is on the hub, and its columns.

Several are gated: accept their terms on the hub, then `hf auth login`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guard_reward.prompts.sets import PromptSet

__all__ = ["PUBLIC_SETS"]


def _set(path: str, source: str, *, harmful: bool, category: str | None = None, **options: Any) -> PromptSet:
    return PromptSet(path, source=source, harmful=harmful, category_column=category, **options)


PUBLIC_SETS: Mapping[str, Sequence[PromptSet]] = {
    "wildjailbreak": [
        PromptSet(
            "allenai/wildjailbreak",
            name="eval",
            prompt_column="adversarial",
            harmful=harmful,
            where={"data_type": f"adversarial_{label}"},
            source=f"wildjailbreak-{label}",
        )
        for harmful, label in ((True, "harmful"), (False, "benign"))
    ],
    "xstest": [
        PromptSet(
            "walledai/XSTest",
            split="test",
            harmful=harmful,
            where={"label": label},
            source=f"xstest-{label}",
            category_column="type",
        )
        for harmful, label in ((True, "unsafe"), (False, "safe"))
    ],
    "harmbench": [_set("walledai/HarmBench", "harmbench", harmful=True, name="standard", category="category")],
    "strongreject": [_set("walledai/StrongREJECT", "strongreject", harmful=True, category="category")],
    "simplesafetytests": [
        _set("Bertievidgen/SimpleSafetyTests", "simplesafetytests", harmful=True, split="test", category="harm_area")
    ],
    "or-bench": [
        _set("bench-llm/or-bench", "or-bench-hard", harmful=False, name="or-bench-hard-1k", category="category"),
        _set("bench-llm/or-bench", "or-bench-toxic", harmful=True, name="or-bench-toxic", category="category"),
    ],
    "jailbreakbench": [
        _set(
            "JailbreakBench/JBB-Behaviors",
            f"jailbreakbench-{split}",
            harmful=split == "harmful",
            name="behaviors",
            split=split,
            prompt_column="Goal",
            category="Category",
        )
        for split in ("harmful", "benign")
    ],
}
"""Name → its prompt sets, harmful and benign ones apart."""
