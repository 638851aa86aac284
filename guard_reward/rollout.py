"""TRL's prompts and completions as rollouts: the conversation, the policy's thinking, its answer.

Knows the shapes in which trainers pass text; does not know guards, tokenizers or rewards.

    >>> rollout = Rollout.from_trl("How do magnets work?", "<think>Simply.</think>They attract iron.")
    >>> rollout.thinking, rollout.answer, rollout.outcome
    ('Simply.', 'They attract iron.', None)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward import thinking as tags
from guard_reward.conversation import Message, Turns, normalize, split_message, turn_text
from guard_reward.thinking import split_thinking
from guard_reward.verdict import Outcome

__all__ = ["Rollout", "has_content", "is_truncated", "split_thinking"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt and the policy's response.

    Attributes:
        messages: the prompt as the guard will see it (`guard_reward.conversation.normalize`), without the answer.
        thinking: the policy's reasoning; None if it wrote none, or only blanks.
        answer: what a user would see: everything else that the policy wrote.
        truncated: whether generation stopped for length; None if that is unknown.
        outcome: ``Outcome.EMPTY`` if the answer has no letter and no digit; None if a guard must decide.
    """

    messages: tuple[Message, ...]
    thinking: str | None
    answer: str
    truncated: bool | None = None
    outcome: Outcome | None = None

    @classmethod
    def from_trl(
        cls,
        prompt: str | Sequence[Mapping[str, Any]],
        completion: str | Sequence[Mapping[str, Any]],
        *,
        completion_ids: Sequence[int] | None = None,
        eos_token_ids: Collection[int] | None = None,
        thinking_prefilled: bool | None = None,
    ) -> Rollout:
        """Read one row of a TRL batch.

        Args:
            prompt: a plain string (one user turn), or chat messages.
            completion: a plain string, or the messages that the policy added: several if it called tools. All of
                them, with tool calls and results, are the answer, because all of them reach the user.
            completion_ids: the completion's token ids.
            eos_token_ids: the ids that end a completion; `truncated` is known only with both.
            thinking_prefilled: whether the policy's chat template already wrote the opening ``<think>``, so that the
                completion begins inside the thinking. None: only if a string prompt ends in ``<think>``, or a last
                assistant message opens it. It is never guessed from the completion, which could hide text from the
                guard that way.

        Raises:
            ValueError: messages that cannot be read as text; names the message and the fault.

        >>> Rollout.from_trl([{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": ""}]).outcome
        <Outcome.EMPTY: 'empty'>
        """
        if thinking_prefilled is None:
            thinking_prefilled = isinstance(prompt, str) and tags.ends_open(prompt)
        conversation, prefix = _split_prefix(_checked(prompt, "prompt"))
        begun, begun_answer = split_thinking(prefix)
        is_open = begun is not None and tags.CLOSE not in prefix
        thinking, text = _split_completion(_checked(completion, "completion"), prefilled=thinking_prefilled or is_open)
        return cls(
            messages=tuple(normalize(conversation)),
            thinking="\n".join(part for part in (begun, thinking) if part and part.strip()) or None,
            answer=begun_answer + text,
            truncated=is_truncated(completion_ids, eos_token_ids),
            outcome=None if has_content(text) else Outcome.EMPTY,
        )

    def answer_conversation(self) -> Turns:
        """The prompt and the answer, for response moderation."""
        return self._with_response(self.answer)

    def thinking_conversation(self) -> Turns:
        """The prompt and the thinking instead of the answer: the guard call ``is_safe(x, t)`` of the report."""
        return self._with_response(self.thinking or "")

    def joint_conversation(self) -> Turns:
        """The prompt and thinking and answer together, as one response."""
        if self.thinking is None:
            return self.answer_conversation()
        return self._with_response(tags.joined(self.thinking.strip(), self.answer))

    def _with_response(self, text: str) -> Turns:
        return Turns([*self.messages, {"role": "assistant", "content": text}])


def has_content(text: str) -> bool:
    """Whether there is anything to judge: at least one letter or digit, of any script.

    Guards call blank and symbol-only texts Safe, so a policy could collect the reward by saying nothing.

    >>> has_content("…!?"), has_content("不")
    (False, True)
    """
    return any(character.isalnum() for character in text)


def is_truncated(completion_ids: Sequence[int] | None, eos_token_ids: Collection[int] | None) -> bool | None:
    """Whether generation stopped before an end token; None if ids or end tokens are not known.

    >>> is_truncated([5, 6, 2], eos_token_ids=[2]), is_truncated([5, 6], eos_token_ids=None)
    (False, None)
    """
    if not completion_ids or not eos_token_ids:
        return None
    return completion_ids[-1] not in eos_token_ids


def _checked(messages: str | Sequence[Mapping[str, Any]], name: str) -> str | Sequence[Mapping[str, Any]]:
    """`messages`, checked: a dataset's column may hold anything."""
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, Sequence):
        raise ValueError(f"the {name} should be text or a list of messages, found {type(messages).__name__}")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise ValueError(f"{name} message {index}: should be a mapping, found {type(message).__name__}")
    return messages


def _split_prefix(prompt: str | Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The conversation to answer, and the beginning of the answer if the prompt has one.

    A prompt whose last message is the assistant's is continued by the policy: users see both as one response.
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}], ""
    if len(prompt) > 1 and prompt[-1].get("role") == "assistant" and not prompt[-1].get("tool_calls"):
        return prompt[:-1], turn_text(prompt[-1], len(prompt) - 1)
    return prompt, ""


def _split_completion(completion: str | Sequence[Mapping[str, Any]], *, prefilled: bool) -> tuple[str | None, str]:
    """All thinking of the completion (None if there is none) and all its other text, each joined by line breaks."""
    if isinstance(completion, str):
        return split_thinking(completion, prefilled=prefilled)
    thinking: list[str] = []
    texts: list[str] = []
    for index, message in enumerate(completion):
        if message.get("role", "assistant") != "assistant":
            texts.append(turn_text(message, index))
            continue
        # If the trainer has parsed the thinking into a field, the content no longer begins inside it.
        reasoning, content = split_message(message, index)
        inline, text = split_thinking(content, prefilled=prefilled and reasoning is None)
        thinking += [part for part in (reasoning, inline) if part]
        texts.append(text)
    return "\n".join(thinking) or None, "\n".join(text for text in texts if text)
