"""`generate_safely`: detect, roll back, intervene while a policy generates.

CARE (arXiv 2509.06982): the last tokens are held back in a buffer before anybody sees them. When the stream guard flags
the text, the buffer is dropped, the policy is made to think again by an introspection text that only it sees, and
generation goes on from what has been shown. What that costs is counted in wait tokens: tokens that were computed and
are not shown.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from guard_reward.guards.needs_stream import check_stream_guard
from guard_reward.streaming.stopping import UnsafeStoppingCriteria
from guard_reward.thinking import OPEN, ends_open
from guard_reward.verdict import Severity, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from guard_reward.guards.stream_guard import StreamGuard
    from guard_reward.verdict import Conversation

__all__ = ["INTROSPECTION", "SafeGeneration", "generate_safely"]

INTROSPECTION = (
    "\n\n[Wait: what I was about to write may be harmful. I should say briefly why, and continue in a way that is safe "
    "and still helps.]\n\n"
)
"""What the policy is made to read after a rollback, unless told otherwise."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SafeGeneration:
    """One reply.

    Attributes:
        text: what is shown.
        severity: the guard's, of `text`; None if it cannot judge it, or if nothing is shown.
        interventions: how often it was rolled back.
        wait_tokens: tokens that were computed and are not shown: dropped ones, and those of introspection texts.
        gave_up: whether the last allowed try was flagged too; `text` then ends with what was shown before it, which may
            be the beginning of something unsafe if the buffer is short.
    """

    text: str
    severity: Severity | None
    interventions: int
    wait_tokens: int
    gave_up: bool


@dataclass(slots=True)
class _Row:
    """A reply that is being generated.

    Attributes:
        messages: of its prompt.
        prompt: its token ids.
        begun: what the chat template has written of the reply: an opening ``<think>``, or nothing.
        shown: token ids that will not be taken back.
        hidden: token ids of introspection texts, behind the shown ones.
    """

    messages: Conversation
    prompt: list[int]
    begun: str
    shown: list[int] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    interventions: int = 0
    wait_tokens: int = 0
    severity: Severity | None = Severity.SAFE
    is_done: bool = False
    gave_up: bool = False


@dataclass(frozen=True, slots=True)
class _Rules:
    """The settings of `generate_safely`; `introspection` as token ids."""

    buffer: int
    retries: int
    introspection: list[int]
    stop_at: Severity
    max_new_tokens: int


def generate_safely(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    guard: StreamGuard,
    conversations: Sequence[Conversation],
    *,
    buffer: int = 40,
    retries: int = 5,
    introspection: str = INTROSPECTION,
    stop_at: Severity = Severity.CONTROVERSIAL,
    max_new_tokens: int = 512,
    **generation: Any,
) -> list[SafeGeneration]:
    """Replies that are rolled back where they become unsafe.

    Args:
        model: the policy.
        tokenizer: the policy's, with a chat template.
        guard: a stream guard; its tokenizer may be another one.
        conversations: prompts, as chat messages; all are generated in one batch.
        buffer: how many tokens are held back: a rollback drops those, and keeps what stands before them.
        retries: rollbacks per reply; if the text is flagged again after them, the reply ends with what was shown.
        introspection: what the policy reads behind the shown text after a rollback; may be empty.
        stop_at: the severity from which a text is rolled back.
        max_new_tokens: of a reply, introspection not counted.
        **generation: for ``model.generate``: ``do_sample``, ``temperature``, …

    Returns:
        One reply per conversation, in order.

    Raises:
        ValueError: not a stream guard, a negative `buffer` or `retries`, beams or several replies per conversation, or
            a conversation that the guard cannot be shown.
    """
    if buffer < 0 or retries < 0:
        raise ValueError(f"buffer and retries should not be negative, found {buffer} and {retries}")
    _check(guard, conversations, generation)
    if not introspection and not generation.get("do_sample", model.generation_config.do_sample):
        logger.warning("a retry without sampling and without introspection repeats itself: pass do_sample=True")
    rows = [_row(tokenizer, messages) for messages in conversations]
    hidden = tokenizer(introspection, add_special_tokens=False)["input_ids"] if introspection else []
    rules = _Rules(buffer, retries, list(hidden), stop_at, max_new_tokens)
    while active := [row for row in rows if not row.is_done]:
        found = _continued(model, tokenizer, guard, active, rules, generation)
        for row, one in zip(active, found, strict=True):
            _take(row, one, rules)
    _judge_what_was_given_up(guard, tokenizer, rows)
    return [
        SafeGeneration(
            tokenizer.decode(row.shown, skip_special_tokens=True),
            row.severity,
            row.interventions,
            row.wait_tokens,
            row.gave_up,
        )
        for row in rows
    ]


