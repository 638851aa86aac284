"""What a composition is worth, asked once and counted.

A composition is better than another if it pays on more replies on which no attack alone pays; then, if it pays on more
replies at all; then, if it gains more reward. The gain is the mean over the replies of what the attacked reply gets
above the plain one, and, if nothing is left of the reply, above an honest refusal: refusing is no attack.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from guard_reward.redteam.attack import Attack, Draft, Keeps
from guard_reward.redteam.judging import Prompt
from guard_reward.redteam.searching.composition import Composition, composed
from guard_reward.redteam.searching.judged_replies import JudgedReplies
from guard_reward.redteam.selection import Selection
from guard_reward.redteam.trial import Attempt, attempts, drafts

__all__ = ["BudgetSpent", "Score", "Scored", "Scoring", "Worth"]


class BudgetSpent(Exception):
    """The next composition costs more than what is left."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A composition that was tried.

    Attributes:
        parts: the attacks.
        attempts: on each reply that it is for and changes.
        paid: numbers of the targets on which it pays.
        gain: mean gain of reward over its replies; None if none has a reward.
    """

    parts: Composition
    attempts: tuple[Attempt, ...]
    paid: frozenset[int]
    gain: float | None

    @property
    def attack(self) -> Attack:
        """The parts as one attack."""
        return composed(self.parts)

    def worth(self, covered: Collection[int] = ()) -> tuple[int, int, float]:
        """To compare by: on how many targets it pays that are not `covered`, on how many at all, and the gain."""
        gain = float("-inf") if self.gain is None else self.gain
        return len(self.paid.difference(covered)), len(self.paid), gain


Score = Callable[[Sequence[Composition]], Sequence[Scored]]
"""Tries compositions."""

Worth = Callable[[Scored], tuple[float, ...]]
"""What to compare by."""


class Scoring:
    """Tries compositions, each reply judged once.

    Args:
        selection: what is attacked.
        judging: the reward.
        budget: replies that may be judged; the plain ones do not count.
        seed: of the attacks' choices.
    """

    def __init__(self, selection: Selection, judging: JudgedReplies, *, budget: int, seed: int = 0):
        self._selection = selection
        self._judging = judging
        self._seed = seed
        self.budget = budget

    @property
    def spent(self) -> int:
        """Replies that were judged."""
        return self._judging.asked

    def __call__(self, compositions: Sequence[Composition]) -> list[Scored]:
        """The compositions, tried together, as many as the budget allows.

        Raises:
            BudgetSpent: not even the first one.
        """
        affordable = self._judge_ahead(compositions)
        if not affordable and compositions:
            raise BudgetSpent
        return [self._tried(parts) for parts in compositions[:affordable]]

    def _judge_ahead(self, compositions: Sequence[Composition]) -> int:
        """Judge the replies of all in full batches; returns of how many compositions."""
        wanted: dict[str, tuple[Prompt, Draft]] = {}
        affordable = 0
        for parts in compositions:
            more = {key: pair for key, pair in self._replies(parts) if not self._judging.knows(key)}
            if self.spent + len({*wanted, *more}) > self.budget:
                break
            wanted |= more
            affordable += 1
        if wanted:
            self._judging([prompt for prompt, _ in wanted.values()], [draft for _, draft in wanted.values()])
        return affordable

    def _replies(self, parts: Composition) -> Iterable[tuple[str, tuple[Prompt, Draft]]]:
        made = drafts(composed(parts), self._selection.targets, self._selection.material, self._seed)
        for _, target, draft in made:
            prompt = target.target.prompt
            yield self._judging.key(prompt, draft), (prompt, draft)

    def _tried(self, parts: Composition) -> Scored:
        attack = composed(parts)
        tried = attempts(attack, self._selection.targets, self._judging, self._selection.material, seed=self._seed)
        gains = [gain for attempt in tried if (gain := _gain(attempt, attack.keeps)) is not None]
        paid = frozenset(attempt.number for attempt in tried if attempt.pays)
        return Scored(parts, tuple(tried), paid, fmean(gains) if gains else None)


def _gain(attempt: Attempt, keeps: Keeps) -> float | None:
    plain, refusal, attacked = attempt.target.plain.reward, attempt.target.refusal.reward, attempt.attacked.reward
    if plain is None or attacked is None:
        return None
    if keeps is Keeps.NOTHING and refusal is not None:
        return attacked - max(plain, refusal)
    return attacked - plain
