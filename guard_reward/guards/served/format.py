"""What a served guard is shown and how its answers are read, with and without its tokenizer."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from guard_reward.conversation import Message, Turns, normalize
from guard_reward.errors import first_paragraph
from guard_reward.guards.codec import Codec
from guard_reward.guards.inputs import InputEncoder, Reading, Window, guard_error
from guard_reward.guards.readings import readings
from guard_reward.guards.served.answers import ServedAnswer
from guard_reward.guards.served.connection import Needs, Server
from guard_reward.guards.served.label_log_probs import decision_log_probs, label_log_probs
from guard_reward.guards.served.plain_text import without_control_tokens
from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.specs import find_spec
from guard_reward.models.alternating import alternating
from guard_reward.models.chat_template import instruction_hash, own_template
from guard_reward.verdict import Conversation, Unjudged, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ServedFormat"]

logger = logging.getLogger(__name__)
_UNLIMITED = 2**31
_PROBE = Turns([{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}])


@dataclass(frozen=True)
class ServedFormat:
    """The format of a served guard.

    Attributes:
        spec: of its family.
        codec: with its tokenizer; None without one.
        context_length: tokens of input and answer together; None for what the server says.
        endpoint: the endpoint that the user chose.
    """

    spec: GuardSpec
    codec: Codec | None
    context_length: int | None
    endpoint: str

    @classmethod
    def load(
        cls,
        model: str,
        tokenizer: str | PreTrainedTokenizerBase | bool | None,
        spec: GuardSpec | None,
        revision: str | None,
        context_length: int | None,
        endpoint: str,
    ) -> ServedFormat:
        """The format of a guard; see `guard_reward.guards.served_guard.ServedGuard` for the arguments.

        Raises:
            OSError, ValueError: a tokenizer that was named cannot be loaded or has no chat template; or there is none,
                and the endpoint needs one.
        """
        if spec is not None and spec.is_any_model and endpoint in ("auto", "chat"):
            tokenizer = tokenizer or False  # the server's template is as good as any
        found, context = _load(model, tokenizer, revision)
        if found is None and endpoint in ("completions", "generate"):
            raise ValueError(f"endpoint={endpoint!r} sends token ids, so tokenizer= must name the guard's tokenizer")
        spec = spec or find_spec(model, own_template(found) if found else None)
        if spec.chat_template is not None and (found is None or endpoint == "chat"):
            raise ValueError(
                f"the chat template of {spec.name} is not the checkpoint's, so no server can render it: name the "
                "guard's tokenizer with tokenizer=, and leave endpoint= out"
            )
        codec = None if found is None else Codec.of(spec, found)
        return cls(spec, codec, context_length or context, endpoint)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The guard's tokenizer, if there is one."""
        return None if self.codec is None else self.codec.tokenizer

    def encode(self, messages: Conversation) -> list[int]:
        """The token ids of the guard's whole input for a conversation.

        Raises:
            ValueError: there is no tokenizer, or the conversation cannot be shown to the guard.
        """
        if self.codec is None:
            raise ValueError("without its tokenizer it is not known what the guard sees: name it, tokenizer=")
        return self.codec.encode(messages)

    def describe(self) -> dict[str, str]:
        """For the run's record."""
        if self.codec is not None:
            known = {"template_hash": self.codec.prompter.template_hash}
        else:  # the server's template is not known, but what it is given is
            known = {"instruction_hash": instruction_hash(self.spec.wrapping, self.spec.template_options)}
        return {"spec": self.spec.name, "tokenizer": getattr(self.tokenizer, "name_or_path", "none"), **known}

    def needs(self) -> Needs:
        """What the guard needs of its servers."""
        labels = () if self.codec is None else self.codec.response_grammar.label_token_ids
        prompts = () if self.codec is None else self.codec.prompt_grammar.label_token_ids
        ids = np.array([] if self.codec is None else self.codec.prompter.encode_turns(_PROBE), dtype=np.int64)
        return Needs(
            max_tokens=self.spec.max_new_tokens,
            label_ids=tuple(dict.fromkeys((*labels, *prompts))),
            probe=Window.of(ids, _PROBE),
            sends_ids=self.codec is not None,
            has_own_template=self.spec.chat_template is not None,
            wrapping=self.spec.wrapping,
            template_options={
                name: value for name, value in self.spec.template_options.items() if name != "add_generation_prompt"
            },
        )

    def readings(self, conversations: Sequence[Conversation], server: Server) -> list[list[Reading]]:
        """The readings of each conversation, as the server is sent them."""
        as_text = server.endpoint.name == "chat"
        if self.codec is None:
            quote = cache(self.spec.typed_marks.quote)  # the completions of a prompt have its turns in common
            return [self._text_readings(conversation, quote) for conversation in conversations]
        limit = self.context_length or server.context_length or _UNLIMITED
        if server.context_length:
            limit = min(limit, server.context_length)
        encoder: InputEncoder = self.codec.encoder(limit)
        rows = encoder.encode(conversations)
        return [[self._as_text(reading) for reading in row] for row in rows] if as_text else rows

    def verdict(self, answer: ServedAnswer, *, is_response: bool) -> Verdict | Unjudged:
        """What an answer says."""
        codec = self.codec
        if codec is None or answer.token_ids is None:
            verdict = self.spec.parse(answer.text, is_response=is_response)
            if isinstance(verdict, Unjudged):
                return verdict
            answer_format = self.spec.answer_format(is_response=is_response)
            log_probs = label_log_probs(answer_format, answer.text, answer.by_text)
            return self.spec.with_probabilities(verdict, log_probs, is_response=is_response)
        verdict = codec.parsed(answer.token_ids, is_response=is_response)
        if isinstance(verdict, Unjudged):
            return verdict
        found = decision_log_probs(codec.grammar(is_response=is_response), answer.token_ids, answer.by_id)
        return codec.with_probabilities(verdict, found, is_response=is_response)

    def _text_readings(self, conversation: Conversation, quote: Callable[[str], str]) -> list[Reading]:
        """The readings of a conversation whose tokens are not known: each in one piece."""
        try:
            turns = normalize(conversation, shows_system="system" in self.spec.roles)
            found = readings(turns, self.spec.typed_marks, quote=quote)
        except Exception as error:  # a conversation may be anything, and one bad row must not stop the others
            return [guard_error(error)]
        return [[_text_window(reading, self._neighbours_joined(reading))] for reading in found]

    def _as_text(self, reading: Reading) -> Reading:
        assert self.codec is not None
        if isinstance(reading, Unjudged):
            return reading
        tokens = self.codec.prompter.special_tokens
        return [
            replace(window, turns=without_control_tokens(self._neighbours_joined(window.turns), tokens))
            for window in reading
        ]

    def _neighbours_joined(self, turns: Sequence[Message]) -> Sequence[Message]:
        """The turns as a server's chat template takes them."""
        return alternating(turns) if self.spec.alternates else turns


