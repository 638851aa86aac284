"""What a guard sees of a conversation: the rewriting table, row by row, and that nothing is ever left out."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard_reward.conversation import normalize, turn_text
from guard_reward.models.chat_template import Prompter


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content):
    return {"role": "tool", "content": content}


def call(name, arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


PART_A, PART_B = {"type": "text", "text": "a"}, {"type": "text", "text": "b"}

UNCHANGED = [
    [user("q")],  # a lone prompt
    [user("q"), assistant("a")],  # a plain exchange
    [system("s"), user("q")],  # leading system message
    [system("s"), user("q"), assistant("a")],  # the same, answered
    [user("q"), assistant("a"), user("q2")],  # two turns
    [user("q"), user("q2"), assistant("a")],  # users in a row
    [user("q"), assistant("a"), assistant("a2")],  # assistants in a row
    [user(""), assistant("")],  # nothing but blanks
    [system(""), user("q")],  # empty system message
    [user("<think>x</think>"), assistant("[system] y")],  # looks like ours
]


@pytest.mark.parametrize("messages", UNCHANGED)
def test_what_the_template_shows_already_is_left_alone(messages, qwen_tokenizer):
    assert normalize(messages) == messages
    expected = qwen_tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert Prompter(qwen_tokenizer).encode(messages) == expected


@pytest.mark.parametrize(
    ("messages", "seen"),
    [
        # content
        ([user([PART_A, PART_B])], [user("ab")]),  # parts are joined
        ([user([PART_A, "b", {"text": "c"}])], [user("abc")]),  # untyped parts too
        ([user([])], [user("")]),  # no parts
        ([user(None)], [user("")]),  # no content
        ([{"role": "user"}], [user("")]),  # no content key
        # reasoning
        ([user("q"), assistant("a", reasoning_content="r")], [user("q"), assistant("<think>\nr\n</think>\n\na")]),
        ([user("q"), assistant("a", reasoning="r")], [user("q"), assistant("<think>\nr\n</think>\n\na")]),
        ([user("q"), assistant("a", thinking="r")], [user("q"), assistant("<think>\nr\n</think>\n\na")]),
        ([user("q"), assistant("a", reasoning_content=[PART_A])], [user("q"), assistant("<think>\na\n</think>\n\na")]),
        ([user("q"), assistant("a", reasoning_content="")], [user("q"), assistant("a")]),  # empty reasoning
        ([user("q"), assistant("a", reasoning_content=None)], [user("q"), assistant("a")]),  # absent reasoning
        # tool calls and results
        (
            [user("q"), assistant("a", tool_calls=[call("f", {"x": 1}), call("g", '{"y": 2}')])],
            [user("q"), assistant('a\n[tool call] f({"x": 1})\n[tool call] g({"y": 2})')],
        ),
        ([user("q"), assistant(None, tool_calls=[call("f", {})])], [user("q"), assistant("[tool call] f({})")]),
        (
            [user("q"), assistant("", tool_calls=[{"name": "f"}])],
            [user("q"), assistant("[tool call] f()")],
        ),  # bare call
        (
            [user("q"), assistant("", tool_calls=call("f", "é"))],
            [user("q"), assistant("[tool call] f(é)")],
        ),  # not listed
        ([user("q"), assistant("", tool_calls=["f(1)"])], [user("q"), assistant("[tool call] f(1)")]),  # plain text
        (
            [user("q"), assistant("", tool_calls="f(1)")],
            [user("q"), assistant("[tool call] f(1)")],
        ),  # not listed either
        (
            [user("q"), assistant("", tool_calls=[{"custom": {"name": "f", "input": "x"}}])],  # unknown shape
            [user("q"), assistant('[tool call] {"custom": {"name": "f", "input": "x"}}')],
        ),
        (
            [user("q"), assistant("", tool_calls=[call("f", {"on": datetime.date(2026, 1, 2)})])],  # no JSON value
            [user("q"), assistant('[tool call] f({"on": "2026-01-02"})')],
        ),
        ([user("q"), assistant(None, tool_calls=None)], [user("q"), assistant("")]),  # no calls
        (
            [user("q"), assistant(None, function_call={"name": "f", "arguments": "1"})],  # the older field
            [user("q"), assistant("[tool call] f(1)")],
        ),
        (
            [user("q"), assistant("a"), tool("t"), tool("t2"), assistant("b")],  # results join assistant
            [user("q"), assistant("a\n[tool result] t\n[tool result] t2"), assistant("b")],
        ),
        ([user("q"), tool("t")], [user("q"), assistant("[tool result] t")]),  # no assistant before
        ([tool("t")], [user(""), assistant("[tool result] t")]),  # nothing before
        ([user("q"), assistant(""), tool("t")], [user("q"), assistant("[tool result] t")]),  # empty assistant before
        ([user("q"), {"role": "function", "content": "t"}], [user("q"), assistant("[tool result] t")]),  # older name
        ([user("q"), {"role": "ipython", "content": "t"}], [user("q"), assistant("[tool result] t")]),  # Llama's name
        # system messages
        ([system("s"), system("s2"), user("q")], [system("s\n\ns2"), user("q")]),  # several in front
        ([{"role": "developer", "content": "s"}, user("q")], [system("s"), user("q")]),  # OpenAI's name
        (
            [user("q"), assistant("a"), system("s"), system("s2"), user("q2")],  # mid conversation
            [user("q"), assistant("a"), user("[system] s\n\n[system] s2\n\nq2")],
        ),
        ([user("q"), system("s"), assistant("a")], [user("q"), user("[system] s"), assistant("a")]),  # no user follows
        ([user("q"), assistant("a"), system("s")], [user("q"), assistant("a"), user("[system] s")]),  # at the end
        ([system("s"), assistant("a")], [user("[system] s"), assistant("a")]),  # never a user
        ([system("s")], [user("[system] s")]),  # nothing else
        # order
        ([assistant("a")], [user(""), assistant("a")]),  # leading assistant
        ([assistant("a"), user("q")], [user(""), assistant("a"), user("q")]),  # greeting first
    ],
)
def test_the_table(messages, seen):
    assert normalize(messages) == seen


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([], "at least one message"),  # empty conversation
        (None, "at least one message"),  # no conversation
        ("Hello?", "found str"),  # one text
        ([{"content": "q"}], "message 0: 'role'"),  # no role
        ([user("q"), {"role": "robot", "content": "a"}], "message 1: 'role'.*'robot'"),  # unknown role
        ([{"role": ["user"], "content": "q"}], "message 0: 'role'"),  # role no text
        ([user("q"), "a"], "message 1: should be a mapping .* found str"),  # not a message
        ([user("q"), None], "message 1: .* found NoneType"),  # nothing there
        ([user(5)], "message 0: 'content'.*int"),  # a number
        ([user({"text": "q"})], "message 0: 'content'.*dict"),  # part unlisted
        ([user("q"), assistant([{"type": "image", "url": "x"}])], "message 1.*'image'"),  # an image part
        ([user([PART_A, {"type": "image_url", "text": None}])], "message 0.*'image_url'"),  # image among text
        ([user([PART_A, {"type": "image", "text": "caption"}])], "message 0.*'image'"),  # image with caption
        ([user([5])], "message 0.*'int'"),  # part no text
        ([user(b"bytes")], "message 0.*bytes"),  # bytes
        ([user("q"), assistant("a", reasoning_content=5)], "message 1"),  # reasoning no text
    ],
)
def test_what_cannot_be_read_is_said(messages, fault):
    with pytest.raises(ValueError, match=fault):
        normalize(messages)


def test_the_input_is_not_changed():
    messages = [system("s"), user([PART_A]), assistant("a", tool_calls=[call("f", {})]), tool("t")]
    before = repr(messages)
    normalize(messages)
    assert repr(messages) == before


def test_a_message_as_one_text():
    assert turn_text(tool("t")) == "[tool result] t"
    assert turn_text(assistant("a", reasoning="r", refusal="n")) == "<think>\nr\n</think>\n\na\nn"


_roles = ["system", "developer", "user", "assistant", "tool", "function"]


@st.composite
def _conversations(draw):
    """Messages of every shape in every order, each piece of text unique, and those pieces."""
    pieces: list[str] = []

    def piece():
        pieces.append(f"m{len(pieces):02}x")
        return pieces[-1]

    messages = []
    for role in draw(st.lists(st.sampled_from(_roles), min_size=1, max_size=7)):
        kind = draw(st.sampled_from(["text", "parts", "none"]))
        content = {"text": piece, "parts": lambda: [{"type": "text", "text": piece()}, piece()], "none": lambda: None}
        message = {"role": role, "content": content[kind]()}
        if role == "assistant":
            if draw(st.booleans()):
                message[draw(st.sampled_from(["reasoning_content", "reasoning", "thinking"]))] = piece()
            if draw(st.booleans()):
                message["tool_calls"] = [call(piece(), {piece(): piece()}), call(piece(), piece())]
        messages.append(message)
    return messages, pieces


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_conversations())
def test_the_template_shows_every_piece_of_every_message(qwen_tokenizer, conversation):
    """Nothing is dropped, nothing is shown twice, and the order stays."""
    messages, pieces = conversation
    turns = normalize(messages)
    rendered = qwen_tokenizer.apply_chat_template(turns, tokenize=False)
    assert [rendered.count(piece) for piece in pieces] == [1] * len(pieces)
    assert normalize(turns) == turns
    if all(message["role"] not in ("assistant",) or not message.get("tool_calls") for message in messages):
        by_message = [[p for p in pieces if p in repr(message)] for message in messages]
        firsts = [min(rendered.index(p) for p in found) for found in by_message if found]
        assert firsts == sorted(firsts)
