"""`TransformersGuard`: a guard checkpoint in this process."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import torch

from guard_reward._ahead import ahead
from guard_reward.guards.answer_reader import AnswerReader
from guard_reward.guards.assembly import Parts, Settings, assemble, context_length, drop_prefix_cache
from guard_reward.guards.grammar import AnswerGrammar
from guard_reward.guards.inputs import checked_rows, chunks, merged_verdict, not_finite
from guard_reward.guards.local_guard import LocalGuard
from guard_reward.guards.preparation import Preparation, PreparedChunk
from guard_reward.guards.spec import GuardSpec
from guard_reward.models.checkpoint import Checkpoint
from guard_reward.models.lazy import LazyModel
from guard_reward.models.sleep import MODEL_LOCK
from guard_reward.scoring import Generation, ScoringEngine
from guard_reward.verdict import Conversation, Unjudged, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TransformersGuard"]


class TransformersGuard(LocalGuard[Parts]):
    """A causal LM that answers in a known format, scored in batches of one-pass drafts.

    Usually made by `guard_reward.load_guard`; make it directly for a model that was built in memory. A guard from a
    checkpoint pickles as the checkpoint's name and loads again, at first use, in the process where it arrives.

    Args:
        model: the causal LM, which is put into eval mode and frozen; or a checkpoint to load it from.
        tokenizer: of a model built in memory, with the guard's chat template; None for a checkpoint.
        spec: what the guard is shown and what its answers mean; by default found by the architecture, the chat
            template or the name.
        token_budget: maximum number of tokens per forward pass (see `load_guard`).
        compile: see `load_guard`.

    Raises:
        ValueError: weights that ZeRO-3 has partitioned, or a tokenizer without chat template or with ambiguous labels.

    Example:
        >>> from guard_reward.tiny import load_tiny_guard
        >>> guard = load_tiny_guard(device="cpu")
        >>> guard.moderate([[{"role": "user", "content": "How do I use a blue gravok?"}]])[0].severity
        <Severity.UNSAFE: 'Unsafe'>
    """

    def __init__(
        self,
        model: PreTrainedModel | Checkpoint,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        spec: GuardSpec | None = None,
        token_budget: int | None = None,
        compile: bool = False,
    ):
        if isinstance(model, Checkpoint):
            source: Checkpoint | tuple[PreTrainedModel, PreTrainedTokenizerBase] = model
            name = model.name
        else:
            if tokenizer is None:
                raise ValueError("tokenizer: a model built in memory needs its tokenizer")
            # Its own: a thread that uses a fast tokenizer sets its truncation and padding for all other threads.
            source = model, copy.deepcopy(tokenizer)
            name = getattr(model.config, "_name_or_path", "") or type(model).__name__
        settings = Settings(name, spec, token_budget, compile)
        super().__init__(
            LazyModel(source, "AutoModelForCausalLM", partial(assemble, settings), before_sleep=drop_prefix_cache)
        )

    @property
    def model(self) -> PreTrainedModel:
        """The guard's causal LM."""
        return self._parts.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The guard's tokenizer. In another thread than the one that judges, use a copy (``copy.deepcopy``)."""
        return self._parts.codec.tokenizer

    @property
    def spec(self) -> GuardSpec:
        """What the guard is shown and what its answers mean."""
        return self._parts.codec.spec

    @property
    def engine(self) -> ScoringEngine:
        """What scores token ids, behind `moderate`."""
        return self._parts.engine

    @property
    def response_grammar(self) -> AnswerGrammar:
        """What the guard's answers about responses look like."""
        return self._parts.codec.response_grammar

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of input and answer together."""
        return context_length(self.model)

    def encode(self, messages: Conversation) -> list[int]:
        """Exactly what the guard sees of a conversation: the token ids of its whole input.

        Raises:
            ValueError: a conversation that cannot be shown to the guard; names the message and the fault.
        """
        return self._parts.codec.encode(messages)

    def warm_up(self) -> TransformersGuard:
        """Judge one short conversation, so that kernels are compiled and memory is allocated before training starts."""
        self.moderate([[{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}]])
        return self

    def _describe_format(self) -> dict[str, str]:
        parts = self._parts
        ignored = {"ignored_generation_options": parts.ignored_options} if parts.ignored_options else {}
        return {"spec": self.spec.name, "template_hash": parts.codec.prompter.template_hash, **ignored}

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message: a user's (or a late system's) as a prompt, else as a response.

        Text that exceeds the guard's context is judged in overlapping windows and the worst verdict is given
        (`Verdict.windows` says how many there were). A message that contains marks of the guard's own prompt is judged
        as a whole and in parts (`guard_reward.guards.readings`). No row is ever dropped: what cannot be judged is an
        `Unjudged`.

        Long calls are judged in chunks: while the model runs over one, the next is read, encoded and planned in another
        thread. Which rows share a chunk depends on the conversations alone.

        Returns:
            One `Verdict` or `Unjudged` per conversation, in the same order.

        Raises:
            TypeError: not a list of conversations, but text, one conversation, or something else.
        """
        rows = checked_rows(conversations)
        parts = self._parts
        with MODEL_LOCK:
            self.wake()
            prepare = Preparation(rows, parts, parts.batches.budget())  # now: while the model runs, less is free
        numbers = list(chunks(rows))
        answers = AnswerReader(parts.codec)
        judged: dict[Hashable, Verdict | Unjudged] = {}  # window's key → its verdict
        merged: dict[int, Verdict | Unjudged] = {}
        made = (prepare(chunk) for chunk in numbers)
        # A lone chunk has nothing to overlap with. Closed here, no thread outlives an exception that somebody keeps.
        with closing(ahead(made) if len(numbers) > 1 else made) as prepared:
            for chunk in prepared:
                judged.update(answers.read(chunk.windows, self._generate(chunk)))
                for number, row in zip(chunk.numbers, chunk.readings, strict=True):
                    merged[number] = merged_verdict(row, judged)
        return [merged[number] for number in range(len(rows))]

    def _generate(self, chunk: PreparedChunk) -> list[Generation | Exception]:
        """The guard's answers to the windows of a chunk."""
        parts = self._parts

        def score(indices: list[int]) -> list[Generation]:
            # A trainer may have switched autocast on; the guard keeps its own precision.
            with torch.autocast(parts.model.device.type, enabled=False):
                answers = chunk.generate(parts.engine, indices)
            if not all(answer.is_finite for answer in answers):
                raise not_finite()
            return answers

        with MODEL_LOCK:
            self.wake()
            # Memory may have run out since the chunk was planned.
            batches = chunk.batches if parts.batches.limited(chunk.token_budget) == chunk.token_budget else None
            return parts.batches.run([window.ids for window in chunk.windows], score, batches=batches)
