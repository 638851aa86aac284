"""Messages in every shape that libraries use, and what of them is shown."""

from __future__ import annotations

import datetime
import functools
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.conversation import normalize
from guard_reward.messages import METADATA, MessageParts, as_messages, message_text, split_message
from guard_reward.rollout import Rollout
from guard_reward.verdict import Outcome

USER = {"role": "user", "content": "q"}


def assistant(content: Any = "y", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


@pytest.mark.parametrize(
    ("role", "known_as"),
    [
        *((word, "user") for word in ("user", "User", "USER", " user ", "human", "Human")),
        *((word, "assistant") for word in ("assistant", "Assistant", "gpt", "GPT", "model", "ai", "AI", "bot")),
        *((word, "system") for word in ("system", "System", "developer")),
        *((word, "tool") for word in ("tool", "function", "ipython", "observation")),
    ],
)
def test_roles(role: str, known_as: str) -> None:
    assert as_messages([{"role": role, "content": "t"}]) == [{"role": known_as, "content": "t"}]
    assert as_messages([{"from": role, "value": "t"}]) == [{"role": known_as, "content": "t"}]


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
SHARE_GPT = [
    {"from": "system", "value": "s"},
    {"from": "human", "value": "q"},
    {"from": "function_call", "value": '{"name": "f"}'},
    {"from": "observation", "value": "r"},
    {"from": "gpt", "value": "y", "weight": 1},
]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ((USER, assistant()), [USER, assistant()]),
        (np.array([USER, assistant()]), [USER, assistant()]),
        (objects(USER, assistant()), [USER, assistant()]),
        (objects(USER, assistant(objects({"type": "text", "text": "y"}))), [USER, assistant()]),
        (objects(USER, assistant(tool_calls=objects(CALL))), [USER, assistant('y\n[tool call] f({"x": 1})')]),
        (
            [USER, assistant(tool_calls=[{"name": "f", "arguments": {"x": np.array([1, 2]), "y": np.float32(0.5)}}])],
            [USER, assistant('y\n[tool call] f({"x": [1, 2], "y": 0.5})')],
        ),
        ([USER, assistant(tool_calls=np.array([]), refusal=float("nan"), reasoning=np.array([]))], [USER, assistant()]),
        ([MappingProxyType(USER), assistant(np.str_("y"))], [USER, assistant()]),
        (
            SHARE_GPT,
            [
                {"role": "system", "content": "s"},
                USER,
                assistant('[tool call] {"name": "f"}\n[tool result] r'),
                assistant(),
            ],
        ),
        # Columns that hold both shapes are filled up with null.
        ([{"role": None, "content": None, "from": "human", "value": "q"}, assistant()], [USER, assistant()]),
        ([{"role": "user", "content": "q", "from": None, "value": None}], [USER]),
    ],
)  # fmt: skip
def test_shapes_of_conversations(messages: Any, turns: list[dict[str, str]]) -> None:
    assert normalize(messages) == turns


def test_pandas_series_and_rows_of_parquet() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"messages": [objects(USER, assistant())]})
    assert normalize(frame["messages"][0]) == normalize(pandas.Series([USER, assistant()])) == [USER, assistant()]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"refusal": "I can't."}, "y\nI can't."),
        ({"content": None, "refusal": "I can't."}, "I can't."),
        ({"content": [{"type": "refusal", "refusal": "I can't."}]}, "I can't."),
        ({"content": [{"type": "text", "text": "y", "note": "bomb", "index": 0}]}, 'y {"note": "bomb"}'),
        ({"content": [{"type": "refusal", "refusal": "no", "text": "bomb"}]}, "bomb no"),
        ({"content": [{"type": "text", "text": "y", "cache_control": {"type": "ephemeral"}, "id": "x"}]}, "y"),
        ({"note": "bomb"}, "y\n[note] bomb"),
        ({"audio": {"transcript": "bomb"}}, 'y\n[audio] {"transcript": "bomb"}'),
        ({"note": "", "more": [], "other": {}, "nothing": None, "gap": float("nan")}, "y"),
        ({"score": 0.5, "count": np.int64(3), "is_good": np.bool_(True)}, "y"),  # numbers say nothing to a user
        (dict.fromkeys(sorted(METADATA), "x"), "y"),
        ({"value": "bomb"}, "y\n[value] bomb"),  # beside a content, it is one more field
    ],
)
def test_every_visible_field_is_shown(fields: dict[str, Any], shown: str) -> None:
    assert normalize([USER, assistant(**{"content": "y", **fields})])[-1] == assistant(shown)


DEEP = {"x": functools.reduce(lambda inner, _: [inner], range(100_000), "bomb")}
CIRCLE: list[Any] = ["bomb"]
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ({"function": {"name": "f", "arguments": {}, "note": "bomb"}}, 'f({}) {"note": "bomb"}'),
        ({**CALL, "note": "bomb"}, 'f({"x": 1}) {"note": "bomb"}'),
        ({**CALL, "id": "call_1", "index": 0}, 'f({"x": 1})'),
        ({"function": {"name": "f", "arguments": {}, "id": "bomb"}}, 'f({}) {"id": "bomb"}'),  # in the policy's JSON
        ({"name": "f", "arguments": {}, "id": "bomb"}, 'f({}) {"id": "bomb"}'),
        ({"name": "f", "parameters": {"x": 1}}, 'f() {"parameters": {"x": 1}}'),
        ({"name": "f", "arguments": None, "note": None}, "f()"),
        ({"name": "f", "arguments": {"on": datetime.date(2026, 1, 2)}}, 'f({"on": "2026-01-02"})'),
        ("f(1)", "f(1)"),
        (["f", 1], '["f", 1]'),
        ({"name": "f", "arguments": {("a", "b"): "bomb"}}, "f(a b bomb)"),
        ({"name": "f", "arguments": DEEP}, "f(x bomb)"),
        ({"name": "f", "arguments": CIRCLE}, "f(bomb)"),
    ],
)
def test_all_of_a_call_is_shown(call: Any, shown: str) -> None:
    assert normalize([USER, assistant(tool_calls=[call])])[-1] == assistant(f"y\n[tool call] {shown}")


