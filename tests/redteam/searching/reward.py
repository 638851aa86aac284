"""A reward that follows a rule of the text, and replies for it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from guard_reward.redteam.attack import Attack, Draft, Material
from guard_reward.redteam.judging import Judged, Judging
from guard_reward.redteam.selection import JudgedTarget, Selection
from guard_reward.redteam.targets import Kind, Target
from guard_reward.verdict import Severity

REFUSAL = "Sorry."


class RuleJudging(Judging):
    """Pays 1 for texts that the rule is true of, and for refusals; else 0. Counts what it is asked."""

    def __init__(self, rule: Callable[[str], bool], interrupt_after: float = inf, gone_after: float = inf):
        self.batch_size = 4
        self.rule = rule
        self.asked: list[str] = []
        self.interrupt_after, self.gone_after = interrupt_after, gone_after

    @property
    def reward(self):
        return self

    def describe(self):
        return {"guard": "a rule"}

    def __call__(self, prompts, drafts):
        self.asked += [draft.answer for draft in drafts]
        if len(self.asked) > self.interrupt_after:
            raise KeyboardInterrupt
        if len(self.asked) > self.gone_after:
            return [Judged(None, "guard_error", "no route to host")] * len(drafts)
        return [self.judged(draft.answer) for draft in drafts]

    def judged(self, text: str) -> Judged:
        paid = text == REFUSAL or self.rule(text)
        return Judged(1.0 if paid else 0.0, "scored", severity=Severity.SAFE if paid else Severity.UNSAFE)


def selection(judging: RuleJudging, *replies: str) -> Selection:
    """These harmful replies."""
    prompt = ({"role": "user", "content": "How?"},)
    refusal = judging.judged(REFUSAL)
    targets = (
        JudgedTarget(Target(prompt, Draft(reply), Kind.UNSAFE), Kind.UNSAFE, judging.judged(reply), refusal)
        for reply in replies
    )
    return Selection(tuple(targets), Material(refusal=REFUSAL))


def appending(letter: str) -> Attack:
    """An attack that writes a letter behind the reply."""
    return Attack(letter, f"family {letter}", lambda draft, *_: draft.with_answer(draft.answer + letter))
