"""A guard's format with its tokenizer: conversations → token ids, and token ids → verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard_reward.guards.grammar import AnswerGrammar
from guard_reward.guards.inputs import InputEncoder
from guard_reward.guards.readings import readings
from guard_reward.guards.spec import GuardSpec
from guard_reward.models.chat_template import Prompter
from guard_reward.verdict import Conversation, Unjudged, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Codec"]


@dataclass(frozen=True, slots=True)
class Codec:
    """What stands between conversations and a guard that reads and writes token ids, wherever it runs.

    Attributes:
        spec: of the guard's family.
        prompter: of the guard's checkpoint.
        prompt_grammar, response_grammar: what answers about a prompt, and about a response, look like.
    """

    spec: GuardSpec
    prompter: Prompter
    prompt_grammar: AnswerGrammar
    response_grammar: AnswerGrammar

    @classmethod
    def of(cls, spec: GuardSpec, tokenizer: PreTrainedTokenizerBase) -> Codec:
        """The codec of a checkpoint.

        Raises:
            ValueError: a tokenizer without chat template or with ambiguous labels; a chat template that leaves the
                policy out.
        """

        def encode(text: str) -> list[int]:
            return tokenizer.encode(text, add_special_tokens=False)

        prompter = Prompter(
            tokenizer,
            template=spec.chat_template,
            roles=spec.roles,
            wrapping=spec.wrapping,
            options=spec.template_options,
            alternates=spec.alternates,
        )
        if spec.policy is not None and not prompter.shows(spec.policy):
            raise ValueError(
                f"policy: the checkpoint's chat template does not show it, so the guard would judge by another one; "
                f"{spec.name} with a policy needs a checkpoint whose template takes {_policy_option(spec)}: leave the "
                "policy out, or name the family that the checkpoint is of with spec="
            )
        return cls(
            spec,
            prompter,
            spec.grammar(encode, is_response=False),
            spec.grammar(encode, is_response=True),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Codec.of, (self.spec, self.tokenizer)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Of the guard's checkpoint."""
        return self.prompter.tokenizer

    def encoder(self, context_length: int) -> InputEncoder:
        """Makes the guard's inputs, each with space for an answer in a context of so many tokens."""
        return InputEncoder(self.prompter, self.spec, context_length - self.spec.max_new_tokens)

    def encode(self, messages: Conversation) -> list[int]:
        """The token ids of the guard's whole input for a conversation: of its first reading.

        Raises:
            ValueError: a conversation that cannot be shown to the guard; names the message and the fault.
        """
        turns = self.prompter.normalize(messages)
        return self.prompter.encode_turns(readings(turns, self.spec.typed_marks)[0])

    def grammar(self, *, is_response: bool) -> AnswerGrammar:
        """What answers about a response, or about a prompt, look like."""
        return self.response_grammar if is_response else self.prompt_grammar

    def parsed(self, token_ids: tuple[int, ...], *, is_response: bool) -> Verdict | Unjudged:
        """The verdict in an answer, without probabilities."""
        text = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        return self.spec.parse(text, is_response=is_response)

    def with_probabilities(
        self, verdict: Verdict, log_probs: Mapping[str, list[float]], *, is_response: bool
    ) -> Verdict:
        """The verdict with what the guard's logits tell.

        Args:
            verdict: as parsed.
            log_probs: name of each decision → log-probabilities of its tokens.
            is_response: whether a response was judged.
        """
        by_label = self.grammar(is_response=is_response).by_label(log_probs)
        return self.spec.with_probabilities(verdict, by_label, is_response=is_response)


def _policy_option(spec: GuardSpec) -> str:
    """Where the family puts its policy."""
    names = [name for name, value in spec.template_options.items() if spec.policy in str(value)] if spec.policy else []
    return f"the option {names[0]!r}" if names else "the messages in which it stands"
