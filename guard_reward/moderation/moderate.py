"""Moderate a file: one verdict per row, in columns added behind the file's own.

    >>> from guard_reward import load_guard                                                    # doctest: +SKIP
    >>> moderate_file("replies.jsonl", "judged.jsonl", guard=load_guard("Qwen/Qwen3Guard-Gen-0.6B"))  # doctest: +SKIP

Nothing is lost: all rows and columns are kept, in order and unchanged, and a row that could not be judged says why.
Rows are judged in chunks, and finished chunks are journalled next to the output (`guard_reward.journal`):
the same job, run again after a kill, resumes and writes the same bytes. The output appears at the end, in one step.
Before anything is judged, the output is rehearsed: the rows are written to nowhere, and a file to its folder.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from guard_reward._version import __version__
from guard_reward.errors import UserError, first_paragraph
from guard_reward.files import check_writable, remove_leftovers, replacing, without_link
from guard_reward.guards.outage import OutageError, check_for_outage
from guard_reward.journal import Journal, Result
from guard_reward.moderation.columns import Judged, TextColumns, choose_columns
from guard_reward.moderation.summary import Counts, Summary
from guard_reward.moderation.tables import Field, Kind, Row, Table, TableWriter, open_table, rehearse, table_writer
from guard_reward.progress_bars import progress_bar
from guard_reward.verdict import Outcome, Unjudged, Verdict, describe_guard

if TYPE_CHECKING:
    from guard_reward.verdict import Guard

__all__ = ["RESULT_FIELDS", "OutageError", "Summary", "moderate_file"]

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

_FLAGGED = Field("flagged_char", Kind.NUMBER)  # only with a stream guard, before the reason
_RAW = Field("raw", Kind.TEXT)  # only if the input has lines that are not rows: their text

# Decimals of probabilities; further ones are rounding noise that differs between machines.
_DECIMALS = 6


def moderate_file(
    source: str | Path,
    target: str | Path,
    *,
    guard: Guard | Callable[[], Guard],
    prompt_column: str | None = None,
    response_column: str | Sequence[str] | None = None,
    messages_column: str | None = None,
    judge: Judged | None = None,
    prefix: str = "guard_",
    chunk_rows: int = 128,
    overwrite: bool = False,
    restart: bool = False,
    keep_going: bool = False,
    progress: bool = False,
) -> Summary:
    """Judge every row of `source` and write the rows with their verdicts to `target`.

    Formats go by suffix (`guard_reward.moderation.tables`); `target` has the format of `source` or is ``.jsonl``.
    If `target` is a symbolic link, the file that it leads to is written.

    What is judged are by default the columns with usual names (`guard_reward.moderation.columns`).

    Args:
        source: the file to judge: JSON lines, CSV or Parquet.
        target: the file to write.
        guard: the guard, or a function that loads it, called only after the files have been checked.
        prompt_column: column with the prompt; ``""`` if the responses hold their prompts.
        response_column: column with the response. With several, such as ``["chosen", "rejected"]``, each is judged, and
            the added columns have its name too (``guard_chosen_severity``).
        messages_column: column with whole conversations, in place of prompt and response.
        judge: ``"prompt"`` or ``"response"``.
        prefix: of the added columns' names; keeps them apart from the input's own.
        chunk_rows: rows that are judged and journalled together; a kill loses at most so many.
        overwrite: replace `target` if it exists.
        restart: judge all rows again, even if a journal has finished ones.
        keep_going: go on when the guard fails on most texts of a chunk: its rows end as ``guard_error`` or ``timeout``.
        progress: show a bar with rate and remaining time on standard error.

    Raises:
        UserError: the files or arguments cannot work; names the field and the fix.
        OutageError: the guard failed on most texts of a chunk. The chunks before it are kept: the same job resumes.
    """
    if chunk_rows < 1:
        raise UserError(f"chunk_rows should be at least 1, found {chunk_rows}")
    write = table_writer(Path(source), Path(target))
    table = open_table(Path(source))
    columns = _choose(table, prompt_column, response_column, messages_column, judge)
    fields = _fields(table, columns, prefix, is_stream=False)
    job = _Job(table, without_link(Path(target)), write, columns, fields, chunk_rows, overwrite, keep_going)
    _check_target(job)
    rehearse(job.write, table, job.fields)
    loaded = cast("Guard", guard) if hasattr(guard, "moderate") else guard()
    if getattr(loaded, "gives_tokens", False):
        job = replace(job, fields=_fields(table, columns, prefix, is_stream=True), is_stream=True)
    return _run(job, loaded, restart, progress)


@dataclass(frozen=True)
class _Job:
    """What to judge, and where to write it."""

    table: Table
    target: Path
    write: TableWriter
    columns: list[TextColumns]
    fields: list[Field]
    chunk_rows: int
    overwrite: bool
    keep_going: bool
    is_stream: bool = False

    @property
    def journal_path(self) -> Path:
        return self.target.with_name(f"{self.target.name}.journal")

    @property
    def judged(self) -> str:
        return ", ".join(columns.judged for columns in self.columns)

    def describe(self, guard: Mapping[str, str], input_hash: str) -> dict[str, str]:
        """What the journal of this job must have been written for."""
        return {
            "input": input_hash,
            **{name: fact for name, fact in guard.items() if name != "served_by"},  # the same guard may move
            "judged": self.judged,
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
        remove_leftovers(job.target)
        resumed, start = journal.row_count, time.perf_counter()
        _judge_rows(job, guard, journal, progress)
        seconds = time.perf_counter() - start
        if _sha256(table.path) != input_hash:
            raise UserError(
                f"'{table.path}' was changed while its rows were judged: put the old file back and give the same "
                "command again, or use --restart to judge the new one"
            )
        counts = Counts([columns.response or "" for columns in job.columns])
        with replacing(job.target) as path:
            job.write(path, table, job.fields, _with_raw(table, counts.counting(journal.results())))
        journal.remove()
    judged = table.row_count - resumed
    return Summary(
        source=str(table.path),
        target=str(job.target),
        judged=job.judged,
        rows=table.row_count,
        judged_rows=judged,
        resumed_rows=resumed,
        **counts.facts(),
        seconds=round(seconds, 3),
        rows_per_second=round(judged / seconds, 2) if judged and seconds else None,
        guard=facts,
    )


def _choose(
    table: Table, prompt: str | None, response: str | Sequence[str] | None, messages: str | None, judge: Judged | None
) -> list[TextColumns]:
    if not table.columns and not table.row_count:  # an empty JSON lines file: no columns, and no rows to miss them
        return [TextColumns(prompt=prompt or "prompt")]
    return choose_columns(table.columns, prompt=prompt, response=response, messages=messages, judge=judge)


def _fields(table: Table, columns: list[TextColumns], prefix: str, *, is_stream: bool) -> list[Field]:
    """The columns to add under their final names."""
    if not prefix.isprintable():  # a command line that is not UTF-8 comes as halves of surrogate pairs
        raise UserError(f"prefix should be a text that can be printed, found {prefix!r}")
    prefixes = [f"{prefix}{judged.response}_" for judged in columns] if len(columns) > 1 else [prefix]
    of_text = [*RESULT_FIELDS[:-1], *([_FLAGGED] if is_stream else []), RESULT_FIELDS[-1]]
    fields = [field._replace(name=start + field.name) for start in prefixes for field in of_text]
    if table.fault_count:
        fields.append(_RAW._replace(name=prefix + _RAW.name))
    taken = [field.name for field in fields if field.name in table.columns]
    if taken:
        raise UserError(f"the input has a column {taken[0]!r} already: choose another --prefix than {prefix!r}")
    return fields


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


def _judge_rows(job: _Job, guard: Guard, journal: Journal, progress: bool) -> None:
    """Judge the rows that the journal does not have yet, chunk by chunk."""

    def judge(texts: list[Any]) -> Sequence[Verdict | Unjudged]:
        verdicts = guard.moderate(texts) if texts else []
        if not job.keep_going:
            check_for_outage(verdicts, journal.row_count)
        return verdicts

    # Chunks start at multiples of chunk_rows, so that a resumed run forms the same batches.
    rows, total = islice(job.table.rows(), journal.row_count, None), job.table.row_count
    with progress_bar(total, "moderate", "row", done=journal.row_count, shown=progress) as bar:
        while chunk := list(islice(rows, job.chunk_rows)):
            journal.append(_judge_chunk(chunk, job.columns, judge, is_stream=job.is_stream))
            bar.update(len(chunk))


def _judge_chunk(
    chunk: list[Row],
    columns: list[TextColumns],
    judge: Callable[[list[Any]], Sequence[Verdict | Unjudged]],
    *,
    is_stream: bool,
) -> list[Result]:
    """One result per row: the values of the added columns for each judged text, one text behind the other."""
    items = [
        Unjudged(Outcome.GUARD_ERROR, reason=row.fault) if row.fault else judged.conversation(row.values)
        for row in chunk
        for judged in columns
    ]
    # A conversation that stands in the chunk several times is judged once: chosen and rejected may be the same.
    conversations = {repr(item): item for item in items if not isinstance(item, Unjudged)}
    verdicts = judge(list(conversations.values()))
    if len(verdicts) != len(conversations):
        raise RuntimeError(f"the guard gave {len(verdicts)} verdicts for {len(conversations)} conversations")
    verdict_of = dict(zip(conversations, verdicts, strict=True))
    verdict_by_item = (item if isinstance(item, Unjudged) else verdict_of[repr(item)] for item in items)
    values = iter(_stream_result(verdict) if is_stream else _result(verdict) for verdict in verdict_by_item)
    return [[value for result in islice(values, len(columns)) for value in result] for _ in chunk]


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


def _stream_result(verdict: Verdict | Unjudged) -> Result:
    """The values of `RESULT_FIELDS`, with the first flagged character before the last."""
    *values, reason = _result(verdict)
    return [*values, verdict.flagged_char if isinstance(verdict, Verdict) else None, reason]


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(float(probability), _DECIMALS)


def _with_raw(table: Table, results: Iterator[Result]) -> Iterator[Result]:
    """The results, followed by the text of faulty lines if the input has any."""
    if not table.fault_count:
        return results
    raws = ((row.raw or None) if row.fault else None for row in table.rows())
    return ([*result, raw] for raw, result in zip(raws, results, strict=True))
