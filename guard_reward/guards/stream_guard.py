"""`StreamGuard`: Qwen3Guard-Stream, a classifier with a verdict at every token."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

from guard_reward.guards.assembly import context_length, refuse_partitioned
from guard_reward.guards.inputs import checked_rows, chunks, guard_error, not_finite
from guard_reward.guards.local_guard import LocalGuard
from guard_reward.guards.stream_inputs import JudgedMessage, StreamEncoder, Window
from guard_reward.guards.stream_reading import MessageReadings, StreamReader
from guard_reward.guards.stream_session import ContextOverflowError, StreamSession
from guard_reward.models.checkpoint import Checkpoint
from guard_reward.models.lazy import LazyModel
from guard_reward.models.sleep import MODEL_LOCK
from guard_reward.scoring import BatchRunner, GrowingRow, TokenLogitsEngine, choose_runner, token_budget
from guard_reward.verdict import Conversation, TokenTrace, TokenVerdict, Unjudged, Verdict

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from guard_reward.models.stream_model import Qwen3ForGuardModel, StreamLabels

__all__ = ["StreamGuard"]

MAX_SESSIONS = 4_096  # open at a time


@dataclass(frozen=True, slots=True)
class _Parts:
    """A loaded stream guard."""

    model: Qwen3ForGuardModel
    tokenizer: PreTrainedTokenizerBase
    encoder: StreamEncoder
    reader: StreamReader
    engine: TokenLogitsEngine
    batches: BatchRunner[Tensor]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One message and what the heads say at its tokens."""

    message: JudgedMessage
    readings: MessageReadings