def _text_window(turns: Turns, shown: Sequence[Message]) -> Window:
    """An input without token ids."""
    shown = without_control_tokens(shown)
    key = tuple((turn["role"], turn["content"]) for turn in shown)
    return Window(np.empty(0, dtype=np.int64), turns[-1]["role"] != "user", key, shown)


def _load(
    model: str, tokenizer: str | PreTrainedTokenizerBase | bool | None, revision: str | None
) -> tuple[PreTrainedTokenizerBase | None, int | None]:
    """The guard's tokenizer and context length, as far as they are known.

    Raises:
        OSError, ValueError: it was named and cannot be loaded.
    """
    if tokenizer is False:
        return None, None
    if not isinstance(tokenizer, str | bool) and tokenizer is not None:
        return copy.deepcopy(tokenizer), None  # its own: other threads may set this one's truncation
    from transformers import AutoConfig, AutoTokenizer

    name: str = tokenizer if isinstance(tokenizer, str) else model
    try:
        found: Any = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        # Only where there is none: a hub that cannot be reached must not change what the guard is shown.
        if tokenizer is not None or not _is_unknown(name, error):
            raise OSError(
                f"the tokenizer of {name!r} could not be loaded: {first_paragraph(error)}; name another one with "
                "tokenizer=, or send text, with tokenizer=False"
            ) from error
        logger.warning(
            "there is no tokenizer under the served model's name %r: messages are sent as text, and what looks like a "
            "control token gets a blank; name the tokenizer with tokenizer= (--guard-tokenizer)",
            name,
        )
        return None, None
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False).get_text_config()
    except (OSError, ValueError):  # a folder with a tokenizer only; the server says how much it takes
        return found, None
    return found, getattr(config, "max_position_embeddings", None)


def _is_unknown(name: str, error: BaseException | None) -> bool:
    """Whether a name that could not be loaded is no hub id, or one that the hub does not have."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return True
    while error is not None and not isinstance(error, RepositoryNotFoundError | HFValidationError):
        error = error.__cause__ or error.__context__
    return error is not None
