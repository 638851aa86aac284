"""`TransformersGuard`: a guard checkpoint in this process."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guard_reward.conversation import Turns
from guard_reward.guards.grammar import AnswerGrammar
from guard_reward.guards.readings import merge_readings, readings
from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.specs import find_spec
from guard_reward.guards.windows import split_into_windows, worst_verdict
from guard_reward.models.chat_template import Prompter, own_template
from guard_reward.models.checkpoint import Checkpoint
from guard_reward.models.generation_options import warn_of_ignored_options
from guard_reward.models.lazy import LazyModel
from guard_reward.models.sleep import MODEL_LOCK
from guard_reward.scoring import BatchRunner, Generation, ScoringEngine, Usage, choose_runner, token_budget
from guard_reward.verdict import Conversation, Outcome, Unjudged, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TransformersGuard"]

logger = logging.getLogger(__name__)
_NO_LIST = (str, bytes, Mapping)  # can be iterated over, but are not lists of conversations or of messages


class TransformersGuard:
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
            source = model, tokenizer
            name = getattr(model.config, "_name_or_path", "") or type(model).__name__
        assemble = partial(_assemble, _Settings(name, spec, token_budget, compile))
        self._lazy = LazyModel(source, "AutoModelForCausalLM", assemble, before_sleep=_drop_prefix_cache)
        self._lazy.load()  # now: what is wrong with the checkpoint should fail on the user's own line

    @property
    def _parts(self) -> _Parts:
        return self._lazy.load()

    @property
    def model(self) -> PreTrainedModel:
        """The guard's causal LM."""
        return self._parts.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The guard's tokenizer."""
        return self._parts.prompter.tokenizer

    @property
    def spec(self) -> GuardSpec:
        """What the guard is shown and what its answers mean."""
        return self._parts.spec

    @property
    def engine(self) -> ScoringEngine:
        """What scores token ids, behind `moderate`."""
        return self._parts.engine

    @property
    def response_grammar(self) -> AnswerGrammar:
        """What the guard's answers about responses look like."""
        return self._parts.response_grammar

    @property
    def name(self) -> str:
        """Hub id or folder; for a model built in memory, its class."""
        checkpoint = self._lazy.checkpoint
        return checkpoint.name if checkpoint else type(self.model).__name__

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of input and answer together."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def usage(self) -> Usage:
        """What has been scored so far: verdicts, passes, and how many tokens were shared."""
        parts = self._lazy.parts
        return Usage() if parts is None else replace(parts.engine.usage)

    def encode(self, messages: Conversation) -> list[int]:
        """Exactly what the guard sees of a conversation: the token ids of its whole input.

        Raises:
            ValueError: a conversation that cannot be shown to the guard; names the message and the fault.
        """
        prompter = self._parts.prompter
        return prompter.encode_turns(readings(prompter.normalize(messages), self.spec.typed_marks)[0])

    def warm_up(self) -> TransformersGuard:
        """Judge one short conversation, so that kernels are compiled and memory is allocated before training starts."""
        self.moderate([[{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}]])
        return self

    def sleep(self) -> None:
        """Give the accelerator's memory back: weights move to (pinned) CPU memory, cached keys and values are dropped.

        `wake` or the next use brings them back. On a CPU only the cache is freed.
        """
        self._lazy.sleep()

    def wake(self) -> None:
        """Bring the weights back to where they were before `sleep`."""
        self._lazy.wake()

    def describe(self) -> dict[str, str]:
        """What decides the verdicts, for the run's record."""
        ignored = self._parts.ignored_options
        return {
            "guard": self.name,
            "revision": self._revision,
            "spec": self.spec.name,
            "template_hash": self._parts.prompter.template_hash,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.model.device),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            **({"ignored_generation_options": ignored} if ignored else {}),
        }

    @property
    def _revision(self) -> str:
        """Which weights: the hub's commit, else the state of the folder's files."""
        commit, checkpoint = getattr(self.model.config, "_commit_hash", None), self._lazy.checkpoint
        if commit or checkpoint is None:
            return commit or "unknown"
        files = sorted(path for path in Path(checkpoint.name).glob("*") if path.is_file())
        state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return f"files {hashlib.sha256(repr(state).encode()).hexdigest()[:12]}"

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message: a user's (or a late system's) as a prompt, else as a response.

        Text that exceeds the guard's context is judged in overlapping windows and the worst verdict is given
        (`Verdict.windows` says how many there were). A message that contains marks of the guard's own prompt is judged
        as a whole and in parts (`guard_reward.guards.readings`). No row is ever dropped: what cannot be judged is an
        `Unjudged`.

        Returns:
            One `Verdict` or `Unjudged` per conversation, in the same order.

        Raises:
            TypeError: not a list of conversations, but text, one conversation, or something else.
        """
        prepared = [self._prepare(conversation) for conversation in _checked(conversations)]
        inputs = [window for row in prepared for windows in row if isinstance(windows, list) for window in windows]
        verdicts = iter(self._judge(inputs))

        def verdict(windows: list[_Window] | Unjudged) -> Verdict | Unjudged:
            return windows if isinstance(windows, Unjudged) else worst_verdict([next(verdicts) for _ in windows])

        return [merge_readings([verdict(windows) for windows in row]) for row in prepared]

    def _prepare(self, conversation: Conversation) -> list[list[_Window] | Unjudged]:
        """The guard's inputs for one conversation: one entry per reading."""
        try:
            prompter = self._parts.prompter
            found = readings(prompter.normalize(conversation), self.spec.typed_marks, prompter.special_tokens)
            return [self._windows(reading) for reading in found]
        except Exception as error:  # a template may raise anything, and one bad row must not stop the others
            return [Unjudged(Outcome.GUARD_ERROR, reason=f"{type(error).__name__}: {error}")]

    def _windows(self, turns: Turns) -> list[_Window] | Unjudged:
        """One window, or several if the conversation exceeds the context."""
        prompter, limit = self._parts.prompter, self.context_length - self.spec.max_new_tokens
        is_response = turns[-1]["role"] != "user"
        ids = prompter.encode_turns(turns)
        if len(ids) <= limit:
            return [_Window(tuple(ids), is_response)]
        try:
            windows = split_into_windows(
                turns,
                limit,
                count=lambda messages: len(prompter.encode_turns(messages)),
                cut=self._cut,
                labels=self.spec.turn_labels,
            )
        except ValueError as error:
            return Unjudged(Outcome.TOO_LONG, reason=str(error))
        # A cut may begin with what is a label only now: at the beginning of a line.
        quote = self.spec.typed_marks.quote
        quoted = [[*context, {**last, "content": quote(last["content"])}] for *context, last in windows]
        return [_Window(tuple(prompter.encode_turns(window)), is_response) for window in quoted]

    def _cut(self, text: str, size: int, overlap: int) -> list[str]:
        """`text` in parts of at most `size` tokens that overlap by `overlap` tokens."""
        encoding = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        offsets: list[tuple[int, int]] = encoding["offset_mapping"]
        if len(offsets) <= size:
            return [text]
        starts = range(0, max(len(offsets) - overlap, 1), size - overlap)
        # Each part ends where the next token starts, so that nothing between two tokens is lost.
        ends = [begin for begin, _ in offsets] + [len(text)] * (size + 1)
        return [text[offsets[start][0] if start else 0 : ends[start + size]] for start in starts]

    def _judge(self, windows: Sequence[_Window]) -> list[Verdict | Unjudged]:
        parts = self._parts
        distinct = list(dict.fromkeys(windows))  # identical rows are scored once

        def score(indices: list[int]) -> list[Generation]:
            chosen = [distinct[index] for index in indices]
            grammars = [parts.grammar(is_response=window.is_response) for window in chosen]
            # A trainer may have switched autocast on; the guard keeps its own precision.
            with torch.autocast(parts.model.device.type, enabled=False):
                return parts.engine.generate([window.ids for window in chosen], grammars)

        with MODEL_LOCK:
            self.wake()
            generations = parts.batches.run([window.ids for window in distinct], score)
        verdicts = {
            window: self._verdict(generation, is_response=window.is_response)
            for window, generation in zip(distinct, generations, strict=True)
        }
        return [verdicts[window] for window in windows]

    def _verdict(self, generation: Generation | Exception, *, is_response: bool) -> Verdict | Unjudged:
        if isinstance(generation, Exception):
            return Unjudged(Outcome.GUARD_ERROR, reason=f"{type(generation).__name__}: {generation}")
        text = self.tokenizer.decode(generation.token_ids, skip_special_tokens=True)
        verdict = self.spec.parse(text, is_response=is_response)
        if isinstance(verdict, Unjudged):
            return verdict
        log_probs = self._parts.grammar(is_response=is_response).by_label(generation.log_probs)
        return self.spec.with_probabilities(verdict, log_probs, is_response=is_response)


