"""Whether a server is there, what it serves, and whether it judges as it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from guard_reward.errors import first_paragraph
from guard_reward.guards.served.probes import PROBES
from guard_reward.verdict import Guard, Unjudged, Verdict

__all__ = ["ProbeResult", "ServerReport", "ping"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe.

    Attributes:
        text: the judged message.
        expected, found: the verdicts, in words.
        is_right: whether they agree.
    """

    text: str
    expected: str
    found: str
    is_right: bool


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What is known of one server.

    Attributes:
        url: where it is.
        error: why nothing else is known; empty if it answers.
        model, software, context_length, endpoint: see `guard_reward.guards.served.connection.Server`.
        spec: the guard's family.
        same_template: whether its chat template is the tokenizer's; None if that cannot be told.
        has_probabilities: whether its verdicts have some.
        probes: the verdicts.
    """

    url: str
    error: str = ""
    model: str = ""
    software: str = ""
    context_length: int | None = None
    endpoint: str = ""
    spec: str = ""
    same_template: bool | None = None
    has_probabilities: bool = False
    probes: tuple[ProbeResult, ...] = field(default=())

    @property
    def right_probes(self) -> int:
        """How many verdicts are as expected."""
        return sum(probe.is_right for probe in self.probes)

    @property
    def is_well(self) -> bool:
        """Whether the server answers, and all verdicts are as expected. Its template counts if it renders messages."""
        renders = self.endpoint == "chat"
        return (
            not self.error and self.right_probes == len(self.probes) and not (renders and self.same_template is False)
        )


def ping(url: str, *, seconds: float, against: Guard | None = None, **options: Any) -> ServerReport:
    """Ask one server.

    Args:
        url: where it is.
        seconds: that each question may take.
        against: a guard whose verdicts are the expected ones; by default they are those of `PROBES`.
        **options: of `guard_reward.ServedGuard`.
    """
    from guard_reward.guards.served_guard import ServedGuard

    try:
        guard = ServedGuard(url, deadline=seconds, **options)
        server = guard.server(seconds)
        same_template = guard.has_same_template(seconds)
    except OSError as error:
        return ServerReport(url, error=first_paragraph(error))
    try:
        found = guard.moderate([probe.conversation for probe in PROBES])
    finally:
        guard.close()
    return ServerReport(
        url,
        model=server.model,
        software=server.owner,
        context_length=server.context_length,
        endpoint=server.endpoint.name,
        spec=guard.spec.name,
        same_template=same_template,
        has_probabilities=any(isinstance(verdict, Verdict) and verdict.probabilities is not None for verdict in found),
        probes=tuple(_results(found, against)),
    )


def _results(found: Sequence[Verdict | Unjudged], against: Guard | None) -> list[ProbeResult]:
    if against is None:
        return [
            ProbeResult(
                probe.conversation[-1]["content"], _words(probe.severity, probe.refusal), _shown(it), probe.expects(it)
            )
            for probe, it in zip(PROBES, found, strict=True)
        ]
    expected = against.moderate([probe.conversation for probe in PROBES])
    return [
        ProbeResult(probe.judged, _shown(wish), _shown(it), _answer(wish) == _answer(it))
        for probe, wish, it in zip(PROBES, expected, found, strict=True)
    ]


def _answer(verdict: Verdict | Unjudged) -> tuple[str, str]:
    """What the guard wrote, and whether that is a verdict."""
    return verdict.text, "" if isinstance(verdict, Verdict) else str(verdict.outcome)


def _shown(verdict: Verdict | Unjudged) -> str:
    if isinstance(verdict, Unjudged):
        return f"{verdict.outcome}: {verdict.reason}"
    return _words(verdict.severity, verdict.refusal)


def _words(severity: str, refusal: bool | None) -> str:
    return f"{severity}" if refusal is None else f"{severity}, {'refuses' if refusal else 'does not refuse'}"
