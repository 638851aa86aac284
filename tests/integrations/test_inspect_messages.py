"""Which part of an Inspect transcript is judged, and how its messages are read."""

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    ContentToolUse,
    ModelOutput,
)
from inspect_ai.tool import ToolCall, ToolCallError

from guard_reward import Rollout
from guard_reward.integrations.inspect_messages import read_sample

system, user, assistant = (
    lambda text, role=role, **more: role(content=text, **more)
    for role in (ChatMessageSystem, ChatMessageUser, ChatMessageAssistant)
)
NOTHING = ModelOutput()


def call(name, **arguments):
    return ToolCall(id="1", function=name, arguments=arguments)


def texts(row):
    """Prompt and reply, each message in one word or more."""
    return [[(message["role"], message["content"]) for message in part] for part in (row.prompt, row.reply)]


@pytest.mark.parametrize(
    ("messages", "prompt", "reply"),
    [
        ([user("a"), assistant("b")], ["a"], ["b"]),
        ([system("s"), user("a"), assistant("b"), user("c"), assistant("d")], ["s", "a", "b", "c"], ["d"]),
        ([user("a"), assistant("b"), ChatMessageTool(content="t"), assistant("c")], ["a"], ["b", "t", "c"]),
        ([user("a"), assistant("b"), assistant("c")], ["a"], ["b", "c"]),  # continued
        ([user("a"), assistant("b"), user("go on")], ["a"], ["b"]),  # stopped by a limit
        ([user("a"), assistant("example", source="input"), user("c")], ["a", "example", "c"], []),
        ([user("a"), assistant("of the data set", source="input")], ["a"], ["of the data set"]),
        ([user("a")], ["a"], []),
        ([], [], []),
    ],
)
def test_the_last_turn_of_the_assistant_is_judged(messages, prompt, reply):
    found = texts(read_sample(messages, NOTHING))
    assert [[text for _, text in part] for part in found] == [prompt, reply]


def test_an_output_that_is_not_in_the_transcript_is_judged_too():
    submitted = ModelOutput.from_content("m", "the submitted answer")
    row = read_sample([user("a"), assistant("b")], submitted)
    assert [text for _, text in texts(row)[1]] == ["b", "the submitted answer"]
    assert texts(read_sample([user("a")], submitted))[1] == [("assistant", "the submitted answer")]
    message = assistant("b")
    stale = [user("a"), message, user("c"), assistant("d")]  # of an earlier turn, where it is in the transcript
    assert [text for _, text in texts(read_sample(stale, ModelOutput.from_message(message)))[1]] == ["d"]
    assert len(read_sample([user("a"), message], ModelOutput.from_message(message)).reply) == 1


@pytest.mark.parametrize(
    ("message", "thinking", "answer"),
    [
        (assistant("<think>t</think>\n\ny"), "t", "y"),
        (assistant([ContentReasoning(reasoning="t"), ContentText(text="y")]), "t", "y"),
        (assistant([ContentReasoning(reasoning="t"), ContentText(text="a"), ContentText(text="b")]), "t", "a\nb"),
        # A second tag cannot hide what stands behind the reasoning.
        (
            assistant([ContentReasoning(reasoning="t"), ContentText(text="<think>x</think>y")]),
            "t",
            "<think>x</think>y",
        ),
        (assistant([ContentReasoning(reasoning="?", redacted=True, summary="s"), ContentText(text="y")]), "s", "y"),
        (assistant([ContentReasoning(reasoning="?", redacted=True), ContentText(text="y")]), None, "y"),
        (assistant("y", tool_calls=[call("shell", cmd="ls")]), None, 'y\n[tool call] shell({"cmd": "ls"})'),
        (
            assistant(
                [
                    ContentToolUse(tool_type="web_search", id="1", name="search", arguments="q", result="r"),
                    ContentText(text="y"),
                ]
            ),
            None,
            'y\n[tool call] search(q) {"result": "r"}',
        ),
        (
            assistant("", tool_calls=[ToolCall(id="1", function="f", arguments={}, parse_error="raw text")]),
            None,
            '[tool call] f({}) {"parse_error": "raw text"}',
        ),
    ],
)
def test_what_is_read_of_the_assistants_message(message, thinking, answer):
    row = read_sample([user("a"), message], ModelOutput.from_message(message))
    rollout = Rollout.from_trl(row.prompt, row.reply)
    assert (rollout.thinking, rollout.answer) == (thinking, answer)


def test_encrypted_reasoning_is_said():
    hidden = assistant([ContentReasoning(reasoning="?", redacted=True), ContentText(text="y")])
    assert read_sample([user("a"), hidden], NOTHING).hidden_thinking
    assert not read_sample([user("a"), assistant("y")], NOTHING).hidden_thinking


def test_errors_of_tools_are_shown():
    failed = ChatMessageTool(content="", error=ToolCallError("timeout", "too slow"))
    row = read_sample([user("a"), assistant("b", tool_calls=[call("f")]), failed, assistant("c")], NOTHING)
    assert Rollout.from_trl(row.prompt, row.reply).answer == "b\n[tool call] f({})\n[tool result] too slow\nc"


def test_an_image_cannot_be_judged():
    picture = user([ContentImage(image="data:,"), ContentText(text="What is this?")])
    row = read_sample([picture, assistant("A cat.")], NOTHING)
    with pytest.raises(ValueError, match="a part of 'content' is of type 'image'"):
        Rollout.from_trl(row.prompt, row.reply)
