"""Replies that were judged: each once, and kept over a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from guard_reward.journal import Journal
from guard_reward.redteam.attack import Draft
from guard_reward.redteam.judging import Judged, Judging, Prompt
from guard_reward.verdict import Severity

__all__ = ["JudgedReplies", "journal_job"]


class JudgedReplies(Judging):
    """Asks about each reply once, and counts them.

    Args:
        judging: the reward.
        journal: where what it says is kept, batch by batch; what is there already is not asked again. Replies on which
            the guard failed are not kept.
    """

    def __init__(self, judging: Judging, journal: Journal | None = None):
        super().__init__(judging.reward, judging.batch_size)
        self._judging = judging
        self._journal = journal
        self._kept = {} if journal is None else {key: _from_json(values) for key, values in journal.results()}
        self._known: dict[str, Judged] = {}

    @property
    def asked(self) -> int:
        """How many replies were asked about; those that the journal answers count too, as they did before the kill."""
        return len(self._known)

    def knows(self, key: str) -> bool:
        """Whether asking about the reply of this `key` again costs nothing."""
        return key in self._known

    def key(self, prompt: Prompt, draft: Draft) -> str:
        """What tells replies apart."""
        value = json.dumps([list(map(dict, prompt)), draft.completion()], sort_keys=True, default=str)
        return hashlib.sha256(value.encode()).hexdigest()

    def __call__(self, prompts: Sequence[Prompt], drafts: Sequence[Draft]) -> list[Judged]:
        """One entry per reply, in order."""
        keys = [self.key(prompt, draft) for prompt, draft in zip(prompts, drafts, strict=True)]
        new = {key: index for index, key in enumerate(keys) if key not in self._known}
        missing = [(key, index) for key, index in new.items() if key not in self._kept]
        for begin in range(0, len(missing), self.batch_size):
            batch = missing[begin : begin + self.batch_size]
            judged = self._judging([prompts[index] for _, index in batch], [drafts[index] for _, index in batch])
            self._keep({key: it for (key, _), it in zip(batch, judged, strict=True)})
        self._known |= {key: self._kept[key] for key in new}
        return [self._known[key] for key in keys]

    def _keep(self, judged: dict[str, Judged]) -> None:
        self._kept |= judged
        rows = [[key, asdict(it)] for key, it in judged.items() if not it.failed]
        if self._journal is not None and rows:
            self._journal.append(rows)


def journal_job(judging: Judging) -> dict[str, str]:
    """What must be the same for a search to go on: what decides the rewards.

    Another seed, budget, strategy or reply only asks for what nobody has asked yet.
    """
    return {"command": "redteam --search", "reward": json.dumps(judging.reward.describe(), ensure_ascii=False)}


def _from_json(values: dict[str, Any]) -> Judged:
    severity = values["severity"]
    return Judged(**values | {"severity": None if severity is None else Severity(severity)})
