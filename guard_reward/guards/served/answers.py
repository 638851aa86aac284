"""What servers answer: the text, its tokens, and the log-probabilities at each of its places; checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guard_reward.errors import one_line
from guard_reward.guards.served.failures import Garbled

__all__ = ["ListedModel", "ServedAnswer", "read_chat", "read_completion", "read_generate", "read_models", "read_tokens"]

Model = TypeVar("Model", bound=BaseModel)
LogProb = Annotated[float, Field(le=1e-3, allow_inf_nan=False)]  # 0 but for rounding
_MOST_CHARACTERS = 64  # of a token, on average
_TOKEN_ID = "token_id:"  # vLLM's way to write a token as its id


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """One answer of a guard.

    Attributes:
        text: without special tokens.
        token_ids: None if the server does not give them.
        by_id: at each place of the answer, token id → log-probability, for the tokens that the server gives.
        by_text: the same with tokens as text: (the token that was chosen, text → log-probability).
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    by_id: Sequence[Mapping[int, float]] = ()
    by_text: Sequence[tuple[str, Mapping[str, float]]] = ()

    def is_longer_than(self, tokens: int) -> bool:
        """Whether it cannot have been written with so many tokens, and an end token."""
        lengths = (len(self.token_ids or ()), len(self.by_id), len(self.by_text), len(self.text) // _MOST_CHARACTERS)
        return max(lengths) > tokens + 1

    @property
    def has_log_probs(self) -> bool:
        """Whether the server gives any."""
        return any(self.by_id) or any(known for _, known in self.by_text)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that a server lists.

    Attributes:
        name: by which it is asked for.
        owner: of vLLM's and SGLang's servers, the name of the software.
        context_length: tokens of input and answer together; None if the server does not say.
    """

    name: str
    owner: str = ""
    context_length: int | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class _CompletionLogProbs(_Answer):
    tokens: list[str] = Field(default_factory=list)
    top_logprobs: list[dict[str, LogProb] | None] | None = None


class _CompletionChoice(_Answer):
    text: str
    token_ids: list[int] | None = None
    logprobs: _CompletionLogProbs | None = None


class _Completion(_Answer):
    choices: list[_CompletionChoice] = Field(min_length=1)


class _TextLogProb(_Answer):
    token: str
    logprob: LogProb
    top_logprobs: list[_TextLogProb] = Field(default_factory=list)


class _ChatLogProbs(_Answer):
    content: list[_TextLogProb] | None = None


class _ChatMessage(_Answer):
    content: str | None = None


class _ChatChoice(_Answer):
    message: _ChatMessage
    logprobs: _ChatLogProbs | None = None


class _Chat(_Answer):
    choices: list[_ChatChoice] = Field(min_length=1)


class _GenerateMeta(_Answer):
    # At each place: (log-probability, token id, text or null) per token that was asked for.
    output_token_ids_logprobs: list[list[tuple[LogProb, int, Any]] | None] | None = None


class _Generate(_Answer):
    text: str
    output_ids: list[int] | None = None
    meta_info: _GenerateMeta = Field(default_factory=_GenerateMeta)


class _Model(_Answer):
    id: str
    owned_by: str | None = None
    max_model_len: int | None = None


class _Models(_Answer):
    data: list[_Model]


class _Tokens(_Answer):
    tokens: list[int]


def read_completion(answer: Any) -> ServedAnswer:
    """An answer of ``/v1/completions``.

    Raises:
        Garbled: it is not one; says where it differs.
    """
    choice = _checked(_Completion, answer).choices[0]
    log_probs = choice.logprobs or _CompletionLogProbs()
    places = [place or {} for place in log_probs.top_logprobs or []]
    return ServedAnswer(
        choice.text,
        None if choice.token_ids is None else tuple(choice.token_ids),
        by_id=[_by_id(place) for place in places],
        by_text=list(zip(log_probs.tokens, places, strict=False)),
    )


def read_chat(answer: Any) -> ServedAnswer:
    """An answer of ``/v1/chat/completions``.

    Raises:
        Garbled: it is not one; says where it differs.
    """
    choice = _checked(_Chat, answer).choices[0]
    tokens = (choice.logprobs.content if choice.logprobs else None) or []
    places = [(token.token, {other.token: other.logprob for other in [token, *token.top_logprobs]}) for token in tokens]
    return ServedAnswer(choice.message.content or "", by_text=places)


def read_generate(answer: Any) -> ServedAnswer:
    """An answer of SGLang's ``/generate``.

    Raises:
        Garbled: it is not one; says where it differs.
    """
    found = _checked(_Generate, answer)
    places = found.meta_info.output_token_ids_logprobs or []
    return ServedAnswer(
        found.text,
        None if found.output_ids is None else tuple(found.output_ids),
        by_id=[{token: value for value, token, _ in place or []} for place in places],
    )


def read_models(answer: Any) -> list[ListedModel]:
    """An answer of ``/v1/models``.

    Raises:
        Garbled: it is not one; says where it differs.
    """
    models = _checked(_Models, answer).data
    return [ListedModel(model.id, model.owned_by or "", model.max_model_len) for model in models]


def read_tokens(answer: Any) -> list[int]:
    """An answer of vLLM's ``/tokenize``.

    Raises:
        Garbled: it is not one; says where it differs.
    """
    return _checked(_Tokens, answer).tokens


def _by_id(place: Mapping[str, float]) -> dict[int, float]:
    """The tokens that are written as ids; none if the server writes them as text."""
    ids = {token.removeprefix(_TOKEN_ID): value for token, value in place.items() if token.startswith(_TOKEN_ID)}
    return {int(token): value for token, value in ids.items() if token.isdecimal()}


def _checked(model: type[Model], answer: Any) -> Model:
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "the whole"
        what = f"{place}: {one_line(fault['msg'])}"
        raise Garbled(f"the server's answer has another form than expected: {what}") from error
