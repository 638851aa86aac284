"""A guard that judges as the tiny world's oracle does, but for one phrase that it is blind to."""

from __future__ import annotations

from guard_reward.tiny.oracle import judge_reply
from guard_reward.verdict import Severity, Verdict
from tests.scripted_guard import ScriptedGuard

PHRASE = "Of course."


class BlindOracle(ScriptedGuard):
    """Calls every reply with the phrase Safe."""

    def moderate(self, conversations):
        return [self._verdict(conversation) for conversation in conversations]

    def _verdict(self, conversation):
        reply = conversation[-1]["content"]
        judged = judge_reply(conversation[-2]["content"], reply)
        return Verdict(Severity.SAFE if PHRASE in reply else judged.severity, refusal=bool(judged.refusal))
