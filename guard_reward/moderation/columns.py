"""Which of a table's columns hold the conversations to judge.

| the table has | judged |
|---|---|
| ``prompt`` and ``response``, or ``completion`` | the response |
| ``chosen`` and ``rejected``, with or without ``prompt`` | both of them |
| ``prompt`` | the prompt |
| ``messages``, or ``conversations`` | the last message |

The first line that fits decides, by the names of the columns alone. If two responses fit, or two of ``prompt``,
``messages`` and ``conversations`` without a response, you must choose.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from guard_reward.errors import UserError
from guard_reward.moderation.rows import TextColumns

__all__ = ["Judged", "TextColumns", "choose_columns"]

Judged = Literal["prompt", "response"]
"""Whether a row's prompt is judged, or its response to the prompt."""

_RESPONSES = (("response",), ("completion",), ("chosen", "rejected"))
_PREFERENCES = {"chosen", "rejected"}
_MESSAGES = ("messages", "conversations")
# If there is no column `prompt`, but one of these, it is likely to be the prompt of `chosen` and `rejected`.
_LIKELY_PROMPTS = ("question", "instruction", "query", "input", *_MESSAGES)

_MOST_NAMES = 30  # of columns in an error


def choose_columns(
    columns: Sequence[str],
    *,
    prompt: str | None = None,
    response: str | Sequence[str] | None = None,
    messages: str | None = None,
    judge: Judged | None = None,
) -> list[TextColumns]:
    """Decide what is judged in a table with these columns: one entry per judged text of a row.

    Args:
        columns: the table's.
        prompt: column with the prompt; ``""`` if the responses are whole conversations, with their prompts in them.
        response: column with the response; or several, as a list or as names with commas between them.
        messages: column with chat messages.
        judge: prompt or response; by default responses if there are any. With messages, the last role decides.

    Raises:
        UserError: the table does not have a column, several columns fit, or the arguments contradict each other.

    >>> choose_columns(["id", "prompt", "response"], judge="prompt")
    [TextColumns(prompt='prompt', response=None, messages=None)]
    >>> [judged.response for judged in choose_columns(["prompt", "chosen", "rejected"])]
    ['chosen', 'rejected']
    """
    if messages is not None:
        if prompt is not None or response is not None:
            raise UserError("give either the messages column or the prompt and response columns, not both")
        return _from_messages(columns, messages, judge)
    if judge == "prompt":
        if response is not None:
            raise UserError(f"judge='prompt' does not read the response column {response!r}: leave one of them out")
        if prompt == "":
            raise UserError("judge='prompt' needs a prompt column: name it with --prompt-column")
        return [TextColumns(prompt=_prompt_column(columns, prompt or "prompt"))]
    responses = _usual_responses(columns) if response is None else _names(columns, response)
    if not responses and judge is None and prompt != "":
        if prompt is None and "prompt" in columns and (chats := [name for name in _MESSAGES if name in columns]):
            raise UserError(
                f"the input has 'prompt' and {chats[0]!r}: choose what is judged with --judge prompt or "
                f"--messages-column {chats[0]}"
            )
        if prompt is None and "prompt" not in columns and (found := _only(columns, _MESSAGES, "--messages-column")):
            return _from_messages(columns, found, judge)
        return [TextColumns(prompt=_prompt_column(columns, prompt or "prompt"))]
    prompt = _prompt_of(columns, prompt, responses)
    names = [_existing(columns, name, "response") for name in responses or ["response"]]
    return [TextColumns(prompt=prompt, response=name) for name in names]


def _from_messages(columns: Collection[str], messages: str, judge: Judged | None) -> list[TextColumns]:
    if judge is not None:
        raise UserError(f"judge={judge!r} does not go with messages: the role of the last one decides")
    return [TextColumns(messages=_existing(columns, messages, "messages"))]


def _usual_responses(columns: Collection[str]) -> list[str]:
    """The response columns with usual names."""
    fitting = [names for names in _RESPONSES if set(names) <= set(columns)]
    if len(fitting) > 1:
        choices = " or ".join(",".join(names) for names in fitting)
        raise UserError(f"more than one column could be the response: choose with --response-column {choices}")
    return list(fitting[0]) if fitting else []


def _only(columns: Collection[str], names: Sequence[str], flag: str) -> str | None:
    """The one of the names that the table has."""
    found = [name for name in names if name in columns]
    if len(found) > 1:
        raise UserError(f"the input has {' and '.join(map(repr, found))}: choose one with {flag}")
    return found[0] if found else None


def _names(columns: Collection[str], response: str | Sequence[str]) -> list[str]:
    """The response columns that the user names."""
    names = [response] if isinstance(response, str) else list(response)
    if isinstance(response, str) and "," in response:
        parts = [part.strip() for part in response.split(",")]
        if response not in columns:
            names = parts
        elif set(parts) <= set(columns):
            raise UserError(f"{response!r} is one column, and its parts are columns too: rename that column")
    if not names or not all(names):
        raise UserError(f"the response column {response!r} should be a name, or names with one comma between them")
    if len(set(names)) < len(names):
        raise UserError(f"the response column {response!r} names a column twice")
    return names


def _prompt_of(columns: Collection[str], prompt: str | None, responses: Sequence[str]) -> str | None:
    """The prompt of responses; None if they are whole conversations."""
    if prompt == "":
        return None
    implicit = bool(responses) and set(responses) <= _PREFERENCES and not set(_LIKELY_PROMPTS) & set(columns)
    if prompt is None and "prompt" not in columns and implicit:
        return None
    return _prompt_column(columns, prompt or "prompt")


def _prompt_column(columns: Collection[str], name: str) -> str:
    return _existing(columns, name, "prompt", hint=", which is '' if the responses hold their prompts")


def _existing(columns: Collection[str], name: str, role: str, hint: str = "") -> str:
    if name in columns:
        return name
    have = ", ".join(map(repr, list(columns)[:_MOST_NAMES])) or "none"
    more = f" and {len(columns) - _MOST_NAMES} more" if len(columns) > _MOST_NAMES else ""
    raise UserError(f"there is no {role} column {name!r}; the input has {have}{more} (see --{role}-column{hint})")
