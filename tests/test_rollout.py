"""How TRL's rows are read: who said what, what is thinking, what is the answer, what was cut off, what is empty."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard_reward.rollout import Rollout, has_content, is_truncated, split_thinking
from guard_reward.verdict import Outcome


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content):
    return {"role": "tool", "content": content}


CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


@pytest.mark.parametrize(
    ("prompt", "completion", "messages", "thinking", "answer"),
    [
        ("q", "a", [user("q")], None, "a"),  # plain strings
        ([user("q")], [assistant("a")], [user("q")], None, "a"),  # chat messages
        ("q", [assistant("a")], [user("q")], None, "a"),  # mixed forms
        ([user("q")], "a", [user("q")], None, "a"),  # mixed forms
        ([system("s"), user("q")], [assistant("a")], [system("s"), user("q")], None, "a"),  # system prompt
        (
            [user("q"), assistant("b"), user("q2")],  # several turns
            [assistant("a")],
            [user("q"), assistant("b"), user("q2")],
            None,
            "a",
        ),
        (
            [user([{"type": "text", "text": "q"}])],
            [assistant([{"type": "text", "text": "a"}])],
            [user("q")],
            None,
            "a",
        ),  # parts
        ("q", [{"content": "a"}], [user("q")], None, "a"),  # role left out
        ([user("q")], [], [user("q")], None, ""),  # no message came
        # thinking
        ("q", "<think>t</think>a", [user("q")], "t", "a"),  # tags in text
        ([user("q")], [assistant("<think>\nt\n</think>\n\na")], [user("q")], "t", "a"),  # Qwen3's layout
        ([user("q")], [assistant("a", reasoning_content="t")], [user("q")], "t", "a"),  # field of its own
        # a parser that fills the field leaves nothing but the answer
        ([user("q")], [assistant("<think>u</think>a", reasoning="t")], [user("q")], "t", "<think>u</think>a"),
        ("q", "<think> \n </think>a", [user("q")], None, "a"),  # blank thinking
        ("q", "<think>t", [user("q")], "t", ""),  # never closed
        ("q", "t</think>a", [user("q")], None, "t</think>a"),  # never opened
        ("q<think>\n", "t</think>a", [user("q<think>\n")], "t", "a"),  # prompt opened it
        ("q<think>\n", "t", [user("q<think>\n")], "t", ""),  # and nobody closed
        # tools
        (
            [user("q")],
            [assistant("", tool_calls=[CALL]), tool("r"), assistant("a")],  # a whole episode
            [user("q")],
            None,
            '[tool call] f({"x": 1})\n[tool result] r\na',
        ),
        (
            [user("q")],
            [assistant("<think>t</think>", tool_calls=[CALL]), tool("<think>r"), assistant("<think>u</think>a")],
            [user("q")],  # only the policy thinks
            "t\nu",
            '[tool call] f({"x": 1})\n[tool result] <think>r\na',
        ),
        (
            [user("q"), assistant("b", tool_calls=[CALL]), tool("r")],  # tools in prompt
            [assistant("a")],
            [user("q"), assistant('b\n[tool call] f({"x": 1})\n[tool result] r')],
            None,
            "a",
        ),
        # a response that the prompt begins
        ([user("q"), assistant("Sure: ")], [assistant("a")], [user("q")], None, "Sure: a"),  # chat messages
        ([user("q"), assistant("Sure: ")], "a", [user("q")], None, "Sure: a"),  # continued as text
        ([user("q"), assistant("<think>\n")], "t</think>a", [user("q")], "t", "a"),  # thinking left open
        ([user("q"), assistant("<think>\ns")], "t</think>a", [user("q")], "s\nt", "a"),  # thinking begun
        ([user("q"), assistant("<think>s</think>Sure: ")], "a", [user("q")], "s", "Sure: a"),  # thinking done
        (
            [user("q"), assistant("Sure", tool_calls=[CALL])],
            "a",
            [user("q"), assistant('Sure\n[tool call] f({"x": 1})')],
            None,
            "a",
        ),
        ([assistant("hi")], "a", [user(""), assistant("hi")], None, "a"),  # only a greeting
    ],
)
def test_reading_a_row(prompt, completion, messages, thinking, answer):
    rollout = Rollout.from_trl(prompt, completion)
    assert (list(rollout.messages), rollout.thinking, rollout.answer) == (messages, thinking, answer)
    assert rollout.outcome == (None if answer else Outcome.EMPTY)
    assert rollout.truncated is None


@pytest.mark.parametrize(
    ("text", "prefilled", "thinking", "answer"),
    [
        ("<think>t</think>y", False, "t", "y"),  # closed
        ("<think>t</think>y", True, "t", "y"),  # opened twice over
        ("\n <think>\nt\n</think>\n\ny", False, "t", "y"),  # blanks around tags
        ("t</think>y", True, "t", "y"),  # opened by prompt
        ("t</think>y", False, None, "t</think>y"),  # stray closing tag
        ("</think>y", True, "", "y"),  # closed at once
        ("<think>t", False, "t", ""),  # unclosed
        ("t", True, "t", ""),  # unclosed, pre-filled
        ("<think></think>y", False, "", "y"),  # empty
        ("<think>\n\n</think>\n\ny", False, "", "y"),  # Qwen3's empty block
        ("<think>a<think>b</think>c</think>y", False, "a<think>b", "c</think>y"),  # nested
        ("<think>a</think>b<think>c</think>y", False, "a", "b<think>c</think>y"),  # a second block
        ("y <think>t</think>", False, None, "y <think>t</think>"),  # literal, later
        ("Write `<think>` first.", False, None, "Write `<think>` first."),  # literal, in prose
        ("<Think>t</Think>y", False, None, "<Think>t</Think>y"),  # another tag
        ("<thinking>t</thinking>y", False, None, "<thinking>t</thinking>y"),  # another tag
        ("", False, None, ""),  # nothing
        ("", True, "", ""),  # nothing, pre-filled
        ("y\n", False, None, "y\n"),  # untouched
    ],
)
def test_the_split_at_the_thinking(text, prefilled, thinking, answer):
    assert split_thinking(text, prefilled=prefilled) == (thinking, answer)


_texts = st.lists(st.sampled_from(["<think>", "</think>", "\n", " ", "a", "b", "<", "think>"]), max_size=12).map(
    "".join
)


@given(_texts, st.booleans())
@example("<think></think></think>", False)
def test_nothing_that_the_policy_wrote_gets_lost(text, prefilled):
    """Thinking and answer together are the text, but for one pair of tags and blanks around the parts."""
    thinking, answer = split_thinking(text, prefilled=prefilled)
    together = answer if thinking is None else thinking + answer
    letters = text.lstrip().removeprefix("<think>") if thinking is not None else text
    if thinking is not None:
        letters = letters.replace("</think>", "", 1)
    assert "".join(together.split()) == "".join(letters.split())


@given(_texts, st.booleans())
def test_the_answer_is_all_behind_the_first_closing_tag(text, prefilled):
    """A second closing tag cannot move the answer out of the guard's sight."""
    thinking, answer = split_thinking(text, prefilled=prefilled)
    assert "</think>" not in (thinking or "")
    if thinking is not None:
        assert answer == text.partition("</think>")[2].lstrip()


