"""Which columns are judged: found by their usual names, or named; two that fit equally are refused."""

from __future__ import annotations

from typing import Any

import pytest

from guard_reward.errors import UserError
from guard_reward.moderation.columns import choose_columns


def chosen(columns: str, **options: Any) -> list[tuple[str | None, str | None, str | None]]:
    return [(one.prompt, one.response, one.messages) for one in choose_columns(columns.split(), **options)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("prompt", [("prompt", None, None)]),
        ("id prompt response", [("prompt", "response", None)]),
        ("prompt completion", [("prompt", "completion", None)]),  # TRL
        ("prompt completion label", [("prompt", "completion", None)]),  # TRL, unpaired preferences
        ("prompt chosen rejected", [("prompt", "chosen", None), ("prompt", "rejected", None)]),  # TRL, explicit
        ("chosen rejected", [(None, "chosen", None), (None, "rejected", None)]),  # TRL, implicit
        ("prompt chosen", [("prompt", None, None)]),
        ("messages", [(None, None, "messages")]),
        ("id conversations", [(None, None, "conversations")]),  # ShareGPT
        ("prompt chosen rejected messages", [("prompt", "chosen", None), ("prompt", "rejected", None)]),
    ],
)
def test_columns_are_found_by_their_names(columns: str, expected: Any) -> None:
    assert chosen(columns) == expected


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ("q a", {"prompt": "q", "response": "a"}, [("q", "a", None)]),
        ("prompt a b", {"response": "a,b"}, [("prompt", "a", None), ("prompt", "b", None)]),
        ("prompt a b", {"response": "b, a"}, [("prompt", "b", None), ("prompt", "a", None)]),
        ("prompt a b", {"response": ["a", "b"]}, [("prompt", "a", None), ("prompt", "b", None)]),
        ("prompt a,b", {"response": "a,b"}, [("prompt", "a,b", None)]),  # a name with a comma in it
        ("prompt a,b a b", {"response": ["a,b"]}, [("prompt", "a,b", None)]),
        ("question chosen rejected", {"prompt": "question", "response": "chosen"}, [("question", "chosen", None)]),
        ("chosen rejected", {"response": "rejected"}, [(None, "rejected", None)]),
        ("prompt a b", {"prompt": "", "response": "a,b"}, [(None, "a", None), (None, "b", None)]),
        ("prompt chosen rejected", {"prompt": ""}, [(None, "chosen", None), (None, "rejected", None)]),
        ("prompt chosen rejected", {"judge": "prompt"}, [("prompt", None, None)]),
        ("chosen rejected", {"judge": "response"}, [(None, "chosen", None), (None, "rejected", None)]),
        ("prompt response completion", {"response": "completion"}, [("prompt", "completion", None)]),
        ("prompt messages conversations", {"messages": "conversations"}, [(None, None, "conversations")]),
        ("prompt messages", {"judge": "prompt"}, [("prompt", None, None)]),
        ("prompt messages", {"prompt": "prompt"}, [("prompt", None, None)]),
    ],
)
def test_columns_are_named(columns: str, options: Any, expected: Any) -> None:
    assert chosen(columns, **options) == expected


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ("q a", {}, "no prompt column 'prompt'; the input has 'q', 'a' .see --prompt-column"),
        ("question completion", {}, "no prompt column 'prompt'; the input has 'question', 'completion'"),
        # The prompt is not left out because its column has another name.
        ("question chosen rejected", {}, "no prompt column 'prompt'.*--prompt-column, which is '' if the responses"),
        ("conversations chosen rejected", {}, "no prompt column 'prompt'"),
        ("prompt response completion", {}, "choose with --response-column response or completion"),
        ("prompt completion chosen rejected", {}, "choose with --response-column completion or chosen,rejected"),
        ("prompt messages", {}, "has 'prompt' and 'messages': choose .* --judge prompt or --messages-column messages"),
        ("id prompt conversations", {}, "--judge prompt or --messages-column conversations"),
        ("messages conversations", {}, "has 'messages' and 'conversations': choose one with --messages-column"),
        ("prompt a", {"response": "a,b"}, "no response column 'b'; the input has 'prompt', 'a'"),
        ("prompt a", {"response": "a,"}, "a name, or names with one comma between them"),
        ("prompt a", {"response": []}, "a name, or names with one comma between them"),
        ("prompt a", {"response": "a,a"}, "names a column twice"),
        ("prompt a b a,b", {"response": "a,b"}, "is one column, and its parts are columns too"),
        ("prompt", {"prompt": ""}, "no response column 'response'"),
        ("prompt", {"prompt": "", "judge": "prompt"}, "judge='prompt' needs a prompt column"),
        ("prompt a", {"messages": "m", "prompt": ""}, "not both"),
        (" ".join(f"c{index}" for index in range(99)), {}, "'c29' and 69 more .see --prompt-column"),
    ],
)
def test_what_does_not_fit_is_refused(columns: str, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen(columns, **options)


def test_every_choice_has_its_own_words() -> None:
    """They are what tells the journals of two choices apart."""
    choices = [
        *(chosen_words(columns) for columns in ("prompt", "prompt response", "prompt completion", "messages")),
        *(chosen_words("prompt chosen rejected", response=names) for names in ("chosen", "chosen,rejected")),
        chosen_words("prompt chosen rejected", response="rejected,chosen"),
        chosen_words("prompt chosen rejected", prompt=""),
        chosen_words("conversations"),
    ]
    assert len(set(choices)) == len(choices)


def chosen_words(columns: str, **options: Any) -> str:
    return ", ".join(one.judged for one in choose_columns(columns.split(), **options))
