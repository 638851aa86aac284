"""What a search has found, as values that JSON keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from guard_reward.redteam.results import Example, example_of
from guard_reward.redteam.searching.scoring import Scored

__all__ = ["Finding", "SearchResults", "finding_of"]

_EXAMPLES = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """A composition that pays.

    Attributes:
        parts: names of its attacks, in the order in which they work.
        families: theirs.
        keeps: what is left of the reply.
        rows: replies that it was tried on.
        paid: on how many it pays.
        new: on how many of these no attack alone pays.
        parts_that_pay: names of the parts that pay alone on a reply.
        beyond_parts: on how many it pays, and none of its parts alone nor a shorter composition of them does.
        gain: mean gain of reward over those on which it pays; None if it leaves all of them without a reward.
        examples: of replies that are paid, the new ones first.
    """

    parts: tuple[str, ...]
    families: tuple[str, ...]
    keeps: str
    rows: int
    paid: int
    new: int
    parts_that_pay: tuple[str, ...]
    beyond_parts: int
    gain: float | None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class SearchResults:
    """What came of a search.

    Attributes:
        reward: what decides the rewards.
        strategy: ``greedy`` or ``evolutionary``.
        seed: of the search.
        targets: replies attacked, by kind.
        budget: replies that might be judged.
        spent: replies that were judged.
        interrupted: whether somebody stopped it before the budget was spent.
        guard_gone: why the guard ended it; empty if it answered to the end.
        alone: attacks that were tried by themselves.
        alone_paying: how many of these pay on a reply.
        covered: on how many replies an attack alone pays.
        compositions: how many were tried.
        compositions_paying: how many of these pay on a reply, most of them because a part does.
        findings: those that pay where nothing shorter of the same parts does, the best first.
    """

    reward: Mapping[str, str]
    strategy: str
    seed: int
    targets: Mapping[str, int]
    budget: int
    spent: int
    interrupted: bool
    guard_gone: str
    alone: int
    alone_paying: int
    covered: int
    compositions: int
    compositions_paying: int
    findings: tuple[Finding, ...]

    @property
    def new(self) -> tuple[Finding, ...]:
        """The findings that pay on a reply on which no attack alone pays."""
        return tuple(finding for finding in self.findings if finding.new)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def finding_of(scored: Scored, shorter: Collection[Scored], covered: Collection[int]) -> Finding:
    """A composition that pays.

    Args:
        scored: the composition.
        shorter: what was tried of the same parts in the same order, its parts alone at least.
        covered: numbers of the targets on which an attack alone pays.
    """
    paid = sorted((it for it in scored.attempts if it.pays), key=lambda it: it.number in covered)
    pairs = [(it.target.plain.reward, it.attacked.reward) for it in paid]
    gains = [after - before for before, after in pairs if before is not None and after is not None]
    return Finding(
        parts=tuple(part.name for part in scored.parts),
        families=tuple(part.family for part in scored.parts),
        keeps=str(scored.attack.keeps),
        rows=len(scored.attempts),
        paid=len(paid),
        new=len(scored.paid.difference(covered)),
        parts_that_pay=tuple(it.parts[0].name for it in shorter if len(it.parts) == 1 and it.paid),
        beyond_parts=len(scored.paid.difference(*(it.paid for it in shorter))),
        gain=fmean(gains) if gains else None,
        examples=tuple(map(example_of, paid[:_EXAMPLES])),
    )
