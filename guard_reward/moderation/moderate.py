"""Moderate a file: one verdict per row, in columns added behind the file's own.

    >>> from guard_reward import load_guard                                                    # doctest: +SKIP
    >>> moderate_file("replies.jsonl", "judged.jsonl", guard=load_guard("Qwen/Qwen3Guard-Gen-0.6B"))  # doctest: +SKIP

Nothing is lost: all rows and columns are kept, in order and unchanged, and a row that could not be judged says why.
Rows are judged in chunks, and finished chunks are journalled next to the output (`guard_reward.moderation.journal`):
the same job, run again after a kill, resumes and writes the same bytes. The output appears at the end, in one step.
Before anything is judged, the output is rehearsed: the rows are written to nowhere, and a file to its folder.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from guard_reward._version import __version__
from guard_reward.errors import UserError, first_paragraph
from guard_reward.files import check_writable, replacing, without_link
from guard_reward.moderation.columns import Judged, TextColumns, choose_columns
from guard_reward.moderation.journal import Journal, Result
from guard_reward.moderation.tables import Field, Kind, Row, Table, TableWriter, open_table, rehearse, table_writer
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict, describe_guard

if TYPE_CHECKING:
    from guard_reward.verdict import Guard

__all__ = ["RESULT_FIELDS", "Summary", "moderate_file"]

RESULT_FIELDS = (
    Field("outcome", Kind.TEXT),
    Field("severity", Kind.TEXT),
    Field("categories", Kind.TEXTS),
    Field("refusal", Kind.FLAG),
    Field("p_safe", Kind.NUMBER),
    Field("p_controversial", Kind.NUMBER),
    Field("p_unsafe", Kind.NUMBER),
    Field("refusal_probability", Kind.NUMBER),
    Field("verdict_text", Kind.TEXT),
    Field("reason", Kind.TEXT),
)
"""The added columns, without their prefix. All but ``outcome`` may be null."""

_RAW = Field("raw", Kind.TEXT)  # only if the input has lines that are not rows: their text

# Decimals of probabilities; further ones are rounding noise that differs between machines.
_DECIMALS = 6


@dataclass(frozen=True)
class Summary:
    """What a moderation did.

    Attributes:
        judged: what was judged, in words.
        rows: number of rows of the input and of the output.
        judged_rows: rows that this run judged; `resumed_rows`: rows that interrupted runs had judged.
        outcomes: rows per outcome; `severities`: rows per severity, of the rows with a verdict.
        seconds: time that this run spent on judging; `rows_per_second`: its rate.
        guard: the guard's description.
    """

    source: str
    target: str
    judged: str
    rows: int
    judged_rows: int
    resumed_rows: int
    outcomes: dict[str, int]
    severities: dict[str, int]
    seconds: float
    rows_per_second: float | None
    guard: dict[str, str]

    @property
    def failed_rows(self) -> int:
        """Rows with text to judge and no verdict."""
        return self.rows - sum(self.severities.values()) - self.outcomes.get(Outcome.EMPTY, 0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def moderate_file(
    source: str | Path,
    target: str | Path,
    *,
    guard: Guard | Callable[[], Guard],
    prompt_column: str | None = None,
    response_column: str | None = None,
    messages_column: str | None = None,
    judge: Judged | None = None,
    prefix: str = "guard_",
    chunk_rows: int = 128,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = False,
) -> Summary:
    """Judge every row of `source` and write the rows with their verdicts to `target`.

    Formats go by suffix (`guard_reward.moderation.tables`); `target` has the format of `source` or is ``.jsonl``.
    If `target` is a symbolic link, the file that it leads to is written.

    Args:
        guard: the guard, or a function that loads it, called only after the files have been checked.
        prompt_column: and `response_column`, `messages_column`, `judge`: what to judge; by default responses if
            there is a column ``response``, else prompts, else ``messages`` (`guard_reward.moderation.columns`).
        prefix: of the added columns' names; keeps them apart from the input's own.
        chunk_rows: rows that are judged and journalled together; a kill loses at most so many.
        overwrite: replace `target` if it exists.
        restart: judge all rows again, even if a journal has finished ones.
        progress: show a bar with rate and remaining time on standard error.

    Raises:
        UserError: the files or arguments cannot work; names the field and the fix.
    """
    if chunk_rows < 1:
        raise UserError(f"chunk_rows should be at least 1, found {chunk_rows}")
    write = table_writer(Path(source), Path(target))
    table = open_table(Path(source))
    columns = _choose(table, prompt_column, response_column, messages_column, judge)
    job = _Job(table, without_link(Path(target)), write, columns, _fields(table, prefix), chunk_rows, overwrite)
    _check_target(job)
    rehearse(job.write, table, job.fields)
    return _run(job, cast("Guard", guard) if hasattr(guard, "moderate") else guard(), restart, progress)


@dataclass(frozen=True)
class _Job:
    """What to judge, and where to write it."""

    table: Table
    target: Path
    write: TableWriter
    columns: TextColumns
    fields: list[Field]
    chunk_rows: int
    overwrite: bool

    @property
    def journal_path(self) -> Path:
        return self.target.with_name(f"{self.target.name}.journal")

    def describe(self, guard: Mapping[str, str], input_hash: str) -> dict[str, str]:
        """What the journal of this job must have been written for."""
        return {
            "input": input_hash,
            **guard,
            "judged": self.columns.judged,
            "chunk_rows": str(self.chunk_rows),
            "guard-reward": __version__,
        }


def _run(job: _Job, guard: Guard, restart: bool, progress: bool) -> Summary:
    facts, table = describe_guard(guard), job.table
    input_hash = _sha256(table.path)
    with Journal(job.journal_path, job.describe(facts, input_hash), restart=restart) as journal:
        if journal.is_new and job.target.exists() and not job.overwrite:  # another run has finished since the check
            journal.remove()
            raise _exists(job.target)
        resumed, start = journal.row_count, time.perf_counter()
        _judge_rows(table, job.columns, guard, journal, job.chunk_rows, progress)
        seconds = time.perf_counter() - start
        if _sha256(table.path) != input_hash:
            raise UserError(
                f"'{table.path}' was changed while its rows were judged: put the old file back and give the same "
                "command again, or use --restart to judge the new one"
            )
        counts = _Counts()
        with replacing(job.target) as path:
            job.write(path, table, job.fields, _with_raw(table, counts.counting(journal.results())))
        journal.remove()
    judged = table.row_count - resumed
    return Summary(
        source=str(table.path),
        target=str(job.target),
        judged=job.columns.judged,
        rows=table.row_count,
        judged_rows=judged,
        resumed_rows=resumed,
        outcomes={outcome.value: counts.outcomes[outcome.value] for outcome in Outcome},
        severities={severity.value: counts.severities[severity.value] for severity in Severity},
        seconds=round(seconds, 3),
        rows_per_second=round(judged / seconds, 2) if judged and seconds else None,
        guard=facts,
    )


def _choose(
    table: Table, prompt: str | None, response: str | None, messages: str | None, judge: Judged | None
) -> TextColumns:
    if not table.columns and not table.row_count:  # an empty JSON lines file: no columns, and no rows to miss them
        return TextColumns(prompt=prompt or "prompt")
    return choose_columns(table.columns, prompt=prompt, response=response, messages=messages, judge=judge)


def _fields(table: Table, prefix: str) -> list[Field]:
    """The columns to add under their final names."""
    fields = [*RESULT_FIELDS, _RAW] if table.fault_count else RESULT_FIELDS
    named = [field._replace(name=prefix + field.name) for field in fields]
    if not prefix.isprintable():  # a command line that is not UTF-8 comes as halves of surrogate pairs
        raise UserError(f"prefix should be a text that can be printed, found {prefix!r}")
    taken = [field.name for field in named if field.name in table.columns]
    if taken:
        raise UserError(f"the input has a column {taken[0]!r} already: choose another --prefix than {prefix!r}")
    return named


def _check_target(job: _Job) -> None:
    try:
        _check_place(job.target, job)
        check_writable(job.target)
    except OSError as error:
        raise UserError(f"output '{job.target}' cannot be written: {first_paragraph(error)}") from error


def _check_place(target: Path, job: _Job) -> None:
    has_journal = job.journal_path.exists()
    if target.is_dir():
        raise UserError(f"output '{target}' is a folder: name a file in it")
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise UserError(f"output '{target}' is no regular file: name another one")
    if target.exists():
        if target.samefile(job.table.path):
            raise UserError(f"'{target}' is both input and output: write to another file")
        if not job.overwrite and not has_journal:
            raise _exists(target)


def _exists(target: Path) -> UserError:
    return UserError(f"output '{target}' exists: use --overwrite to replace it")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _judge_rows(
    table: Table, columns: TextColumns, guard: Guard, journal: Journal, chunk_rows: int, progress: bool
) -> None:
    """Judge the rows that the journal does not have yet, chunk by chunk."""
    from tqdm import tqdm

    # Chunks start at multiples of chunk_rows, so that a resumed run forms the same batches.
    rows = islice(table.rows(), journal.row_count, None)
    with tqdm(
        total=table.row_count, initial=journal.row_count, desc="moderate", unit="row", disable=not progress
    ) as bar:
        while chunk := list(islice(rows, chunk_rows)):
            journal.append(_judge_chunk(chunk, columns, guard))
            bar.update(len(chunk))


def _judge_chunk(chunk: list[Row], columns: TextColumns, guard: Guard) -> list[Result]:
    items = [
        Unjudged(Outcome.GUARD_ERROR, reason=row.fault) if row.fault else columns.conversation(row.values)
        for row in chunk
    ]
    conversations = [item for item in items if not isinstance(item, Unjudged)]
    verdicts = guard.moderate(conversations) if conversations else []
    if len(verdicts) != len(conversations):
        raise RuntimeError(f"the guard gave {len(verdicts)} verdicts for {len(conversations)} conversations")
    remaining = iter(verdicts)
    return [_result(item if isinstance(item, Unjudged) else next(remaining)) for item in items]


def _result(verdict: Verdict | Unjudged) -> Result:
    """The values of `RESULT_FIELDS`."""
    if isinstance(verdict, Unjudged):
        return [verdict.outcome.value, *[None] * 7, verdict.text or None, verdict.reason or None]
    p_safe, p_controversial, p_unsafe = map(_rounded, verdict.probabilities or (None, None, None))
    return [
        (Outcome.SCORED if verdict.windows == 1 else Outcome.TOO_LONG).value,
        verdict.severity.value,
        [str(category) for category in verdict.categories],
        verdict.refusal,
        p_safe,
        p_controversial,
        p_unsafe,
        _rounded(verdict.refusal_probability),
        verdict.text,
        f"longer than the guard's context: the worst of {verdict.windows} windows" if verdict.windows > 1 else None,
    ]


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(float(probability), _DECIMALS)


class _Counts:
    """Counts outcomes and severities of the results that pass through."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.severities: Counter[str] = Counter()

    def counting(self, results: Iterator[Result]) -> Iterator[Result]:
        for result in results:
            outcome, severity, *_ = result
            self.outcomes[outcome] += 1
            if severity is not None:
                self.severities[severity] += 1
            yield result


def _with_raw(table: Table, results: Iterator[Result]) -> Iterator[Result]:
    """The results, followed by the text of faulty lines if the input has any."""
    if not table.fault_count:
        return results
    raws = ((row.raw or None) if row.fault else None for row in table.rows())
    return ([*result, raw] for raw, result in zip(raws, results, strict=True))
