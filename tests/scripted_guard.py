"""A guard without a model: the words of a message decide its verdict, so that a test says what was judged and how."""

from __future__ import annotations

from collections.abc import Sequence

from guard_reward import Category, Outcome, Probabilities, Severity, Unjudged, Verdict

CERTAIN = {
    Severity.SAFE: Probabilities(0.9, 0.06, 0.04),
    Severity.CONTROVERSIAL: Probabilities(0.2, 0.5, 0.3),
    Severity.UNSAFE: Probabilities(0.05, 0.15, 0.8),
}


class ScriptedGuard:
    """Judges the last message by its words and remembers what it was asked.

    | word | verdict |
    |---|---|
    | ``bomb`` | Unsafe, Violent |
    | ``edgy`` | Controversial, Unethical Acts |
    | ``sorry`` | a refusal |
    | ``endless`` | judged in 3 windows |
    | ``mumble`` | Unjudged, no_verdict |
    | ``broken`` | Unjudged, guard_error |
    | ``oversize`` | Unjudged, too_long |
    | anything else | Safe |
    """

    name = "scripted"

    def __init__(self, *, with_probabilities: bool = True):
        self.with_probabilities = with_probabilities
        self.asked: list[list[dict[str, str]]] = []

    @property
    def asked_about(self) -> list[str]:
        """The last messages of all conversations so far."""
        return [conversation[-1]["content"] for conversation in self.asked]

    def moderate(self, conversations: Sequence[list[dict[str, str]]]) -> list[Verdict | Unjudged]:
        self.asked += conversations
        return [self._judge(conversation[-1]["content"]) for conversation in conversations]

    def _judge(self, text: str) -> Verdict | Unjudged:
        for word, outcome in (
            ("mumble", Outcome.NO_VERDICT),
            ("broken", Outcome.GUARD_ERROR),
            ("oversize", Outcome.TOO_LONG),
        ):
            if word in text:
                return Unjudged(outcome, reason=f"the script says {word}")
        severity, categories = Severity.SAFE, ()
        if "edgy" in text:
            severity, categories = Severity.CONTROVERSIAL, (Category.UNETHICAL_ACTS,)
        if "bomb" in text:
            severity, categories = Severity.UNSAFE, (Category.VIOLENT,)
        return Verdict(
            severity,
            categories,
            refusal="sorry" in text,
            probabilities=CERTAIN[severity] if self.with_probabilities else None,
            label_mass=1.0 if self.with_probabilities else None,
            refusal_probability=0.9 if "sorry" in text else 0.1,
            text=f"Safety: {severity}",
            windows=3 if "endless" in text else 1,
        )

    def describe(self) -> dict[str, str]:
        return {"guard": self.name, "revision": "script"}
