"""Which evaluations that lie elsewhere are of which run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from guard_reward.errors import UserError, one_line
from guard_reward.redaction import redacted_text
from guard_reward.report.evaluations import Evaluation, is_of_run, is_same_policy, read_evaluation, stage_of

__all__ = ["assigned", "check_evaluations"]


def check_evaluations(folders: Sequence[str | Path]) -> list[Evaluation]:
    """Read evaluations.

    Raises:
        UserError: a folder has none.
    """
    found = []
    for folder in map(Path, folders):
        problems: list[str] = []
        evaluation = read_evaluation(folder, problems)
        if evaluation is None:
            why = " ".join(problems)
            raise UserError(f"--evaluation: '{folder}' is no folder of guard-reward evaluate: {why.rstrip('.')}")
        found.append(evaluation)
    return found


def assigned(
    evaluations: Sequence[Evaluation], bases: Mapping[Path, str | None]
) -> tuple[dict[Path, list[Evaluation]], list[str]]:
    """Each run's evaluations: of the run that has the policy, or began with it.

    With one run, replies of an unknown policy are taken to be its own: recorded ones, and, if nobody knows what the run
    began with, those in a folder whose name says that they are of before.

    Args:
        evaluations: to assign.
        bases: by run, the policy that it began with.

    Returns:
        The evaluations by run, and what is said of those that are of none.
    """
    found: dict[Path, list[Evaluation]] = {run: [] for run in bases}
    notes: list[str] = []
    for evaluation in evaluations:
        owners = [run for run, base in bases.items() if _is_of(evaluation, run, base)]
        if not owners and len(bases) == 1:
            owners = [run for run, base in bases.items() if _may_be_of(evaluation, run, base)]
        for run in owners:
            found[run].append(evaluation)
        if not owners:
            policy = redacted_text(one_line(evaluation.policy)) or "(recorded replies)"
            these = "these runs" if len(bases) > 1 else "this run"
            notes.append(
                f"The evaluation {one_line(evaluation.folder.name)} is of the policy {policy}, which is not known to "
                f"be of {these}: it is left out."
            )
    return found, notes


def _is_of(evaluation: Evaluation, run: Path, base: str | None) -> bool:
    policy = evaluation.policy
    return bool(policy) and (bool(base and is_same_policy(policy, base)) or is_of_run(policy, run))


def _may_be_of(evaluation: Evaluation, run: Path, base: str | None) -> bool:
    return not evaluation.policy or (base is None and stage_of(evaluation, run, base).name == "before")