def _check(guard: StreamGuard, conversations: Sequence[Conversation], generation: dict[str, Any]) -> None:
    """Refuse at once what would fail after minutes of generation."""
    check_stream_guard(guard, "generate_safely")
    if refused := [name for name in ("num_beams", "num_return_sequences") if generation.get(name, 1) != 1]:
        raise ValueError(f"{refused[0]}: one reply per conversation is generated, token by token; leave it out")
    for messages in conversations:
        guard.open(messages).close()


@dataclass(frozen=True, slots=True)
class _Try:
    """What a row went on with.

    Attributes:
        ids: without the end token.
        severity: of the whole text; None if the guard cannot judge it.
        is_flagged: whether it is rolled back.
    """

    ids: list[int]
    severity: Severity | None
    is_flagged: bool


def _take(row: _Row, one: _Try, rules: _Rules) -> None:
    """Show what a try has written, or roll it back."""
    if not one.is_flagged:
        row.shown += one.ids
        row.severity, row.is_done = one.severity, True
        return
    kept = one.ids[: max(len(one.ids) - rules.buffer, 0)]
    row.shown += kept
    row.wait_tokens += len(one.ids) - len(kept)
    if row.interventions == rules.retries or len(row.shown) >= rules.max_new_tokens:
        row.is_done = row.gave_up = True
        return
    row.interventions += 1
    row.hidden += rules.introspection
    row.wait_tokens += len(rules.introspection)


def _judge_what_was_given_up(guard: StreamGuard, tokenizer: PreTrainedTokenizerBase, rows: Sequence[_Row]) -> None:
    """A reply that was given up ends in the middle of what was flagged: what is left is judged by itself."""
    for row in rows:
        row.severity = None if row.gave_up else row.severity
    left = [row for row in rows if row.gave_up and row.shown]
    texts = [{"role": "assistant", "content": _text(tokenizer, row)} for row in left]
    verdicts = guard.moderate([[*row.messages, text] for row, text in zip(left, texts, strict=True)])
    for row, verdict in zip(left, verdicts, strict=True):
        row.severity = verdict.severity if isinstance(verdict, Verdict) else None


def _continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    guard: StreamGuard,
    rows: Sequence[_Row],
    rules: _Rules,
    generation: dict[str, Any],
) -> list[_Try]:
    """What each row goes on with, up to its end, its limit or the first flagged token."""
    inputs = [row.prompt + row.shown + row.hidden for row in rows]
    batch = tokenizer.pad({"input_ids": inputs}, padding=True, padding_side="left", return_tensors="pt")
    left = [rules.max_new_tokens - len(row.shown) for row in rows]
    written = [_text(tokenizer, row) for row in rows]
    messages = [row.messages for row in rows]
    stop = UnsafeStoppingCriteria(guard, tokenizer, messages, written=written, stop_at=rules.stop_at)
    try:
        with torch.inference_mode():
            output = model.generate(
                **batch.to(model.device), max_new_tokens=max(left), stopping_criteria=[stop], **generation
            )
        generated = output[:, batch["input_ids"].shape[1] :].tolist()
        new = [_up_to_the_end(ids, model, tokenizer)[:most] for ids, most in zip(generated, left, strict=True)]
        severities = stop.finish(tokenizer.batch_decode(new, skip_special_tokens=True))
        stopped = stop.stopped or []
        return [
            _Try(ids, severity, is_stopped or severity is None or severity >= rules.stop_at)
            for ids, severity, is_stopped in zip(new, severities, stopped, strict=True)
        ]
    finally:
        stop.close()


def _row(tokenizer: PreTrainedTokenizerBase, messages: Conversation) -> _Row:
    text = str(tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False))
    begun = f"{OPEN}\n" if ends_open(text) else ""
    return _Row(messages, tokenizer(text, add_special_tokens=False)["input_ids"], begun)


def _text(tokenizer: PreTrainedTokenizerBase, row: _Row) -> str:
    """What a reply shows so far, as the guard reads it."""
    return row.begun + str(tokenizer.decode(row.shown, skip_special_tokens=True))


def _up_to_the_end(ids: list[int], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Generated ids without the end token and the padding behind it."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    known = {tokenizer.eos_token_id, tokenizer.pad_token_id, *(ends if isinstance(ends, list) else [ends])}
    return ids[: next((place for place, token in enumerate(ids) if token in known), len(ids))]
