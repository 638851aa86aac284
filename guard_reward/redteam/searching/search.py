"""A whole search: the attacks alone, then compositions of them, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, Protocol

from guard_reward.errors import UserError
from guard_reward.journal import Journal
from guard_reward.progress_bars import progress_bar
from guard_reward.redteam.attack import Attack
from guard_reward.redteam.judging import Judging
from guard_reward.redteam.searching.composition import Composition, shortened
from guard_reward.redteam.searching.evolutionary import evolutionary
from guard_reward.redteam.searching.findings import Finding, SearchResults, finding_of
from guard_reward.redteam.searching.greedy import greedy
from guard_reward.redteam.searching.judged_replies import JudgedReplies, journal_job
from guard_reward.redteam.searching.scoring import BudgetSpent, Score, Scored, Scoring, Worth
from guard_reward.redteam.selection import Selection
from guard_reward.redteam.trial import GuardGone

__all__ = ["STRATEGIES", "search"]


_ROUND = 32


class Strategy(Protocol):
    """Which compositions are tried; see `greedy`."""

    def __call__(self, alone: Sequence[Scored], score: Score, worth: Worth, random: Random, *, depth: int) -> None: ...


STRATEGIES: Mapping[str, Strategy] = {"greedy": greedy, "evolutionary": evolutionary}
"""By the names that users type."""


def search(
    attacks: Sequence[Attack],
    selection: Selection,
    judging: Judging,
    *,
    strategy: str = "evolutionary",
    budget: int = 20_000,
    depth: int = 3,
    seed: int = 0,
    journal_path: Path | None = None,
    restart: bool = False,
    progress: bool = False,
) -> SearchResults:
    """Search for compositions of attacks that pay.

    An interruption (Ctrl-C, SIGTERM in a command) ends the search and keeps what was found. So does a guard that gives
    no answers any more. With a journal the same call goes on, then and after a kill: it finds what it would have found,
    and no reply is judged again.

    Args:
        attacks: with different names. Each is tried by itself first, so that what is new is known.
        selection: what is attacked.
        judging: the reward.
        strategy: a name of `STRATEGIES`.
        budget: replies that may be judged. Each different reply is judged once.
        depth: parts of a composition, at most.
        seed: of the search and of the attacks' choices: the same seed finds the same.
        journal_path: where judged replies are kept; it stays there.
        restart: discard what is there.
        progress: show a bar on standard error.

    Raises:
        UserError: the budget is too small for the attacks alone, or the journal is that of another reward.
    """
    with ExitStack() as stack:
        journal = None
        if journal_path is not None:
            journal = stack.enter_context(Journal(journal_path, journal_job(judging), restart=restart))
        bar = stack.enter_context(progress_bar(budget, f"search, {strategy}", "row", shown=progress))
        trials = _Trials(Scoring(selection, JudgedReplies(judging, journal), budget=budget, seed=seed), bar)
        interrupted, gone = False, ""
        try:
            alone = _alone(attacks, trials, len(selection.targets))
            covered = trials.covered
            STRATEGIES[strategy](
                [scored for scored in alone if scored.attempts],  # those that change nothing here lead nowhere
                trials,
                lambda scored: scored.worth(covered),
                Random(f"search {seed}"),
                depth=depth,
            )
        except BudgetSpent:
            pass
        except KeyboardInterrupt:
            interrupted = True
        except GuardGone as error:
            gone = str(error)
    return trials.results(judging, selection, strategy=strategy, seed=seed, interrupted=interrupted, guard_gone=gone)


def _alone(attacks: Sequence[Attack], trials: _Trials, targets: int) -> list[Scored]:
    """Every attack by itself."""
    found: list[Scored] = []
    try:
        while len(found) < len(attacks):
            found += trials([(attack,) for attack in attacks[len(found) : len(found) + _ROUND]])
    except BudgetSpent:
        raise UserError(
            f"a budget of {trials.scoring.budget:,} does not suffice for {len(attacks):,} attacks alone on {targets:,} "
            f"replies, up to {len(attacks) * targets:,}: give a larger --budget, fewer replies (--limit) or fewer "
            "attacks (--family)"
        ) from None
    return found


class _Trials:
    """What was tried. Of what pays beyond its parts, compositions without one of the parts are tried too."""

    def __init__(self, scoring: Scoring, bar: Any):
        self.scoring = scoring
        self.tried: dict[Composition, Scored] = {}
        self._bar = bar

    @property
    def covered(self) -> frozenset[int]:
        """Numbers of the targets on which an attack alone pays."""
        return frozenset().union(*(it.paid for parts, it in self.tried.items() if len(parts) == 1))

    def __call__(self, compositions: Sequence[Composition]) -> list[Scored]:
        scored = self.scoring(compositions)
        self.tried |= {it.parts: it for it in scored}
        self._bar.update(self.scoring.spent - self._bar.n)
        beyond = [it for it in scored if len(it.parts) > 2 and it.paid.difference(*self._paid_shorter(it))]
        simpler = dict.fromkeys(parts for it in beyond for parts in shortened(it.parts) if parts not in self.tried)
        if simpler:
            self(list(simpler))
        return scored

    def results(
        self,
        judging: Judging,
        selection: Selection,
        *,
        strategy: str,
        seed: int,
        interrupted: bool,
        guard_gone: str,
    ) -> SearchResults:
        """What came of them."""
        alone = [it for parts, it in self.tried.items() if len(parts) == 1]
        composed = [it for parts, it in self.tried.items() if len(parts) > 1]
        return SearchResults(
            reward=judging.reward.describe(),
            strategy=strategy,
            seed=seed,
            targets=dict(Counter(str(target.kind) for target in selection.targets)),
            budget=self.scoring.budget,
            spent=self.scoring.spent,
            interrupted=interrupted,
            guard_gone=guard_gone,
            alone=len(alone),
            alone_paying=sum(bool(it.paid) for it in alone),
            covered=len(self.covered),
            compositions=len(composed),
            compositions_paying=sum(bool(it.paid) for it in composed),
            findings=tuple(self._findings()),
        )

    def _findings(self) -> list[Finding]:
        """What pays beyond its parts, the best first."""
        covered = self.covered
        found = [
            finding_of(it, self._shorter(it), covered)
            for it in self.tried.values()
            if len(it.parts) > 1 and it.paid.difference(*self._paid_shorter(it))
        ]
        return sorted(found, key=lambda it: (-it.new, -it.beyond_parts, len(it.parts), -it.paid, -(it.gain or 0.0)))

    def _shorter(self, scored: Scored) -> list[Scored]:
        """What was tried of some of its parts, in the same order."""
        parts = scored.parts
        some = {it: None for size in range(1, len(parts)) for it in combinations(parts, size)}
        return [self.tried[it] for it in some if it in self.tried]

    def _paid_shorter(self, scored: Scored) -> list[frozenset[int]]:
        return [it.paid for it in self._shorter(scored)]
