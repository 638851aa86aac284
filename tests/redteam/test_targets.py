"""Replies to attack, as they are read."""

from __future__ import annotations

import json

import pytest

from guard_reward.errors import UserError
from guard_reward.redteam.targets import Kind, material_of, read_prompts, read_targets, sample_targets
from tests.redteam.worlds import targets

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("row", "answer", "thinking", "kind"),
    [
        ({"prompt": "Hi", "reply": "Yes."}, "Yes.", None, None),
        ({"prompt": [USER], "response": "Yes."}, "Yes.", None, None),
        ({"messages": [USER], "completion": "Yes."}, "Yes.", None, None),
        ({"prompt": "Hi", "reply": "<think>Hm.</think>Yes."}, "Yes.", "Hm.", None),
        ({"prompt": "Hi", "response": "Yes.", "thinking": "Hm."}, "Yes.", "Hm.", None),
        ({"prompt": "Hi", "reply": " "}, " ", None, Kind.EMPTY),
        ({"prompt": "Hi", "reply": "Yes.", "kind": "garbage"}, "Yes.", None, Kind.GARBAGE),
    ],
)
def test_rows(row, answer, thinking, kind):
    (found,) = targets(row)
    assert (found.draft.answer, found.draft.thinking, found.kind, found.asked) == (answer, thinking, kind, "Hi")


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"reply": "Yes."}, "line 2 has no prompt"),
        ({"prompt": "Hi"}, "line 2 has no reply: give reply or response or completion"),
        ({"prompt": "Hi", "reply": 3}, "line 2: reply should be a text, found 3"),
        ({"prompt": "Hi", "reply": "Yes.", "kind": "bad"}, "line 2: kind should be unsafe, refusal, garbage"),
        ({"prompt": [], "reply": "Yes."}, "line 2: prompt has no message"),
        ({"messages": [USER, {"role": "assistant", "content": "Yes."}], "reply": "Yes."}, "put it into reply"),
        ({"prompt": [{"text": "Hi"}], "reply": "Yes."}, "line 2: prompt message 0"),
    ],
)
def test_errors_name_line_and_field(row, error, tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"prompt": "Hi", "reply": "Yes."}, row])))
    with pytest.raises(UserError, match=error):
        read_targets(path)


def test_a_row_that_occurs_twice_is_read_once(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text(2 * '{"prompt": "Hi", "reply": "Yes."}\n')
    assert len(read_targets(path)) == 1


def test_prompts_need_no_replies(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"prompt": "Hi"}\n{"prompt": "Hi", "reply": "Yes."}\n{"messages": [{"role": "user", "content": "Ho"}]}\n'
    )
    assert [prompt[-1]["content"] for prompt in read_prompts(path)] == ["Hi", "Ho"]
    path.write_text('{"reply": "Yes."}')
    with pytest.raises(UserError, match="line 1 has no prompt"):
        read_prompts(path)


def test_the_samples_have_every_kind():
    assert {target.kind for target in sample_targets()} == set(Kind)


def test_material_is_of_the_targets_own_world():
    material = material_of(targets())
    assert (material.request, material.reply, material.refusal) == ("An egg?", "Boil it.", "sorry")