class StreamGuard(LocalGuard[_Parts]):
    """A stream guard in this process; usually made by `guard_reward.load_guard`.

    It reads a conversation in Qwen3's chat format, without instructions in front, and judges every token of the last
    message. Attention is causal, so one forward over a finished message gives what reading it token by token would
    have given; nothing is generated. It has no refusal output: `Verdict.refusal` is None.

    It runs on the engine of the other guards: beginnings that rows share are computed once, batches fit into memory, it
    can sleep, and ZeRO-3 leaves it whole. It pickles as its checkpoint's name.

    Args:
        model: the model, which is put into eval mode and frozen; or a checkpoint to load it from.
        tokenizer: of a model built in memory; None for a checkpoint.
        token_budget: maximum number of tokens per forward pass (see `load_guard`).
        compile: see `load_guard`.

    Raises:
        ValueError: weights that ZeRO-3 has partitioned, that are missing or have another shape than the config says; a
            config without the heads' sizes; a tokenizer without Qwen3's turn tokens.

    >>> from guard_reward import load_guard
    >>> guard = load_guard("Qwen/Qwen3Guard-Stream-0.6B")                                       # doctest: +SKIP
    >>> conversation = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    >>> guard.moderate([conversation])[0].severity                                             # doctest: +SKIP
    <Severity.SAFE: 'Safe'>
    >>> guard.trace([conversation])[0].probabilities.shape                                     # doctest: +SKIP
    (3, 3)
    """

    gives_refusals = False
    gives_tokens = True

    def __init__(
        self,
        model: Qwen3ForGuardModel | Checkpoint,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        token_budget: int | None = None,
        compile: bool = False,
    ):
        if token_budget is not None and token_budget < 1:
            raise ValueError(f"token_budget must be at least 1, found {token_budget}; None chooses by free memory")
        source: Checkpoint | tuple[Any, PreTrainedTokenizerBase]
        if isinstance(model, Checkpoint):
            source = model
        elif tokenizer is None:
            raise ValueError("tokenizer: a model built in memory needs its tokenizer")
        else:
            # Its own: a thread that uses a fast tokenizer sets its truncation and padding for all other threads.
            source = model, copy.deepcopy(tokenizer)
        model_class = "guard_reward.models.stream_model.Qwen3ForGuardModel"
        assembled = partial(_assemble, token_budget, compile)
        super().__init__(LazyModel(source, model_class, assembled, before_sleep=_forget))

    @property
    def model(self) -> Qwen3ForGuardModel:
        """The backbone with its heads."""
        return self._parts.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The guard's tokenizer. In another thread than the one that judges, use a copy (``copy.deepcopy``)."""
        return self._parts.tokenizer

    @property
    def labels(self) -> StreamLabels:
        """The names of risks and categories."""
        return self._parts.reader.labels

    @property
    def context_length(self) -> int:
        """Tokens that it reads at once; longer messages are judged in windows."""
        return context_length(self.model)

    def encode(self, messages: Conversation) -> list[int]:
        """Exactly what the guard reads of a conversation, up to the end of the last message.

        Raises:
            ValueError: a conversation that cannot be shown to the guard; says why.
        """
        (message,) = self._parts.encoder.encode([messages])
        if isinstance(message, Unjudged):
            raise ValueError(message.reason)
        return message.ids.tolist()

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message: a user's as a prompt, else as a response.

        A response's severity follows the rule of `guard_reward.guards.stream_rules`. Its probabilities and its category
        are those of the token from which it is flagged, or, if it is safe, the probabilities of its riskiest token. A
        prompt is judged at its end token. What exceeds the context is judged in windows of its tokens.

        Returns:
            One `Verdict` or `Unjudged` per conversation, in the same order.

        Raises:
            TypeError: not a list of conversations.
        """
        return [it if isinstance(it, Unjudged) else self._verdict(it) for it in self._judge(conversations)]

    def trace(self, conversations: Sequence[Conversation]) -> list[TokenTrace | Unjudged]:
        """What the guard says at every token of each conversation's last message.

        Of a response all tokens are read, of a prompt too, but its verdict is that of its end token.

        Returns:
            One `guard_reward.verdict.TokenTrace` or `Unjudged` per conversation, in the same order.

        Raises:
            TypeError: not a list of conversations.
        """
        return [it if isinstance(it, Unjudged) else self._trace(it) for it in self._judge(conversations)]

    def open(self, messages: Conversation, *, role: str = "assistant", has_thinking: bool = False) -> StreamSession:
        """A session, in which a message is judged while it is written.

        Args:
            messages: the conversation in front of the message; may be empty for a user's message.
            role: who writes it, ``"assistant"`` or ``"user"``.
            has_thinking: whether a response's tokens will begin with its thinking, ``<think>`` among them. This tag is
                not judged: its risk is Safe.

        Raises:
            ValueError: messages that cannot be shown, or that fill the context; another role.
            RuntimeError: 4,096 sessions are open.
        """
        if role not in ("assistant", "user"):
            raise ValueError(f"role should be 'assistant' or 'user', found {role!r}")
        parts = self._parts
        waiting = parts.encoder.opened(messages, role=role, has_thinking=has_thinking).tolist()
        if len(waiting) >= self.context_length:
            raise ValueError(f"the messages take {len(waiting):,} tokens of the guard's {self.context_length:,}")
        with MODEL_LOCK:
            if parts.engine.growing_rows >= MAX_SESSIONS:
                raise RuntimeError(f"{MAX_SESSIONS:,} sessions are open: close those that have ended")
            opening = parts.encoder.opening_ids if has_thinking else []
            session = StreamSession(self, waiting, opening, is_response=role == "assistant")
            parts.engine.begin(session.row)
        weakref.finalize(session, self._drop, session.row)  # a session that nobody has any more keeps nothing
        return session

    def feed_many(
        self, sessions: Sequence[StreamSession], token_ids: Sequence[Sequence[int]]
    ) -> list[list[TokenVerdict]]:
        """Judge the next tokens of several sessions in one forward.

        Args:
            sessions: open ones of this guard, each once.
            token_ids: of each session, by the guard's tokenizer; may be empty. They are taken as they are: text from
                others must be tokenised with ``split_special_tokens=True``, or it can forge control tokens
                (`guard_reward.streaming.TextFeed` does that).

        Returns:
            A verdict per token, per session.

        Raises:
            TypeError: text instead of token ids.
            ValueError: a closed session, another guard's, one that is there twice, an id that the guard's vocabulary
                does not have; a `ContextOverflowError` for more tokens than the guard's context holds. Then no session
                has changed.
            RuntimeError: the guard's outputs are not finite numbers.
        """
        parts = self._parts
        with MODEL_LOCK:
            self._check(sessions, token_ids)
            fed = [(session, list(ids)) for session, ids in zip(sessions, token_ids, strict=True) if len(ids)]
            if not fed:
                return [[] for _ in sessions]
            self.wake()
            added = [session.waiting + ids for session, ids in fed]
            silent = [len(session.waiting) for session, _ in fed]
            logits = parts.engine.extend([session.row for session, _ in fed], added, silent)
            if not all(part.isfinite().all() for part in logits):
                for (session, _), tokens in zip(fed, added, strict=True):
                    parts.engine.truncate(session.row, len(session.row.token_ids) - len(tokens))
                raise RuntimeError(f"{not_finite()}: no session has changed")
            found = {
                id(session): session.take(ids, part, parts.reader)
                for (session, ids), part in zip(fed, logits, strict=True)
            }
        return [found.get(id(session), []) for session in sessions]

    def closed(self, session: StreamSession) -> None:
        """Free what is kept for a session; `StreamSession.close` calls it."""
        self._drop(session.row)

    def rewound(self, session: StreamSession, tokens: int) -> None:
        """Take a session's last tokens back; `StreamSession.rewind` calls it."""
        with MODEL_LOCK:
            self._parts.engine.truncate(session.row, len(session.row.token_ids) - tokens)

    def _drop(self, row: GrowingRow) -> None:
        if (parts := self._lazy.parts) is not None:
            with MODEL_LOCK:
                parts.engine.drop(row)

    def _describe_format(self) -> dict[str, str]:
        return {"spec": "qwen3guard-stream", "template_hash": self._parts.encoder.prompter.template_hash}

    def _check(self, sessions: Sequence[StreamSession], token_ids: Sequence[Sequence[int]]) -> None:
        if len(sessions) != len(token_ids):
            raise ValueError(f"found tokens for {len(token_ids)} of {len(sessions)} sessions")
        if len({id(session) for session in sessions}) < len(sessions):
            raise ValueError("a session is there twice: give all its tokens at once")
        size = self.model.config.vocab_size
        for session, ids in zip(sessions, token_ids, strict=True):
            if not session.is_of(self):
                raise ValueError(f"{session!r} is another guard's")
            if session.is_closed:
                raise ValueError(f"{session!r} takes no more tokens")
            if not all(isinstance(token, Integral) for token in ids):
                raise TypeError("a session takes token ids; for text use guard_reward.streaming.TextFeed")
            if not all(0 <= token < size for token in ids):
                raise ValueError(f"token ids should be 0 to {size - 1}: were they made with the guard's tokenizer?")
            total = len(session.row.token_ids) + len(session.waiting) + len(ids)
            if total > self.context_length:
                raise ContextOverflowError(
                    f"{total:,} tokens in a session; the guard's context has {self.context_length:,}"
                )

    def _judge(self, conversations: Sequence[Conversation]) -> list[_Judged | Unjudged]:
        rows = checked_rows(conversations)
        found: dict[int, _Judged | Unjudged] = {}
        for numbers in chunks(rows):
            messages = self._parts.encoder.encode([rows[number] for number in numbers])
            found.update(zip(numbers, self._read(messages), strict=True))
        return [found[number] for number in range(len(rows))]

    def _read(self, messages: Sequence[JudgedMessage | Unjudged]) -> list[_Judged | Unjudged]:
        parts = self._parts
        cut = [[] if isinstance(message, Unjudged) else message.windows() for message in messages]
        distinct = {window.ids.tobytes(): window.ids for row in cut for window in row}
        ids = list(distinct.values())

        def score(batch: list[int]) -> list[Tensor]:
            logits = parts.engine.logits([ids[index] for index in batch])
            if not all(part.isfinite().all() for part in logits):
                raise not_finite()
            return logits

        with MODEL_LOCK:
            self.wake()
            found = parts.batches.run(ids, score)
        logits = dict(zip(distinct, found, strict=True))
        return [
            message
            if isinstance(message, Unjudged)
            else self._judged(message, row, [logits[window.ids.tobytes()] for window in row])
            for message, row in zip(messages, cut, strict=True)
        ]

    def _judged(
        self, message: JudgedMessage, windows: Sequence[Window], logits: Sequence[Tensor | Exception]
    ) -> _Judged | Unjudged:
        read = partial(self._parts.reader.read, is_response=message.is_response)
        found = []
        for window, part in zip(windows, logits, strict=True):
            if isinstance(part, Exception):
                return guard_error(part)
            found.append(read(part[window.start :]))
        repeated = [window.repeated for window in windows]
        readings = MessageReadings.of_windows(found, repeated, message.closing, is_response=message.is_response)
        return _Judged(message, readings)

    def _verdict(self, judged: _Judged) -> Verdict:
        _, flagged = judged.readings.decision()
        if flagged is None or not judged.message.is_response:
            return judged.readings.verdict(None)
        return judged.readings.verdict(int(self._parts.encoder.offsets(judged.message)[flagged, 0]))

    def _trace(self, judged: _Judged) -> TokenTrace:
        message, readings = judged.message, judged.readings
        severity, flagged = readings.decision()
        offsets = self._parts.encoder.offsets(message)
        return TokenTrace(
            token_ids=message.ids[message.start :],
            probabilities=readings.tokens.probabilities,
            categories=readings.tokens.categories,
            severity=severity,
            flagged=flagged,
            flagged_char=None if flagged is None or not message.is_response else int(offsets[flagged, 0]),
            offsets=offsets,
            is_thinking=offsets[:, 0] < message.thinking_end,
            text=message.text,
            windows=len(readings.ends.categories),
        )


def _assemble(
    budget: int | None, compile: bool, model: Qwen3ForGuardModel, tokenizer: PreTrainedTokenizerBase
) -> _Parts:
    """A stream guard's parts.

    Raises:
        ValueError: see `StreamGuard`.
    """
    refuse_partitioned(model)
    model = model.eval().requires_grad_(False)

    def tokens() -> int:
        return budget or token_budget(model)

    batches: BatchRunner[Tensor] = BatchRunner(tokens, cuts_rows=True)
    engine = TokenLogitsEngine(
        model,
        runner=choose_runner(model, compile=compile),
        max_pass_tokens=lambda: batches.part_tokens(tokens()),
    )
    encoder = StreamEncoder(tokenizer, context_length(model))
    return _Parts(model, tokenizer, encoder, StreamReader(model.labels), engine, batches)


def _forget(parts: _Parts) -> None:
    """Free what can be computed again."""
    parts.engine.forget()
