"""TRL's prompts and completions as rollouts: the conversation, the policy's thinking, its answer.

Knows the shapes in which trainers pass text; does not know guards, tokenizers or rewards.

    >>> rollout = Rollout.from_trl("How do magnets work?", "<think>Simply.</think>They attract iron.")
    >>> rollout.thinking, rollout.answer, rollout.outcome
    ('Simply.', 'They attract iron.', None)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward import thinking as tags
from guard_reward.conversation import Message, Turns, normalize, turn_text
from guard_reward.messages import MessageParts, as_messages, split_message
from guard_reward.skeleton import INVISIBLE_LETTERS
from guard_reward.thinking import split_thinking
from guard_reward.verdict import Outcome

__all__ = ["Rollout", "begun_reply", "has_content", "is_truncated", "split_prefix", "split_thinking"]

_MARKUP = re.compile(r"</?(?:think|tool_call|tool_response)>|<\|[\w.-]{1,40}\|>")


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt and the policy's response.

    Attributes:
        messages: the prompt as the guard will see it (`guard_reward.conversation.normalize`), without the answer.
        thinking: the policy's reasoning; None if it wrote none, or only blanks.
        answer: what a user would see: everything else that the policy wrote.
        policy_text: what of the answer the policy itself wrote: not the results of tools, nor what a prompt has begun.
        content: what of `policy_text` is in the content of the policy's messages: no calls and no other fields.
        truncated: whether generation stopped for length; None if that is unknown.
        outcome: ``Outcome.EMPTY`` if the policy wrote no letter and no digit, in text or in the arguments of a call;
            None if a guard must decide.
    """

    messages: tuple[Message, ...]
    thinking: str | None
    answer: str
    policy_text: str
    truncated: bool | None = None
    outcome: Outcome | None = None
    content: str = ""

    @classmethod
    def from_trl(
        cls,
        prompt: str | Sequence[Mapping[str, Any]],
        completion: str | Sequence[Mapping[str, Any]],
        *,
        completion_ids: Sequence[int] | None = None,
        eos_token_ids: Collection[int] | None = None,
        thinking_prefilled: bool | None = None,
        thinking_parsed: bool | None = None,
    ) -> Rollout:
        """Read one row of a TRL batch.

        Args:
            prompt: a plain string (one user turn), or chat messages in a shape that `guard_reward.messages` knows.
            completion: a plain string, or the messages that the policy added: several if it called tools. All of
                them, with tool calls and results, are the answer, because all of them reach the user.
            completion_ids: the completion's token ids.
            eos_token_ids: the ids that end a completion; `truncated` is known only with both.
            thinking_prefilled: whether the policy's chat template already wrote the opening ``<think>``, so that the
                completion begins inside the thinking. None: only if a string prompt ends in ``<think>``, or a last
                assistant message opens it. It is never guessed from the completion, which could hide text from the
                guard that way. Of several messages it holds for the first one.
            thinking_parsed: whether the trainer has moved the thinking out of the messages' content, as TRL does if the
                policy's tokenizer has a response template: then all content is the answer. None: unknown; then a
                message counts as parsed if it has a reasoning field, and pre-filled content without ``</think>`` is the
                answer.

        Raises:
            ValueError: messages that cannot be read as text; names the message and the fault.

        >>> Rollout.from_trl([{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": ""}]).outcome
        <Outcome.EMPTY: 'empty'>
        """
        if thinking_prefilled is None:
            thinking_prefilled = isinstance(prompt, str) and tags.ends_open(prompt)
        conversation, prefix = split_prefix(_text_or_messages(prompt, "prompt"))
        begun, begun_answer = split_thinking(prefix)
        is_open = begun is not None and tags.CLOSE not in prefix
        response = _read_completion(
            _text_or_messages(completion, "completion", default_role="assistant"),
            begins_inside=thinking_prefilled or is_open,
            is_parsed=thinking_parsed,
        )
        return cls(
            messages=tuple(normalize(conversation)),
            thinking="\n".join(part for part in (begun, response.thinking) if part and part.strip()) or None,
            answer=begun_answer + response.text,
            policy_text=response.policy_text,
            truncated=is_truncated(completion_ids, eos_token_ids),
            outcome=None if has_content(response.written) else Outcome.EMPTY,
            content=response.content,
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

    Guards call blank and symbol-only texts Safe, so a policy could collect the reward by saying nothing. Tags of
    thinking and tools, control tokens, and letters that show nothing do not count.

    >>> has_content("…!?"), has_content("不"), has_content("\u3164")  # the last one is a letter that shows nothing
    (False, True, False)
    """
    return any(map(_shows, _MARKUP.sub("", text)))


def _shows(character: str) -> bool:
    return character.isalnum() and character not in INVISIBLE_LETTERS


def is_truncated(completion_ids: Sequence[int] | None, eos_token_ids: Collection[int] | None) -> bool | None:
    """Whether generation stopped before an end token; None if ids or end tokens are not known.

    Both may be lists, arrays or tensors.

    >>> is_truncated([5, 6, 2], eos_token_ids=[2]), is_truncated([5, 6], eos_token_ids=None)
    (False, None)
    """
    if completion_ids is None or eos_token_ids is None or not len(completion_ids) or not len(eos_token_ids):
        return None
    return int(completion_ids[-1]) not in {int(end) for end in eos_token_ids}


def _text_or_messages(value: Any, name: str, *, default_role: str | None = None) -> str | list[Mapping[str, Any]]:
    return value if isinstance(value, str) else as_messages(value, name, default_role=default_role)


def split_prefix(prompt: str | list[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The conversation to answer, and the beginning of the answer if the prompt has one.

    A prompt whose last message is the assistant's is continued by the policy: users see both as one response.
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}], ""
    last = len(prompt) - 1
    if last > 0 and prompt[last]["role"] == "assistant" and not split_message(prompt[last], last).rest:
        return prompt[:last], turn_text(prompt[last], last)
    return prompt, ""


def begun_reply(prompt: str | Sequence[Mapping[str, Any]], *, opens_thinking: bool) -> tuple[Turns, str]:
    """The conversation to answer, as a guard sees it, and what of the reply stands in front of the policy's text.

    Args:
        prompt: as TRL passes it.
        opens_thinking: whether the chat template opens the thinking of a new turn.

    Raises:
        ValueError: messages that cannot be read as text.

    >>> begun_reply("Hi.", opens_thinking=False)[1], begun_reply("USER Hi.\\n<think>", opens_thinking=False)[1]
    ('', '<think>\\n')
    """
    messages, begun = split_prefix(prompt if isinstance(prompt, str) else as_messages(prompt, "prompt"))
    turns = Turns(normalize(messages))
    if not begun and (tags.ends_open(prompt) if isinstance(prompt, str) else opens_thinking):
        begun = f"{tags.OPEN}\n"
    return turns, begun


@dataclass(frozen=True, slots=True)
class _Response:
    """A completion.

    Attributes:
        thinking: None if there is none.
        text: everything else.
        policy_text: `text` without the messages of others, such as tools.
        written: `policy_text` without labels and the names of functions.
        content: `policy_text` without other fields than the content.
    """

    thinking: str | None
    text: str
    policy_text: str
    written: str
    content: str


def _read_completion(
    completion: str | list[Mapping[str, Any]], *, begins_inside: bool, is_parsed: bool | None
) -> _Response:
    """All thinking of the completion (None if there is none) and all its other text, each joined by line breaks."""
    if isinstance(completion, str):
        inline, text = split_thinking(completion, prefilled=begins_inside)
        return _Response(inline, text, text, text, text)
    thinking, texts, own, written, contents = (list[str]() for _ in range(5))
    for index, message in enumerate(completion):
        if message["role"] != "assistant":
            texts.append(turn_text(message, index))
            continue
        parts = split_message(message, index)
        inline, content = _split_content(parts, begins_inside=begins_inside, is_parsed=is_parsed)
        begins_inside = False  # the template opened one turn, the first
        thinking += [part for part in (parts.reasoning, inline) if part]
        texts += [content, parts.rest]
        own += [content, parts.rest]
        written += [content, parts.written]
        contents += [content]
    text, policy_text = ("\n".join(filter(None, lines)) for lines in (texts, own))
    return _Response("\n".join(thinking) or None, text, policy_text, "\n".join(written), "\n".join(contents))


def _split_content(parts: MessageParts, *, begins_inside: bool, is_parsed: bool | None) -> tuple[str | None, str]:
    """The thinking in the content of an assistant's message, and the rest of its content."""
    if is_parsed or parts.reasoning is not None:
        return None, parts.content
    # Content without a closing tag may be what a parser has left of a completion: nothing but the answer.
    is_inside = begins_inside and (is_parsed is False or tags.CLOSE in parts.content)
    return split_thinking(parts.content, prefilled=is_inside)
