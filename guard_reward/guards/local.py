"""`TransformersGuard`: a guard checkpoint in this process."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guard_reward.conversation import normalize
from guard_reward.guards.base import Conversation
from guard_reward.guards.loading import Checkpoint
from guard_reward.guards.windows import split_into_windows, worst_verdict
from guard_reward.prompting import Prompter
from guard_reward.scoring import BatchRunner, Generation, VerdictEngine, VerdictGrammar
from guard_reward.verdict import Outcome, Probabilities, Unjudged, Verdict, parse_verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TransformersGuard"]

MAX_NEW_TOKENS = 128  # of Qwen3Guard's model card
ACCELERATOR_TOKEN_BUDGET, CPU_TOKEN_BUDGET = 65_536, 8_192


class TransformersGuard:
    """A causal LM that answers in Qwen3Guard-Gen's format, scored in batches of one-pass drafts.

    Usually made by `guard_reward.load_guard`; directly from a model and its tokenizer for models built in memory. A
    guard made by `load_guard` pickles as its checkpoint's name and loads again, at first use, wherever it arrives.

    Args:
        model: the causal LM; is put into eval mode and frozen.
        tokenizer: with the guard's chat template.
        token_budget: most tokens, padding included, in one forward pass (see `load_guard`).

    Raises:
        ValueError: weights that ZeRO-3 has partitioned; a tokenizer without chat template or with ambiguous labels.

    Example:
        >>> from guard_reward.tiny import load_tiny_guard
        >>> guard = load_tiny_guard()                                                   # doctest: +SKIP
        >>> guard.moderate([[{"role": "user", "content": "bake a cake"}]])[0].severity  # doctest: +SKIP
        <Severity.SAFE: 'Safe'>
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, token_budget: int | None = None):
        self._checkpoint: Checkpoint | None = None
        self._token_budget = token_budget
        self._loaded: _Loaded | None = _assemble(model, tokenizer, token_budget)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, token_budget: int | None = None) -> TransformersGuard:
        """Load a guard that can be pickled by its checkpoint's name; see `load_guard`."""
        guard = cls.__new__(cls)
        guard._checkpoint, guard._token_budget, guard._loaded = checkpoint, token_budget, None
        guard._parts  # noqa: B018  load now: a missing checkpoint should fail on the user's own line
        return guard

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ if self._checkpoint is None else {**self.__dict__, "_loaded": None}

    @property
    def _parts(self) -> _Loaded:
        if self._loaded is None:
            from transformers import AutoModelForCausalLM

            assert self._checkpoint is not None
            self._loaded = _assemble(*self._checkpoint.load(AutoModelForCausalLM), self._token_budget)
        return self._loaded

    @property
    def model(self) -> PreTrainedModel:
        """The guard's causal LM."""
        return self._parts.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The guard's tokenizer."""
        return self._parts.prompter.tokenizer

    @property
    def name(self) -> str:
        """Hub id or folder; for a model built in memory, its class."""
        return self._checkpoint.name if self._checkpoint else type(self.model).__name__

    @property
    def context_length(self) -> int:
        """Most tokens of input and answer together."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    def encode(self, messages: Conversation) -> list[int]:
        """Exactly what the guard sees for a conversation: the token ids of its whole input.

        Raises:
            ValueError: a conversation that cannot be shown to a guard; names the message and the fault.
        """
        return self._parts.prompter.encode(messages)

    def warm_up(self) -> TransformersGuard:
        """Judge one short conversation, so that kernels are compiled and memory is taken before training starts."""
        self.moderate([[{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}]])
        return self

    def describe(self) -> dict[str, str]:
        """What decides the verdicts, for the run's record."""
        return {
            "guard": self.name,
            "revision": self._revision,
            "template_hash": self._parts.prompter.template_hash,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.model.device),
            "torch": torch.__version__,
            "transformers": version("transformers"),
        }

    @property
    def _revision(self) -> str:
        """Which weights: the hub's commit, else the state of the folder's files."""
        commit = getattr(self.model.config, "_commit_hash", None)
        if commit or self._checkpoint is None:
            return commit or "unknown"
        files = sorted(path for path in Path(self._checkpoint.name).glob("*") if path.is_file())
        state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return f"files {hashlib.sha256(repr(state).encode()).hexdigest()[:12]}"

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message: a user's (or a late system's) as a prompt, else as a response.

        Text that exceeds the guard's context is judged in overlapping windows and the worst verdict is given
        (`Verdict.windows` says of how many). No row is ever dropped: what cannot be judged comes back as `Unjudged`.

        Returns:
            One `Verdict` or `Unjudged` a conversation, in the same order.
        """
        prepared = [self._prepare(conversation) for conversation in conversations]
        inputs = [window for windows in prepared if isinstance(windows, list) for window in windows]
        verdicts = iter(self._judge(inputs))
        return [
            windows if isinstance(windows, Unjudged) else worst_verdict([next(verdicts) for _ in windows])
            for windows in prepared
        ]

    def _prepare(self, conversation: Conversation) -> list[_Window] | Unjudged:
        """The guard's input for one conversation: one window, or several where the context is too short for it."""
        limit = self.context_length - MAX_NEW_TOKENS
        try:
            turns = normalize(conversation)
            is_response = turns[-1]["role"] != "user"
            ids = self.encode(turns)
        except Exception as error:  # a template may raise anything, and one bad row must not stop the others
            return Unjudged(Outcome.GUARD_ERROR, reason=f"{type(error).__name__}: {error}")
        if len(ids) <= limit:
            return [_Window(ids, is_response)]
        try:
            windows = split_into_windows(turns, limit, lambda messages: len(self.encode(messages)), self._cut)
        except ValueError as error:
            return Unjudged(Outcome.TOO_LONG, reason=str(error))
        return [_Window(self.encode(window), is_response) for window in windows]

    def _cut(self, text: str, size: int, overlap: int) -> list[str]:
        """`text` in parts of at most `size` tokens that overlap by `overlap` tokens."""
        encoding = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        offsets: list[tuple[int, int]] = encoding["offset_mapping"]
        if len(offsets) <= size:
            return [text]
        starts = range(0, max(len(offsets) - overlap, 1), size - overlap)
        # Up to the beginning of the next token, so that nothing between two tokens is lost.
        ends = [begin for begin, _ in offsets] + [len(text)] * (size + 1)
        return [text[offsets[start][0] if start else 0 : ends[start + size]] for start in starts]

    def _judge(self, windows: Sequence[_Window]) -> list[Verdict | Unjudged]:
        parts = self._parts

        def score(indices: list[int]) -> list[Generation]:
            chosen = [windows[index] for index in indices]
            grammars = [parts.response_grammar if w.is_response else parts.prompt_grammar for w in chosen]
            # A trainer may have switched autocast on; the guard keeps its own precision.
            with torch.autocast(parts.model.device.type, enabled=False):
                return parts.engine.generate([w.ids for w in chosen], grammars)

        generations = parts.runner.run([len(window.ids) for window in windows], score)
        return [self._verdict(g, w.is_response) for g, w in zip(generations, windows, strict=True)]

    def _verdict(self, generation: Generation | Exception, is_response: bool) -> Verdict | Unjudged:
        if isinstance(generation, Exception):
            return Unjudged(Outcome.GUARD_ERROR, reason=f"{type(generation).__name__}: {generation}")
        text = self.tokenizer.decode(generation.token_ids, skip_special_tokens=True)
        verdict = parse_verdict(text, refusal_required=is_response)
        if isinstance(verdict, Unjudged):
            return verdict
        return _with_probabilities(verdict, generation)


