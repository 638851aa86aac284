"""Conversations → what a stream guard reads: Qwen3's chat format, without a preamble, cut where the context ends.

The format is written here again, because Qwen3's own template hides text: of an assistant's message it shows only what
stands behind the last ``</think>``, so a policy could hide its answer between two of them, and of earlier turns it
shows no thinking. Otherwise the ids are those of Qwen3's template: a judged response without thinking has an empty
think block in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guard_reward.conversation import Message
from guard_reward.guards.inputs import guard_error
from guard_reward.models.chat_template import Ids, Prompter
from guard_reward.thinking import CLOSE, OPEN
from guard_reward.verdict import Conversation, Outcome, Unjudged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TEMPLATE", "JudgedMessage", "StreamEncoder"]

_ANSWER = "answer"  # the role of a judged response without thinking
_EMPTY_THINKING = f"{OPEN}\n\n{CLOSE}\n\n"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'answer' %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + message.content }}"
    "{% else %}{{ '<|im_start|>' + message.role + '\n' + message.content }}{% endif %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
)
"""Qwen3's format of turns; the role ``answer`` is an assistant's turn with an empty think block."""
_USER, _ASSISTANT, _ANSWERING = "user\n", "assistant\n", f"assistant\n{_EMPTY_THINKING}"
_HEADERS = (_USER, _ANSWERING, _ASSISTANT, f"{_ASSISTANT}{OPEN}\n", f"{_ASSISTANT}{OPEN}")
_LEAST_SPACE = 64  # tokens for the message in a window; with fewer, a window shows nothing
_OVERLAP = 1 / 8  # of a window's tokens are shown again in the next one


@dataclass(frozen=True, slots=True)
class JudgedMessage:
    """What a stream guard reads of one conversation.

    Attributes:
        ids: of the whole input, up to the judged message's end, shape (tokens,).
        start: where the judged tokens begin in `ids`. An opening tag is not judged.
        closing: how many of them close the turn: the end token, and for a response the line's end behind it, which the
            official evaluation reads too.
        header: what the turn begins with, up to the first judged token.
        text: the judged message.
        is_response: whether a response is judged, or a prompt.
        limit: tokens that the guard reads at once.
    """

    ids: Ids
    start: int
    closing: int
    header: str
    text: str
    is_response: bool
    limit: int

    @property
    def thinking_end(self) -> int:
        """How many characters of the text are thinking, its tags among them."""
        if not self.text.startswith(OPEN):
            return 0
        end = self.text.find(CLOSE)
        return len(self.text) if end < 0 else end + len(CLOSE)

    def windows(self) -> list[Window]:
        """The inputs that together show all of the message, each with as much of what stands before it as fits."""
        if len(self.ids) <= self.limit:
            return [Window(self.ids, self.start, 0)]
        tokens, end = self.ids[self.start : -self.closing], self.ids[-self.closing :]
        before = self.ids[: self.start]
        before = before[-(self.limit // 2) :] if len(before) > self.limit // 2 else before
        size = self.limit - len(before) - self.closing
        step = size - int(size * _OVERLAP)
        starts = range(0, max(len(tokens) - (size - step), 1), step)
        return [
            Window(np.concatenate([before, tokens[start : start + size], end]), len(before), start and size - step)
            for start in starts
        ]


@dataclass(frozen=True, slots=True)
class Window:
    """One input of a stream guard.

    Attributes:
        ids: shape (tokens,); those that close the turn are the last ones.
        start: where the message's tokens begin.
        repeated: how many of these the window before it has too.
    """

    ids: Ids
    start: int
    repeated: int


class StreamEncoder:
    """Makes a stream guard's inputs.

    Args:
        tokenizer: of the checkpoint.
        context_length: tokens that the guard reads at once.

    Attributes:
        opening_ids: of the tag that thinking begins with, and of its line's end. They are not judged.

    Raises:
        ValueError: a tokenizer without Qwen3's turn tokens, or a context that holds no message.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_length: int):
        for token in ("<|im_start|>", "<|im_end|>"):
            if token not in tokenizer.get_vocab():
                raise ValueError(f"the tokenizer has no {token}: is it that of a Qwen3Guard-Stream checkpoint?")
        if context_length < 4 * _LEAST_SPACE:
            raise ValueError(f"a context of {context_length} tokens is too short for a message: 256 are the least")
        self.prompter = Prompter(tokenizer, template=TEMPLATE)
        self.limit = context_length
        self.tokenizer = tokenizer
        self._start_id = tokenizer.convert_tokens_to_ids("<|im_start|>")
        self._end_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self._lengths = {header: len(self._tokenized(header)) for header in _HEADERS}
        self.opening_ids = self._tokenized(f"{OPEN}\n")

    def encode(self, conversations: Sequence[Conversation]) -> list[JudgedMessage | Unjudged]:
        """What the guard reads of each conversation; an `Unjudged` of one that cannot be shown."""
        rows = [self._turns(conversation) for conversation in conversations]
        ids = iter(self.prompter.encode_batch([row for row in rows if not isinstance(row, Unjudged)]))
        return [row if isinstance(row, Unjudged) else self._judged(row, next(ids)) for row in rows]

    def opened(self, messages: Conversation, *, role: str = "assistant", has_thinking: bool = False) -> Ids:
        """The ids in front of a message that begins to grow.

        Args:
            messages: the conversation before it; may be empty for a user's message.
            role: whose message it is.
            has_thinking: whether an assistant's tokens will begin with their thinking, ``<think>`` included; else they
                are an answer behind an empty think block.

        Raises:
            ValueError: a conversation that cannot be shown; names the message and the fault.
        """
        turns = list(self.prompter.normalize(messages)) if len(messages) or role != "user" else []
        kind = _ANSWER if role == "assistant" and not has_thinking else role
        (ids,) = self.prompter.encode_batch([[*turns, {"role": kind, "content": ""}]])
        if isinstance(ids, Exception):
            raise ids
        return ids[: int(np.flatnonzero(ids == self._end_id)[-1])]

    def offsets(self, message: JudgedMessage) -> NDArray[np.int64]:
        """Where each judged token begins and ends in the message's text, shape (tokens, 2)."""
        before = message.header.removesuffix(_opening(message.text))
        encoding = self.tokenizer(
            before + message.text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        pairs = np.array(encoding["offset_mapping"], dtype=np.int64).reshape(-1, 2)[self._lengths[message.header] :]
        last = len(message.text)
        return np.concatenate([(pairs - len(before)).clip(0, last), [[last, last]] * message.closing])

    def _turns(self, conversation: Conversation) -> list[Message] | Unjudged:
        try:
            *context, last = self.prompter.normalize(conversation)
        except Exception as error:  # a conversation may be anything, and one bad row must not stop the others
            return guard_error(error)
        if last["role"] == "assistant" and not last["content"].startswith(OPEN):
            last = {"role": _ANSWER, "content": last["content"]}
        return [*context, last]

    def _judged(self, turns: Sequence[Message], ids: Ids | Exception) -> JudgedMessage | Unjudged:
        if isinstance(ids, Exception):
            return guard_error(ids)
        role, text = turns[-1]["role"], turns[-1]["content"]
        if role == "system":  # a conversation of nothing else
            return Unjudged(Outcome.GUARD_ERROR, reason="a system message alone is nobody's text to judge")
        header = {"user": _USER, _ANSWER: _ANSWERING}.get(role, _ASSISTANT + _opening(text))
        begin = int(np.flatnonzero(ids == self._start_id)[-1]) + 1
        end = int(np.flatnonzero(ids == self._end_id)[-1])
        shown = ids if role != "user" else ids[: end + 1]
        # A line's end at the beginning of the text may have become one token with the header's.
        start = min(begin + self._lengths[header], end)
        return JudgedMessage(shown, start, len(shown) - end, header, text, role != "user", self.limit)

    def _tokenized(self, text: str) -> list[int]:
        ids: Any = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return list(ids)


def _opening(text: str) -> str:
    """The tag, with its line's end, that a thinking response begins with."""
    return next((opening for opening in (f"{OPEN}\n", OPEN) if text.startswith(opening)), "")
