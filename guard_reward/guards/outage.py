"""A guard that fails in a long job: the job stops instead of writing rows without a verdict, and resumes later."""

from __future__ import annotations

from collections.abc import Sequence

from guard_reward.errors import UserError
from guard_reward.verdict import Outcome, Unjudged, Verdict

__all__ = ["OutageError", "check_for_outage"]

_MIN_TEXTS = 32  # fewer may fail for reasons of their own
_FAILURES = (Outcome.GUARD_ERROR, Outcome.TIMEOUT)


class OutageError(UserError):
    """The guard failed on most texts of a chunk."""


def check_for_outage(verdicts: Sequence[Verdict | Unjudged], finished_rows: int) -> None:
    """Stop at a chunk of at least 32 texts that the guard failed on for the most part.

    Args:
        verdicts: of the texts of one chunk that the guard was asked about.
        finished_rows: that the journal has.

    Raises:
        OutageError: says why, and how to go on.
    """
    failed = [it for it in verdicts if isinstance(it, Unjudged) and it.outcome in _FAILURES]
    if len(verdicts) < _MIN_TEXTS or 2 * len(failed) <= len(verdicts):
        return
    raise OutageError(
        f"the guard failed on {len(failed):,} of {len(verdicts):,} texts ({failed[-1].reason}). "
        f"{finished_rows:,} rows are finished and kept: give the same command again when the guard is well, or add "
        "--keep-going to write rows without a verdict"
    )