def _checked(conversations: Any) -> list[Any]:
    """The rows. What is wrong with a single row is that row's `Unjudged`; here only the whole is checked.

    Raises:
        TypeError: not a list of conversations.
    """
    is_list = isinstance(conversations, Iterable) and not isinstance(conversations, _NO_LIST)
    rows = list(conversations) if is_list else []
    if is_list and not (rows and all(isinstance(row, _NO_LIST) for row in rows)):
        return rows
    found = f"a list of {type(rows[0]).__name__}" if rows else type(conversations).__name__
    raise TypeError(
        "moderate takes a list of conversations, each a list of messages such as "
        f'[[{{"role": "user", "content": "…"}}]], found {found}'
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """One input of the guard: its token ids, and whether a response is judged (or a prompt)."""

    ids: tuple[int, ...]
    is_response: bool


@dataclass(frozen=True, slots=True)
class _Settings:
    """How a guard is run."""

    name: str
    spec: GuardSpec | None
    token_budget: int | None
    compile: bool

    def __post_init__(self) -> None:
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"token_budget must be at least 1, found {self.token_budget}; None chooses by free memory")


@dataclass(frozen=True, slots=True)
class _Parts:
    """A loaded guard."""

    model: PreTrainedModel
    spec: GuardSpec
    prompter: Prompter
    prompt_grammar: AnswerGrammar
    response_grammar: AnswerGrammar
    engine: ScoringEngine
    batches: BatchRunner[Generation]
    ignored_options: str

    def grammar(self, *, is_response: bool) -> AnswerGrammar:
        return self.response_grammar if is_response else self.prompt_grammar