@dataclass(frozen=True, slots=True)
class _Window:
    """One input of the guard: its token ids, and whether a response is judged (or a prompt)."""

    ids: list[int]
    is_response: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A loaded guard's parts."""

    model: PreTrainedModel
    prompter: Prompter
    prompt_grammar: VerdictGrammar
    response_grammar: VerdictGrammar
    engine: VerdictEngine
    runner: BatchRunner[Generation]


def _assemble(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, token_budget: int | None) -> _Loaded:
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise ValueError(
            "the guard's weights are partitioned by ZeRO-3; load the guard with guard_reward.load_guard, which keeps "
            "it whole, or load the model before the trainer's configuration is created"
        )
    model = model.eval().requires_grad_(False)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    return _Loaded(
        model=model,
        prompter=Prompter(tokenizer),
        prompt_grammar=VerdictGrammar(encode, with_refusal=False),
        response_grammar=VerdictGrammar(encode, with_refusal=True),
        engine=VerdictEngine(model, _end_token_ids(model, tokenizer), MAX_NEW_TOKENS),
        runner=BatchRunner(
            token_budget or (CPU_TOKEN_BUDGET if model.device.type == "cpu" else ACCELERATOR_TOKEN_BUDGET)
        ),
    )


def _end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Where ``generate`` would stop: the generation config's end tokens, else the tokenizer's."""
    ids = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = tokenizer.eos_token_id if ids is None else ids
    if ids is None:
        raise ValueError("neither the guard's generation_config nor its tokenizer names an end token (eos_token_id)")
    return ids if isinstance(ids, list) else [ids]


def _with_probabilities(verdict: Verdict, generation: Generation) -> Verdict:
    """Add P(Safe), P(Controversial), P(Unsafe) and P(refusal) from the logits that decided them."""
    if generation.severity_log_probs is None:
        return verdict
    masses = [math.exp(value) for value in generation.severity_log_probs[:3]]
    label_mass = sum(masses)
    refusal_probability = None
    if verdict.refusal is not None and generation.refusal_log_probs is not None:
        yes, no = (math.exp(value) for value in generation.refusal_log_probs[3:])
        refusal_probability = yes / (yes + no)
    return replace(
        verdict,
        probabilities=Probabilities(*(mass / label_mass for mass in masses)),
        label_mass=label_mass,
        refusal_probability=refusal_probability,
    )
