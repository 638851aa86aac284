"""`TransformersGuard`: a guard checkpoint in this process."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guard_reward.conversation import normalize
from guard_reward.guards.windows import split_into_windows, worst_verdict
from guard_reward.models.chat_template import Prompter
from guard_reward.models.checkpoint import Checkpoint
from guard_reward.models.sleep import MODEL_LOCK, Sleeper
from guard_reward.scoring import (
    BatchRunner,
    Generation,
    Usage,
    VerdictEngine,
    VerdictGrammar,
    choose_road,
    token_budget,
)
from guard_reward.verdict import Conversation, Outcome, Probabilities, Unjudged, Verdict, parse_verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TransformersGuard"]

logger = logging.getLogger(__name__)
MAX_NEW_TOKENS = 128  # of Qwen3Guard's model card


class TransformersGuard(Sleeper):
    """A causal LM that answers in Qwen3Guard-Gen's format, scored in batches of one-pass drafts.

    Usually made by `guard_reward.load_guard`; directly from a model and its tokenizer for models built in memory. A
    guard made by `load_guard` pickles as its checkpoint's name and loads again, at first use, wherever it arrives.

    Args:
        model: the causal LM; is put into eval mode and frozen.
        tokenizer: with the guard's chat template.
        token_budget: most tokens in one forward pass (see `load_guard`).
        compile: see `load_guard`.

    Raises:
        ValueError: weights that ZeRO-3 has partitioned; a tokenizer without chat template or with ambiguous labels.

    Example:
        >>> from guard_reward.tiny import load_tiny_guard
        >>> guard = load_tiny_guard()                                                   # doctest: +SKIP
        >>> guard.moderate([[{"role": "user", "content": "bake a cake"}]])[0].severity  # doctest: +SKIP
        <Severity.SAFE: 'Safe'>
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        token_budget: int | None = None,
        compile: bool = False,
    ):
        self._checkpoint: Checkpoint | None = None
        self._settings = _Settings(token_budget, compile)
        self._loaded: _Loaded | None = _assemble(model, tokenizer, self._settings)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, token_budget: int | None = None, compile: bool = False
    ) -> TransformersGuard:
        """Load a guard that can be pickled by its checkpoint's name; see `load_guard`."""
        guard = cls.__new__(cls)
        guard._checkpoint, guard._settings = checkpoint, _Settings(token_budget, compile)
        guard._loaded = None
        guard._parts  # noqa: B018  load now: a missing checkpoint should fail on the user's own line
        return guard

    def __getstate__(self) -> dict[str, Any]:
        if self._checkpoint is not None:
            return {**self.__dict__, "_loaded": None, "_awake_on": None}
        # A model built in memory travels whole; what its engine has computed or compiled does not.
        return {**self.__dict__, "_loaded": (self.model, self.tokenizer), "_awake_on": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_loaded"] is not None:
            model, tokenizer = state["_loaded"]
            self._loaded = _assemble(model, tokenizer, self._settings)

    @property
    def _parts(self) -> _Loaded:
        with MODEL_LOCK:
            if self._loaded is None:
                from transformers import AutoModelForCausalLM

                assert self._checkpoint is not None
                self._loaded = _assemble(*self._checkpoint.load(AutoModelForCausalLM), self._settings)
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
    def engine(self) -> VerdictEngine:
        """What scores token ids, behind `moderate`."""
        return self._parts.engine

    @property
    def response_grammar(self) -> VerdictGrammar:
        """What the guard's answers look like when responses are judged."""
        return self._parts.response_grammar

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

    def _model_in_memory(self) -> PreTrainedModel | None:
        return None if self._loaded is None else self._loaded.model

    def _forget(self) -> None:
        if self._loaded is not None:
            self._loaded.engine.forget()

    @property
    def usage(self) -> Usage:
        """What has been scored so far: verdicts, passes, and how many tokens did not have to be computed."""
        return Usage() if self._loaded is None else replace(self._loaded.engine.usage)

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
            return [_Window(tuple(ids), is_response)]
        try:
            windows = split_into_windows(turns, limit, lambda messages: len(self.encode(messages)), self._cut)
        except ValueError as error:
            return Unjudged(Outcome.TOO_LONG, reason=str(error))
        return [_Window(tuple(self.encode(window)), is_response) for window in windows]

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
        with MODEL_LOCK:
            self.wake()
            return self._judge_awake(windows)

    def _judge_awake(self, windows: Sequence[_Window]) -> list[Verdict | Unjudged]:
        parts = self._parts
        different = list(dict.fromkeys(windows))  # identical rows are scored once

        def score(indices: list[int]) -> list[Generation]:
            chosen = [different[index] for index in indices]
            grammars = [parts.response_grammar if w.is_response else parts.prompt_grammar for w in chosen]
            # A trainer may have switched autocast on; the guard keeps its own precision.
            with torch.autocast(parts.model.device.type, enabled=False):
                return parts.engine.generate([w.ids for w in chosen], grammars)

        generations = parts.runner.run([window.ids for window in different], score)
        verdicts = {
            window: self._verdict(generation, window.is_response)
            for window, generation in zip(different, generations, strict=True)
        }
        return [verdicts[window] for window in windows]

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

    ids: tuple[int, ...]
    is_response: bool


@dataclass(frozen=True, slots=True)
class _Settings:
    """How a guard is run, wherever it is loaded."""

    token_budget: int | None
    compile: bool

    def __post_init__(self) -> None:
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"token_budget must be at least 1, found {self.token_budget}; None chooses by free memory")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A loaded guard's parts."""

    model: PreTrainedModel
    prompter: Prompter
    prompt_grammar: VerdictGrammar
    response_grammar: VerdictGrammar
    engine: VerdictEngine
    runner: BatchRunner[Generation]


def _assemble(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: _Settings) -> _Loaded:
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise ValueError(
            "the guard's weights are partitioned by ZeRO-3; load the guard with guard_reward.load_guard, which keeps "
            "it whole, or load the model before the trainer's configuration is created"
        )
    model = model.eval().requires_grad_(False)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    prompter = Prompter(tokenizer)
    return _Loaded(
        model=model,
        prompter=prompter,
        prompt_grammar=VerdictGrammar(encode, with_refusal=False),
        response_grammar=VerdictGrammar(encode, with_refusal=True),
        engine=VerdictEngine(
            model,
            _end_token_ids(model, tokenizer),
            MAX_NEW_TOKENS,
            preambles=_preambles(prompter),
            road=choose_road(model, compile=settings.compile),
        ),
        runner=BatchRunner(lambda: settings.token_budget or token_budget(model)),
    )


def _preambles(prompter: Prompter) -> list[list[int]]:
    """With what the inputs begin, for prompts and for responses; nothing where a template shows only one of them."""
    preambles = []
    for is_response in (False, True):
        try:
            preambles.append(prompter.preamble(is_response=is_response))
        except Exception as error:  # a template may raise anything; conversations it cannot show are named later
            logger.info("no preamble is kept for %s: %r", "responses" if is_response else "prompts", error)
    return preambles


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
