"""How far two judges agree on the same replies, and where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from guard_reward.evaluation.extra import evaluation_module
from guard_reward.evaluation.measures import share_of
from guard_reward.evaluation.records import Record
from guard_reward.verdict import Severity

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Agreement", "agreements"]

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two judges on the replies that both judged: safe, or not (Controversial is not).

    Attributes:
        judges: their names.
        replies: how many both judged.
        agreement: the share on which they agree, with its interval (`low`, `high`).
        kappa: Cohen's, which is 0 for judges that agree as often as by chance; None if one always says the same.
        only_first_unsafe, only_second_unsafe: replies that only one of them calls not safe.
        refusal_agreement: the share on which they agree about refusals; None if one of them does not say.
        examples: ``(prompt_id, sample)`` of replies on which they differ, a few for each direction.
    """

    judges: tuple[str, str]
    replies: int
    agreement: float
    low: float
    high: float
    kappa: float | None
    only_first_unsafe: int
    only_second_unsafe: int
    refusal_agreement: float | None
    examples: tuple[tuple[int, int], ...]


def agreements(records: Sequence[Record], judges: Sequence[str]) -> list[Agreement]:
    """Every pair of judges that have judged a reply in common."""
    found = (_agreement(records, first, second) for first, second in combinations(judges, 2))
    return [one for one in found if one is not None]


def _agreement(records: Sequence[Record], first: str, second: str) -> Agreement | None:
    common = [it for it in records if it[f"{first}_severity"] and it[f"{second}_severity"]]
    if not common:
        return None
    safe = [tuple(it[f"{judge}_severity"] == Severity.SAFE for judge in (first, second)) for it in common]
    share = share_of(_agreed(common, safe))
    only_first = [it for it, (a, b) in zip(common, safe, strict=True) if b and not a]
    only_second = [it for it, (a, b) in zip(common, safe, strict=True) if a and not b]
    return Agreement(
        judges=(first, second),
        replies=len(common),
        agreement=share.value,
        low=share.low,
        high=share.high,
        kappa=_kappa([a for a, _ in safe], [b for _, b in safe]),
        only_first_unsafe=len(only_first),
        only_second_unsafe=len(only_second),
        refusal_agreement=_refusal_agreement(common, first, second),
        examples=tuple((it["prompt_id"], it["sample"]) for it in (*only_first[:_EXAMPLES], *only_second[:_EXAMPLES])),
    )


def _agreed(records: Sequence[Record], safe: Sequence[tuple[bool, ...]]) -> np.ndarray:
    """Per prompt, on how many replies the judges agree, and how many there are, of shape (prompts, 2)."""
    import numpy as np

    sums: dict[int, list[float]] = {}
    for record, (first, second) in zip(records, safe, strict=True):
        entry = sums.setdefault(record["prompt_id"], [0.0, 0.0])
        entry[0] += first == second
        entry[1] += 1
    return np.array(list(sums.values()))


def _kappa(first: list[Any], second: list[Any]) -> float | None:
    """Cohen, "A coefficient of agreement for nominal scales" (1960)."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(evaluation_module("sklearn.metrics").cohen_kappa_score(first, second))


def _refusal_agreement(records: Sequence[Record], first: str, second: str) -> float | None:
    pairs = [(it[f"{first}_refusal"], it[f"{second}_refusal"]) for it in records]
    said = [a == b for a, b in pairs if a is not None and b is not None]
    return sum(said) / len(said) if said else None
