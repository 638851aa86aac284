"""One row → the conversation to judge. Whatever a row holds, no answer in it is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.conversation import normalize, turn_text
from guard_reward.moderation.rows import TextColumns
from guard_reward.verdict import Unjudged


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def tool(text: str) -> dict[str, Any]:
    return {"role": "tool", "content": text}


CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": "2, 2"}}]}
EXPLICIT = TextColumns(prompt="p", response="r")
IMPLICIT = TextColumns(response="r")


@pytest.mark.parametrize(
    ("prompt", "response", "expected"),
    [
        ("Q?", "A.", [user("Q?"), assistant("A.")]),
        ([user("Q?")], [assistant("A.")], [user("Q?"), assistant("A.")]),
        ("Q?", [assistant("A.")], [user("Q?"), assistant("A.")]),
        ([system("S"), user("Q?")], "A.", [system("S"), user("Q?"), assistant("A.")]),
        ("Q?", assistant("A."), [user("Q?"), assistant("A.")]),  # one message, not in a list
        # The response repeats the prompt.
        ("Q? ", [user("Q?"), assistant("A.")], [user("Q? "), assistant("A.")]),
        ([user("1"), assistant("2"), user("3")], [user("1"), assistant("2"), user("3"), assistant("4")], None),
        ("Q?", [system("S"), user("Q?"), assistant("A.")], [user("Q?"), system("S"), user("Q?"), assistant("A.")]),
        # An answer of several messages is one text.
        (
            "2+2?",
            [CALL, tool("4"), assistant("4.")],
            [user("2+2?"), assistant("[tool call] add(2, 2)\n[tool result] 4\n4.")],
        ),
        ("Q?", [assistant("bad"), user("Thanks."), assistant("ok")], [user("Q?"), assistant("bad\nThanks.\nok")]),
        (
            "Q?",
            [user("1"), assistant("bad"), user("3"), assistant("ok")],
            [user("Q?"), user("1"), assistant("bad\n3\nok")],
        ),
        # The response continues what the prompt has begun.
        ([user("Q?"), assistant("Sure, ")], "mix.", [user("Q?"), assistant("Sure, mix.")]),
        ([user("Q?"), assistant("Sure, ")], [assistant("mix.")], [user("Q?"), assistant("Sure, mix.")]),
        ([user("2+2?"), CALL, tool("4")], "4.", [user("2+2?"), CALL, tool("4"), assistant("4.")]),
        # Text stays text.
        ("Q?", json.dumps([assistant("A.")]), [user("Q?"), assistant(json.dumps([assistant("A.")]))]),
        (json.dumps([user("Q?")]), "A.", [user(json.dumps([user("Q?")])), assistant("A.")]),
    ],
)
def test_a_prompt_and_its_response(prompt: Any, response: Any, expected: Any) -> None:
    assert EXPLICIT.conversation({"p": prompt, "r": response}) == (response if expected is None else expected)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ([user("Q?"), assistant("A.")], [user("Q?"), assistant("A.")]),
        ([user("1"), assistant("2"), user("3"), assistant("4")], None),
        ([user("2+2?"), CALL, tool("4"), assistant("4.")], None),
        ([assistant("A.")], [assistant("A.")]),
        ("The sky is blue.", [assistant("The sky is blue.")]),
        ("\n\nHuman: Q?\n\nAssistant: A.", [assistant("\n\nHuman: Q?\n\nAssistant: A.")]),  # judged whole
    ],
)
def test_a_response_with_its_prompt_in_it(response: Any, expected: Any) -> None:
    conversation = IMPLICIT.conversation({"r": response})
    if expected is None:
        assert isinstance(conversation, list)
        start = max(index for index, message in enumerate(response) if message["role"] == "user") + 1
        assert conversation[:-1] == response[:start]
        assert turn_text(conversation[-1]) == "\n".join(map(turn_text, response[start:]))
    else:
        assert conversation == expected


@pytest.mark.parametrize(
    ("columns", "row", "outcome", "reason"),
    [
        (EXPLICIT, {"p": "Q?", "r": []}, "empty", "column 'r' holds no messages"),
        (EXPLICIT, {"p": "Q?", "r": [assistant(" ")]}, "empty", "column 'r' has no letter and no digit"),
        (EXPLICIT, {"p": "Q?", "r": [assistant("."), user("…"), assistant("!")]}, "empty", "no letter"),
        (EXPLICIT, {"p": "Q?", "r": [user("Q?")]}, "guard_error", "column 'r' holds no answer"),
        (EXPLICIT, {"p": "Q?", "r": [user("other")]}, "guard_error", "column 'r' holds no answer"),
        (EXPLICIT, {"p": [], "r": "A."}, "guard_error", "column 'p' holds no messages: a response is judged with"),
        (EXPLICIT, {"p": [user(" ")], "r": "A."}, "guard_error", "column 'p' is blank"),
        (EXPLICIT, {"r": "A."}, "guard_error", "column 'p' is missing"),
        (EXPLICIT, {"p": 1, "r": "A."}, "guard_error", "column 'p' should be text or a list of messages, found int"),
        (EXPLICIT, {"p": "Q?", "r": b"A."}, "guard_error", "should be text or a list of messages, found bytes"),
        (EXPLICIT, {"p": "Q?", "r": ["A."]}, "guard_error", "column 'r': message 0"),
        (EXPLICIT, {"p": "Q?", "r": [assistant("A."), {"role": "villain"}]}, "guard_error", "column 'r': message 1"),
        (IMPLICIT, {"r": [user("1"), assistant("2"), user("3")]}, "guard_error", "column 'r' holds no answer"),
        (TextColumns(prompt="p"), {"p": [user("Q?"), assistant("A.")]}, "guard_error", "should be the user's"),
        (TextColumns(prompt="p"), {"p": [user("…")]}, "empty", "the last message has no letter"),
        (TextColumns(messages="m"), {"m": "[" * 100_000}, "guard_error", "column 'm' has more than 200 levels"),
    ],
)
def test_rows_that_cannot_be_judged(columns: TextColumns, row: Any, outcome: str, reason: str) -> None:
    result = columns.conversation(row)
    assert isinstance(result, Unjudged)
    assert result.outcome == outcome
    assert reason in result.reason


def test_a_prompt_of_messages_is_judged_as_a_prompt() -> None:
    conversation = [user("1"), assistant("2"), user("3")]
    assert TextColumns(prompt="p").conversation({"p": conversation}) == conversation


SHARE_GPT = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (TextColumns(messages="conversations"), {"conversations": SHARE_GPT}),
        (TextColumns(messages="conversations"), {"conversations": json.dumps(SHARE_GPT)}),
        (EXPLICIT, {"p": SHARE_GPT[:1], "r": SHARE_GPT[1]}),
        (EXPLICIT, {"p": "Q?", "r": SHARE_GPT}),
        (IMPLICIT, {"r": SHARE_GPT}),
    ],
)
def test_messages_in_the_shape_of_share_gpt(columns: TextColumns, row: Any) -> None:
    conversation = columns.conversation(row)
    assert isinstance(conversation, list)
    assert normalize(conversation) == [user("Q?"), assistant("A.")]


TEXTS = st.sampled_from(["a", "b", "", "…"])
MESSAGES = st.lists(st.builds(lambda make, text: make(text), st.sampled_from([user, assistant, system, tool]), TEXTS))


@given(TEXTS | MESSAGES, TEXTS | MESSAGES)
def test_no_answer_of_a_response_is_left_out(prompt: Any, response: Any) -> None:
    """What follows the prompt's repetition and the questions before the first answer is judged, as one text."""
    conversation = EXPLICIT.conversation({"p": prompt, "r": response})
    if isinstance(conversation, Unjudged):
        return
    asked = [user(prompt)] if isinstance(prompt, str) else prompt
    messages = [assistant(response)] if isinstance(response, str) else response
    messages = messages[len(asked) :] if messages[: len(asked)] == asked else messages
    while messages[0]["role"] in ("user", "system"):
        messages = messages[1:]
    judged = turn_text(conversation[-1])
    assert judged.endswith("\n".join(filter(None, map(turn_text, messages))))
    assert normalize(conversation)[-1]["role"] == "assistant"
