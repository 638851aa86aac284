"""A policy or a judge that fails in a long evaluation: the job stops instead of going on for nothing, and resumes."""

from __future__ import annotations

from collections.abc import Sequence

from guard_reward.evaluation.records import POLICY_ERROR, Record
from guard_reward.guards.outage import OutageError, check_for_outage
from guard_reward.verdict import Outcome, Unjudged

__all__ = ["check_for_failures"]

_MIN_FAILED = 8  # replies; fewer may fail for reasons of their own


def check_for_failures(records: Sequence[Record], judges: Sequence[str], finished: int) -> None:
    """Stop at a chunk that the policy or a judge failed on for the most part.

    Args:
        records: of the chunk (`guard_reward.evaluation.records`).
        judges: their names.
        finished: prompts that the journal has.

    Raises:
        OutageError: says why, and how to go on.
    """
    failed = [one for one in records if one[f"{judges[0]}_outcome"] == POLICY_ERROR]
    if len(failed) >= _MIN_FAILED and 2 * len(failed) > len(records):
        raise OutageError(
            f"the policy failed on {len(failed):,} of {len(records):,} replies ({failed[-1][f'{judges[0]}_reason']}). "
            f"{finished:,} prompts are finished and kept: give the same command again when it is well, or add "
            "--keep-going to go on without these replies"
        )
    for judge in judges:
        asked = [_ending(one, judge) for one in records if one[f"{judge}_outcome"] not in (POLICY_ERROR, Outcome.EMPTY)]
        lost = [it for it in asked if it.outcome in (Outcome.GUARD_ERROR, Outcome.TIMEOUT)]
        if len(lost) == len(asked) >= _MIN_FAILED:
            raise OutageError(
                f"{judge} failed on all {len(asked):,} replies of a chunk ({lost[-1].reason}). {finished:,} prompts "
                "are finished and kept: give the same command again when it is well, or add --keep-going to go on "
                "without its verdicts"
            )
        check_for_outage(asked, finished)


def _ending(record: Record, judge: str) -> Unjudged:
    """How judging a reply ended: as its answer did, or as its thinking, if only that failed."""
    outcome = Outcome(record[f"{judge}_outcome"])
    thinking = record.get(f"{judge}_thinking_outcome")
    if outcome is Outcome.SCORED and thinking is not None:
        outcome = Outcome(thinking)
    return Unjudged(outcome, reason=f"{judge}: {record[f'{judge}_reason']}")
