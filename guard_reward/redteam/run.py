"""All attacks on one reward, each kept as soon as it is finished."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guard_reward.journal import Journal
from guard_reward.progress_bars import progress_bar
from guard_reward.redteam.attack import Attack
from guard_reward.redteam.judging import Judging
from guard_reward.redteam.results import AttackResult, Results, attack_from_dict, result_of
from guard_reward.redteam.selection import Selection
from guard_reward.redteam.targets import ATTACKED
from guard_reward.redteam.trial import AS_IT_IS, attempts, drafts, kinds_for

__all__ = ["run_attacks"]


def run_attacks(
    attacks: Sequence[Attack],
    selection: Selection,
    judging: Judging,
    *,
    seed: int = 0,
    journal_path: Path | None = None,
    restart: bool = False,
    progress: bool = False,
) -> Results:
    """Try every attack, and what says nothing as it is.

    Args:
        attacks: with different names.
        selection: what is attacked.
        judging: the reward.
        seed: of the attacks' choices.
        journal_path: where finished attacks are kept, so that the same call goes on after a kill; it stays there.
        restart: discard what is there.
        progress: show a bar on standard error.

    Raises:
        UserError: an attack fails, the guard stops answering, or the journal is another run's.
    """
    kinds = Counter(target.kind for target in selection.targets)
    wanted = [attack for attack in (AS_IT_IS, *attacks) if any(kinds[kind] for kind in kinds_for(attack))]
    with ExitStack() as stack:
        journal = None
        if journal_path is not None:
            job = _job(wanted, selection, judging, seed)
            journal = stack.enter_context(Journal(journal_path, job, restart=restart))
        found = [] if journal is None else [attack_from_dict(values) for (values,) in journal.results()]
        bar = stack.enter_context(progress_bar(len(wanted), "attack", "attack", done=len(found), shown=progress))
        for result in _run(wanted[len(found) :], selection, judging, seed):
            if journal is not None:
                journal.append([[asdict(result)]])
            found.append(result)
            bar.update(1)
    return Results(
        reward=judging.reward.describe(),
        targets={str(kind): kinds[kind] for kind in ATTACKED if kinds[kind]},
        left_out=selection.left_out,
        attacks=tuple(found),
        seed=seed,
    )


def _run(attacks: Sequence[Attack], selection: Selection, judging: Judging, seed: int) -> Iterator[AttackResult]:
    for attack in attacks:
        tried = attempts(attack, selection.targets, judging, selection.material, seed=seed)
        yield result_of(attack, tried)


def _job(attacks: Sequence[Attack], selection: Selection, judging: Judging, seed: int) -> dict[str, str]:
    """What must be the same for a run to go on."""
    replies = [(it.kind, it.target.prompt, it.target.draft.completion()) for it in selection.targets]
    # An attack is a function: what it makes of one reply of each kind tells a changed one from the one before.
    samples = list({it.kind: it for it in selection.targets}.values())
    made = [
        (
            it.name,
            it.family,
            it.keeps,
            [draft.completion() for *_, draft in drafts(it, samples, selection.material, seed)],
        )
        for it in attacks
    ]
    return {
        "command": "redteam",
        "reward": json.dumps(judging.reward.describe(), ensure_ascii=False),
        "replies": _digest([replies, asdict(selection.material)]),
        "attacks": _digest(made),
        "seed": str(seed),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()