@pytest.mark.parametrize(
    ("completion_ids", "eos_token_ids", "truncated"),
    [
        ([5, 6, 2], [2], False),  # ended
        ([5, 6], [2], True),  # cut off
        ([5, 6, 3], (2, 3), False),  # any end token
        ([5, 2, 6], {2}, True),  # end token inside
        ([2], [2], False),  # ended at once
        ([5, 6], None, None),  # ends not known
        ([5, 6], [], None),  # ends not known
        (None, [2], None),  # ids not known
        ([], [2], None),  # no ids
    ],
)
def test_truncation_is_known_or_unknown_never_guessed(completion_ids, eos_token_ids, truncated):
    assert is_truncated(completion_ids, eos_token_ids) is truncated
    rollout = Rollout.from_trl("q", "a", completion_ids=completion_ids, eos_token_ids=eos_token_ids)
    assert rollout.truncated is truncated
    assert rollout.answer == "a"


@pytest.mark.parametrize(
    "text",
    ["a", "7", "不", "ا", "я", "ก", "अ", "あ", "한", "ა", "ש", "ϕ", "ᚠ", "٣", "½", "  .a. ", "…é"],
)
def test_one_letter_or_digit_of_any_script_is_content(text):
    assert has_content(text)
    assert Rollout.from_trl("q", text).outcome is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "…!?",
        "、。",
        "🙂🙂",
        "---",
        "``` ```",
        "\u200b",
        "\u2800",
        "\u00a0",
        "।",
        "€$",
        "<think></think>",
        "</think>…<think>",
        "<tool_call></tool_call>",
        "<|vision_pad|><|im_start|>",
        "\u3164",
        "\u115f\u1160",
        "\uffa0",
        "\U00013441",
    ],
)
def test_blanks_and_symbols_are_empty(text):
    assert not has_content(text)
    assert Rollout.from_trl("q", text).outcome == Outcome.EMPTY
    assert Rollout.from_trl([user("q"), assistant("Sure, here is:")], text).outcome == Outcome.EMPTY  # what was begun


