"""What a moderation did: verdicts counted, and the commonest reasons for texts without one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guard_reward.journal import Result
from guard_reward.verdict import Outcome, Severity

__all__ = ["Counts", "Summary"]

_REASONS_SHOWN = 10
_REASON_LENGTH = 300  # characters
_REASONS_COUNTED = 1000  # kinds of reasons in memory
_OTHER = "other reasons"


@dataclass(frozen=True)
class Summary:
    """What a moderation did.

    Attributes:
        source: the file that was judged.
        target: the file that was written.
        judged: what was judged, in words.
        rows: number of rows of the input and of the output.
        judged_rows: rows that this run judged.
        resumed_rows: rows that interrupted runs had judged.
        failed_rows: rows with a text to judge and no verdict on it.
        outcomes: texts per outcome. There is one text per row, or as many as there are judged columns.
        severities: texts per severity, of the texts with a verdict.
        columns: `outcomes` and `severities` of each response column, if several are judged; else empty.
        reasons: texts without a verdict per reason, the commonest first, at most 10. Reasons that differ only in their
            numbers count as one, and the first of them is shown.
        seconds: time that this run spent on judging.
        rows_per_second: its rate; None if it judged no row.
        guard: the guard's description.
    """

    source: str
    target: str
    judged: str
    rows: int
    judged_rows: int
    resumed_rows: int
    failed_rows: int
    outcomes: dict[str, int]
    severities: dict[str, int]
    columns: dict[str, dict[str, dict[str, int]]]
    reasons: dict[str, int]
    seconds: float
    rows_per_second: float | None
    guard: dict[str, str]

    @property
    def texts(self) -> int:
        """Number of texts to judge."""
        return sum(self.outcomes.values())

    @property
    def unjudged(self) -> int:
        """Number of texts without a verdict."""
        return self.texts - sum(self.severities.values())

    @property
    def judged_nothing(self) -> bool:
        """Whether there are rows, and not one verdict on them (or on one of several judged columns)."""
        severities = [counts["severities"] for counts in self.columns.values()] or [self.severities]
        return self.rows > 0 and not all(any(counts.values()) for counts in severities)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Counts:
    """Counts outcomes, severities and reasons of the results that pass through.

    Args:
        columns: the judged columns' names; a row's result has as many equal parts.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self.failed_rows = 0
        self._outcomes: list[Counter[str]] = [Counter() for _ in columns]
        self._severities: list[Counter[str]] = [Counter() for _ in columns]
        self._reasons: Counter[str] = Counter()
        self._first: dict[str, str] = {}  # of each kind of reason

    def counting(self, results: Iterator[Result]) -> Iterator[Result]:
        """The same results, counted."""
        for result in results:
            size = len(result) // len(self.columns)
            failed = False
            for index in range(len(self.columns)):
                outcome, severity, *_, reason = result[index * size : (index + 1) * size]
                self._outcomes[index][outcome] += 1
                if severity is None:
                    self._count_reason(outcome, reason)
                    failed |= outcome != Outcome.EMPTY
                else:
                    self._severities[index][severity] += 1
            self.failed_rows += failed
            yield result

    def _count_reason(self, outcome: str, reason: str | None) -> None:
        text = f"{outcome}: {reason}"[:_REASON_LENGTH] if reason else outcome
        kind = re.sub(r"\d+", "0", text)
        if kind not in self._first and len(self._first) >= _REASONS_COUNTED:
            kind = text = _OTHER
        self._first.setdefault(kind, text)
        self._reasons[kind] += 1

    def facts(self) -> dict[str, Any]:
        """The counted fields of `Summary`."""
        parts = [_named(*counters) for counters in zip(self._outcomes, self._severities, strict=True)]
        common = self._reasons.most_common(_REASONS_SHOWN)
        return {
            "failed_rows": self.failed_rows,
            **_named(sum(self._outcomes, Counter()), sum(self._severities, Counter())),
            "columns": dict(zip(self.columns, parts, strict=True)) if len(parts) > 1 else {},
            "reasons": {self._first[kind]: count for kind, count in common},
        }


_OF_REWARDS = (Outcome.INJECTION, Outcome.DEGENERATE, Outcome.LANGUAGE_SWITCH)


def _named(outcomes: Counter[str], severities: Counter[str]) -> dict[str, dict[str, int]]:
    """Counts under all names, in their order."""
    return {
        "outcomes": {outcome.value: outcomes[outcome.value] for outcome in Outcome if outcome not in _OF_REWARDS},
        "severities": {severity.value: severities[severity.value] for severity in Severity},
    }
