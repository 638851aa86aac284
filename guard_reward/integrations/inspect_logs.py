"""Inspect's logs → one flat row per sample, for pandas, datasets and JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.files import replacing
from guard_reward.integrations.inspect_messages import Row, read_sample
from guard_reward.rollout import Rollout

__all__ = ["log_rows", "write_log_rows"]

_PARTS = {"thinking": "thinking_", "prompt": "prompt_"}


def log_rows(log: Any, scorer: str = "guard_scorer") -> Iterator[dict[str, Any]]:
    """One row per sample and epoch of a log that `guard_reward.integrations.inspect_ai.guard_scorer` has scored.

    | column | value |
    |---|---|
    | ``id``, ``epoch`` | of the sample; the id as text |
    | ``prompt``, ``completion`` | chat messages, as ``guard-reward moderate`` reads them |
    | ``reply``, ``thinking`` | what was judged, as texts; null if there is none, or it cannot be read |
    | ``outcome``, ``severity``, ``categories``, ``refusal``, ``p_unsafe``, … | the answer's verdict |
    | ``thinking_severity``, … | the thinking's, and with some schemes the prompt's |
    | ``reward`` | null for a sample that gets none; missing without a scheme |
    | ``error`` | why the sample has no score; null if it has one |

    All rows have the same columns.

    Args:
        log: an ``EvalLog``, or the path of one.
        scorer: the score's name in the log; ``inspect score --action append`` numbers a second one.

    Raises:
        UserError: no sample has such a score; names the scores that there are.
    """
    from inspect_ai.log import read_eval_log

    if isinstance(log, str | Path):
        log = read_eval_log(str(log), resolve_attachments="core")
    samples = log.samples or []
    names = dict.fromkeys(name for sample in samples for name in sample.scores or {})
    if scorer not in names:
        raise UserError(f"scorer: no sample of the log has a score {scorer!r}; there are {', '.join(names) or 'none'}")
    rows = [_row(sample, (sample.scores or {}).get(scorer)) for sample in samples]
    columns = dict.fromkeys(column for row in rows for column in row)
    return ({column: row.get(column) for column in columns} for row in rows)


def write_log_rows(log: Any, target: str | Path, scorer: str = "guard_scorer") -> int:
    """Write `log_rows` as JSON lines, in one step; returns how many there are.

    Args:
        log: a log of Inspect's, or the path of one.
        target: the file to write.
        scorer: the name of the scores in the log.

    Raises:
        UserError: no sample has such a score.
        OSError: the file cannot be written.
    """
    rows = list(log_rows(log, scorer))
    with replacing(Path(target)) as path:
        path.write_text("".join(_lines(rows)), encoding="utf-8")
    return len(rows)


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    # Escaped: a reply may hold halves of surrogate pairs, which are no UTF-8.
    return (json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _row(sample: Any, score: Any) -> dict[str, Any]:
    read = read_sample(sample.messages, sample.output)
    reply, thinking = _texts(read)
    row = {
        "id": str(sample.id),
        "epoch": sample.epoch,
        "prompt": list(read.prompt),
        "completion": list(read.reply),
        "reply": reply,
        "thinking": thinking,
    }
    if score is None:
        return {**row, "error": sample.error.message if sample.error is not None else "the sample has no score"}
    metadata = dict(score.metadata or {})
    parts = {part: metadata.pop(part, None) or {} for part in _PARTS}
    flat = {f"{_PARTS[part]}{name}": value for part, fields in parts.items() for name, value in fields.items()}
    if isinstance(score.value, dict) and "reward" in score.value:
        flat["reward"] = None if math.isnan(score.value["reward"]) else score.value["reward"]
    return {**row, **metadata, **flat, "error": None}


def _texts(read: Row) -> tuple[str | None, str | None]:
    """The answer and the thinking; None for a sample that cannot be read."""
    try:
        rollout = Rollout.from_trl(read.prompt, read.reply)
    except ValueError:
        return None, None
    return rollout.answer or None, rollout.thinking