def test_a_thought_without_an_answer_is_empty_but_kept():
    rollout = Rollout.from_trl("q", "<think>how to…")
    assert (rollout.outcome, rollout.thinking) == (Outcome.EMPTY, "how to…")


def test_prefilled_thinking_can_be_said_and_unsaid():
    said = Rollout.from_trl([user("q")], [assistant("t</think>a")], thinking_prefilled=True)
    assert (said.thinking, said.answer) == ("t", "a")
    unsaid = Rollout.from_trl("q<think>", "t</think>a", thinking_prefilled=False)
    assert (unsaid.thinking, unsaid.answer) == (None, "t</think>a")
    parsed = Rollout.from_trl([user("q")], [assistant("a", reasoning_content="t")], thinking_prefilled=True)
    assert (parsed.thinking, parsed.answer) == ("t", "a")


def test_what_the_guard_is_asked():
    rollout = Rollout.from_trl([system("s"), user("q")], "<think>t</think>a")
    asked = [system("s"), user("q")]
    assert rollout.answer_conversation() == [*asked, assistant("a")]
    assert rollout.thinking_conversation() == [*asked, assistant("t")]
    assert rollout.joint_conversation() == [*asked, assistant("<think>\nt\n</think>\n\na")]
    assert Rollout.from_trl("q", "a").joint_conversation() == [user("q"), assistant("a")]


@pytest.mark.parametrize(
    ("prompt", "completion", "fault"),
    [
        ([], "a", "at least one message"),  # empty prompt
        (None, "a", "the prompt .* NoneType"),  # no prompt
        ([user("q"), None], "a", "prompt message 1"),  # a hole
        ([{"role": "robot", "content": "q"}], "a", "message 0: 'role'.*'robot'"),  # unknown role
        ([user("q"), user(5)], "a", "message 1: 'content'"),  # content a number
        ([user([{"type": "image"}])], "a", "message 0.*'image'"),  # an image
        ("q", None, "the completion .* NoneType"),  # no completion
        ("q", [assistant("a"), "b"], "completion message 1"),  # not a message
        ("q", [assistant(5)], "message 0: 'content'"),  # content a number
        ("q", [assistant([{"type": "image"}])], "message 0.*'image'"),  # an image
        ("q", [assistant("a", reasoning_content=5)], "message 0"),  # reasoning a number
        ([user("q"), assistant([{"type": "image"}])], "a", "message 1.*'image'"),  # begun with image
    ],
)
def test_an_unreadable_row_says_which_message(prompt, completion, fault):
    with pytest.raises(ValueError, match=fault):
        Rollout.from_trl(prompt, completion)


def test_a_rollout_is_a_value():
    rollout = Rollout.from_trl("q", "<think>t</think>a", completion_ids=[1], eos_token_ids=[1])
    assert pickle.loads(pickle.dumps(rollout)) == rollout
    with pytest.raises(AttributeError):
        rollout.answer = "b"
