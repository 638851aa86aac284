"""What is built around a guard's model: codec, engine, batches."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard_reward.guards.codec import Codec
from guard_reward.guards.inputs import InputEncoder
from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.specs import find_spec
from guard_reward.models.chat_template import Prompter, own_template
from guard_reward.models.generation_options import warn_of_ignored_options
from guard_reward.models.vocabulary import end_token_ids
from guard_reward.scoring import BatchRunner, Generation, ScoringEngine, choose_runner, token_budget

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Parts", "Settings", "assemble", "context_length", "drop_prefix_cache", "refuse_partitioned"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a guard is run.

    Raises:
        ValueError: a token budget below 1.
    """

    name: str
    spec: GuardSpec | None
    token_budget: int | None
    compile: bool

    def __post_init__(self) -> None:
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"token_budget must be at least 1, found {self.token_budget}; None chooses by free memory")


@dataclass(frozen=True, slots=True)
class Parts:
    """A loaded guard."""

    model: PreTrainedModel
    codec: Codec
    engine: ScoringEngine
    batches: BatchRunner[Generation]
    ignored_options: str

    @property
    def encoder(self) -> InputEncoder:
        """Makes the guard's inputs, each with space for an answer in the guard's context."""
        return self.codec.encoder(context_length(self.model))


def context_length(model: PreTrainedModel) -> int:
    """Maximum number of tokens of input and answer together."""
    return int(model.config.get_text_config().max_position_embeddings)


def drop_prefix_cache(parts: Parts) -> None:
    """Free what can be computed again."""
    parts.engine.reset_prefix_cache()


def refuse_partitioned(model: PreTrainedModel) -> None:
    """Refuse a model of which each rank has a part.

    Raises:
        ValueError: says how to load it whole.
    """
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise ValueError(
            "the guard's weights are partitioned by ZeRO-3; load the guard with guard_reward.load_guard, which keeps "
            "it whole, or load the model before the trainer's configuration is created"
        )


def assemble(settings: Settings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Parts:
    """A guard's parts.

    Raises:
        ValueError: weights that ZeRO-3 has partitioned; a tokenizer without chat template or with ambiguous labels, or
            that ends turns otherwise than the model; a chat template that is no Jinja.
    """
    refuse_partitioned(model)
    model = model.eval().requires_grad_(False)
    architectures = getattr(model.config, "architectures", None) or [type(model).__name__]
    spec = settings.spec or find_spec(settings.name, own_template(tokenizer), architectures)
    codec = Codec.of(spec, tokenizer)

    def budget() -> int:
        return settings.token_budget or token_budget(model)

    batches: BatchRunner[Generation] = BatchRunner(budget, cuts_rows=True)
    return Parts(
        model=model,
        codec=codec,
        engine=ScoringEngine(
            model,
            end_token_ids(settings.name, model, tokenizer),
            spec.max_new_tokens,
            preambles=_preambles(codec.prompter),
            runner=choose_runner(model, compile=settings.compile),
            max_pass_tokens=lambda: batches.part_tokens(budget()),
        ),
        batches=batches,
        ignored_options=warn_of_ignored_options(settings.name, model, spec.max_new_tokens),
    )


def _preambles(prompter: Prompter) -> list[list[int]]:
    """How inputs begin, for prompts and for responses, as far as the template can show them."""
    from jinja2 import TemplateSyntaxError

    preambles = []
    for is_response in (False, True):
        try:
            preambles.append(prompter.preamble(is_response=is_response))
        except TemplateSyntaxError as error:
            raise ValueError(f"the chat template (chat_template.jinja) is no Jinja template: {error}") from error
        except Exception as error:  # a template may raise anything; `moderate` names such conversations later
            logger.info("no preamble is kept for %s: %r", "responses" if is_response else "prompts", error)
    return preambles