def _drop_prefix_cache(parts: _Parts) -> None:
    parts.engine.reset_prefix_cache()


def _assemble(settings: _Settings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> _Parts:
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise ValueError(
            "the guard's weights are partitioned by ZeRO-3; load the guard with guard_reward.load_guard, which keeps "
            "it whole, or load the model before the trainer's configuration is created"
        )
    model = model.eval().requires_grad_(False)
    architectures = getattr(model.config, "architectures", None) or [type(model).__name__]
    spec = settings.spec or find_spec(settings.name, own_template(tokenizer), architectures)
    prompter = Prompter(tokenizer, template=spec.chat_template, roles=spec.roles)

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    return _Parts(
        model=model,
        spec=spec,
        prompter=prompter,
        prompt_grammar=spec.grammar(encode, is_response=False),
        response_grammar=spec.grammar(encode, is_response=True),
        engine=ScoringEngine(
            model,
            _end_token_ids(model, tokenizer),
            spec.max_new_tokens,
            preambles=_preambles(prompter),
            runner=choose_runner(model, compile=settings.compile),
        ),
        batches=BatchRunner(lambda: settings.token_budget or token_budget(model)),
        ignored_options=warn_of_ignored_options(settings.name, model, spec.max_new_tokens),
    )


def _preambles(prompter: Prompter) -> list[list[int]]:
    """How inputs begin, for prompts and for responses, as far as the template can show them."""
    preambles = []
    for is_response in (False, True):
        try:
            preambles.append(prompter.preamble(is_response=is_response))
        except Exception as error:  # a template may raise anything; `moderate` names such conversations later
            logger.info("no preamble is kept for %s: %r", "responses" if is_response else "prompts", error)
    return preambles


def _end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids at which ``generate`` stops: the generation config's end tokens, else the tokenizer's."""
    ids = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = tokenizer.eos_token_id if ids is None else ids
    if ids is None:
        raise ValueError("neither the guard's generation_config nor its tokenizer names an end token (eos_token_id)")
    return ids if isinstance(ids, list) else [ids]
