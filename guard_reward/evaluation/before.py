"""An earlier evaluation that a new one is compared with: read, and refused where the comparison would be untrue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.evaluation.records import PromptRow, Record
from guard_reward.verdict import Severity

__all__ = ["RECORDS", "RESULTS", "comparable", "read_records"]

RECORDS, RESULTS = "replies.jsonl", "results.json"
"""The files of an evaluation: one line per reply (`guard_reward.evaluation.records`), and the numbers."""

_FACTS = ("prompt_id", "sample", "prompt", "harmful", "truncated")
_FINDINGS = ("outcome", "severity", "refusal", "thinking_outcome", "thinking_severity")


def read_records(folder: Path) -> list[Record]:
    """The records of a finished evaluation.

    Raises:
        UserError: there is none in the folder, or a line is broken; names it.
    """
    path = folder / RECORDS
    try:
        with path.open(encoding="utf-8") as file:
            return [_record(line, f"'{path}', line {number}") for number, line in enumerate(file, 1)]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no finished evaluation: {error}") from error


def comparable(folder: Path, rows: Sequence[PromptRow], judges: Mapping[str, Mapping[str, str]]) -> list[Record]:
    """The records of an earlier evaluation on the same prompts, by the same judges.

    Args:
        folder: of the earlier evaluation.
        rows: the prompts of the new one.
        judges: name → facts, of the new one.

    Raises:
        UserError: no such evaluation; other prompts, other labels, another guard under the name of a judge, or no
            judge in common.
    """
    records = read_records(folder)
    if not records:
        raise UserError(f"'{folder / RECORDS}' is no finished evaluation: it has no replies")
    _check_prompts(folder, records, rows)
    common = [name for name in judges if f"{name}_outcome" in records[0]]
    if not common:
        raise UserError(
            f"compare: '{folder}' was judged by none of {', '.join(judges)}: give the judges the same names"
        )
    before = _judges(folder)
    for name in common:
        old, new = before.get(name, {}), judges[name]
        for fact in ("guard", "revision", "spec"):
            if fact in old and fact in new and old[fact] != new[fact]:
                raise UserError(
                    f"compare: the judge {name!r} of '{folder}' was another guard: {fact} {old[fact]}, now {new[fact]}"
                )
        for number, record in enumerate(records, 1):
            _check_findings(record, name, f"'{folder / RECORDS}', line {number}")
    return records


def _check_prompts(folder: Path, records: Sequence[Record], rows: Sequence[PromptRow]) -> None:
    before = {record["prompt_id"]: (record["prompt"], record["harmful"]) for record in records}
    now = {number: ([dict(it) for it in row.messages], row.harmful) for number, row in enumerate(rows)}
    if before == now:
        return
    is_labels = {key: prompt for key, (prompt, _) in before.items()} == {
        key: prompt for key, (prompt, _) in now.items()
    }
    what = "labels" if is_labels else "prompts"
    raise UserError(f"compare: '{folder}' was made on other {what}: give the same sets, --harmful, --limit and --seed")


def _judges(folder: Path) -> dict[str, Any]:
    """The facts of the earlier evaluation's judges, as far as its results tell."""
    try:
        judges = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["judges"]
        return {name: judge["guard"] for name, judge in judges.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"compare: '{folder / RESULTS}' cannot be read: {error}") from error


def _record(line: str, place: str) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {error}") from error
    if not isinstance(record, dict) or (missing := [name for name in _FACTS if name not in record]):
        names = ", ".join(missing) if isinstance(record, dict) else "columns"
        raise UserError(f"{place} is no reply of an evaluation: it has no {names}")
    if type(record["prompt_id"]) is not int:
        raise UserError(f"{place}: prompt_id should be a whole number, found {record['prompt_id']!r}")
    return record


def _check_findings(record: Record, judge: str, place: str) -> None:
    for finding in _FINDINGS:
        if f"{judge}_{finding}" not in record:
            raise UserError(f"{place} has no {judge}_{finding}")
    for finding in ("severity", "thinking_severity"):
        if (value := record[f"{judge}_{finding}"]) not in (None, *Severity):
            raise UserError(f"{place}: {judge}_{finding} should be {', '.join(Severity)} or null, found {value!r}")