@pytest.mark.parametrize(
    ("function_call", "shown"),
    [({"name": "g", "arguments": "2"}, "\n[tool call] g(2)"), (CALL["function"], "")],  # the same call is shown once
)
def test_calls_in_both_fields_are_shown(function_call: Any, shown: str) -> None:
    message = assistant(tool_calls=[CALL], function_call=function_call)
    assert normalize([USER, message])[-1] == assistant(f'y\n[tool call] f({{"x": 1}}){shown}')


def test_a_message_that_is_a_call_may_have_others() -> None:
    message = {"role": "function_call", "content": "g()", "tool_calls": [CALL]}
    assert normalize([USER, message])[-1] == assistant('[tool call] g()\n[tool call] f({"x": 1})')


@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_fields_that_no_template_shows_are_not_shown(role: str) -> None:
    """The policy does not see them either."""
    assert "note" not in str(normalize([{"role": role, "content": "t", "note": "note"}]))


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"reasoning_content": "r"}, "r"),
        ({"reasoning": "r", "thinking": "s"}, "r\ns"),
        ({"reasoning_content": "r", "reasoning": "r"}, "r"),  # servers that fill both
        ({"thinking": [{"type": "text", "text": "r"}]}, "r"),
        ({"reasoning_content": "", "reasoning": None, "thinking": []}, None),
    ],
)
def test_all_reasoning_fields_count(fields: dict[str, Any], reasoning: str | None) -> None:
    assert split_message(assistant(**fields)).reasoning == reasoning


def test_the_parts_of_a_message() -> None:
    message = assistant("a", reasoning="r", refusal="n", tool_calls=[{"name": "f", "arguments": "1"}], note="o")
    assert split_message(message) == MessageParts("r", "a", "n\n[tool call] f(1)\n[note] o", "n\n1\no")
    assert split_message(assistant("a")) == MessageParts(None, "a", "", "")
    assert message_text(["a", {"text": "b"}, {"type": "output_text", "text": "c"}]) == "abc"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("q", "prompt message 0: should be a mapping with 'role' and 'content', found str"),
        ({"content": "q"}, "prompt message 0: 'role' should be one of system, .* found None"),
        ({"role": "robot", "content": "q"}, "prompt message 0: 'role' .* found 'robot'"),
        ({"role": 7, "content": "q"}, "prompt message 0: 'role' .* found 7"),
        ({"from": "robot", "value": "q"}, "found 'robot'"),
    ],
)
def test_faults_name_the_message(message: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        as_messages([message], "prompt")


VALUES = st.recursive(
    st.sampled_from([None, "", "bomb", "mm", 1, 0.5, float("nan"), True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "arguments", "x"]), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["content", "refusal", "tool_calls", "function_call", "thinking", "reasoning", "note", "audio"]
)


@given(st.dictionaries(FIELDS, VALUES))
def test_no_text_of_a_message_is_hidden(fields: dict[str, Any]) -> None:
    """Whatever the fields hold, what a user could see is shown, or the message is refused."""
    try:
        shown = normalize([USER, assistant(**{"content": "", **fields})])[-1]["content"]
    except ValueError:
        return
    for key, value in fields.items():
        hides = key in ("tool_calls", "function_call") and "'x'" not in repr(value)  # a repeated call is shown once
        assert shown.count("bomb") >= (repr(value).count("bomb") > 0) or hides


@pytest.mark.parametrize(
    "ids",
    [[5, 2], (5, 2), np.array([5, 2]), torch.tensor([5, 2]), [np.int64(5), np.int64(2)], list(torch.tensor([5, 2]))],
)
@pytest.mark.parametrize("ends", [[2], {2}, np.array([7, 2]), torch.tensor([2]), (np.int32(2),)])
def test_token_ids_in_every_shape(ids: Any, ends: Any) -> None:
    assert Rollout.from_trl("q", "y", completion_ids=ids, eos_token_ids=ends).truncated is False
    assert Rollout.from_trl("q", "y", completion_ids=ids[:1], eos_token_ids=ends).truncated is True
    assert Rollout.from_trl("q", "y", completion_ids=ids[:0], eos_token_ids=ends).truncated is None


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ([assistant("", tool_calls=[{"name": "x", "arguments": {}}])], Outcome.EMPTY),
        ([assistant("", tool_calls=[{"name": "x", "arguments": {"y": 1}}])], None),
        ([assistant("…", tool_calls=["f(1)"])], None),
        ([assistant(""), {"role": "tool", "content": "a result"}, assistant("")], Outcome.EMPTY),
        ([assistant("bomb"), {"role": "tool", "content": ""}, assistant("")], None),
        ([{"role": "user", "content": "more?"}], Outcome.EMPTY),
        ([assistant("", refusal="No.")], None),
        ([assistant("", note="bomb")], None),
        ([assistant("", note="…")], Outcome.EMPTY),
        ([assistant("", reasoning="bomb")], Outcome.EMPTY),
        ([assistant("\u3164")], Outcome.EMPTY),
    ],
)
def test_labels_and_results_of_tools_are_not_the_policys_content(completion: Any, outcome: Outcome | None) -> None:
    assert Rollout.from_trl([USER], completion).outcome == outcome
