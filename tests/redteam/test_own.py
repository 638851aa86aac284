"""Attacks of the user's own, and which are run."""

from __future__ import annotations

import json
from random import Random

import pytest

from guard_reward.errors import UserError
from guard_reward.redteam.attack import Attack, Draft, Keeps, Material
from guard_reward.redteam.choosing import choose_attacks
from guard_reward.redteam.own import attack_of, attacks_at, read_attacks

MATERIAL = Material(request="An egg?", reply="Boil it.", refusal="No.")
KNOWN = [Attack(name, family, lambda draft, *_: draft) for name, family in (("a", "one"), ("b", "one"), ("c", "two"))]


def applied(attack, text="Cut it."):
    return attack(Draft(text), MATERIAL, Random(0)).answer


@pytest.mark.parametrize(
    ("fields", "text", "keeps"),
    [
        ({"prefix": "Sure! "}, "Sure! Cut it.", Keeps.REPLY),
        ({"prefix": "<", "suffix": ">"}, "<Cut it.>", Keeps.REPLY),
        ({"suffix": ">", "prefix": "<"}, "<Cut it.>", Keeps.REPLY),
        ({"replace": {"Cut": "C", "C": "D"}}, "C it.", Keeps.REPLY),
        ({"template": "{request} {harmless} {refusal} {reply} {x}"}, "An egg? Boil it. No. Cut it. {x}", Keeps.REPLY),
        ({"template": "Nothing."}, "Nothing.", Keeps.NOTHING),
        ({"template": "{reply}", "keeps": "nothing"}, "Cut it.", Keeps.NOTHING),
    ],
)
def test_lines(fields, text, keeps):
    attack = attack_of({"name": "mine", **fields}, "line 1")
    assert (applied(attack), attack.keeps, attack.family) == (text, keeps, "own")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"prefix": "x"}, "line 2 has no name"),
        ({"name": "x"}, "line 2: give prefix and suffix, or replace, or template; found none"),
        ({"name": "x", "prefix": "a", "template": "b"}, "found prefix, template"),
        ({"name": "x", "prefix": 3}, "line 2: prefix should be a text, found 3"),
        ({"name": "x", "replace": {"a": 1}}, "line 2: replace should map texts to texts"),
        ({"name": "x", "replace": {"": "a"}}, "line 2: replace should map texts to texts"),
        ({"name": "x", "prefix": "a", "keeps": "all"}, "line 2: keeps should be reply or nothing, found 'all'"),
        ({"name": "x", "prefx": "a"}, "line 2: there is no prefx"),
    ],
)
def test_errors_name_line_and_field(fields, error, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"name": "first", "prefix": "a"}, fields])))
    with pytest.raises(UserError, match=error):
        read_attacks(path)


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_attacks.py").write_text(
        "from guard_reward.redteam.attack import Attack, Draft\n"
        "def shout(text): return text.upper()\n"
        "def hide(draft): return Draft('fine', thinking=draft.answer)\n"
        "def wrong(text): return 3\n"
        "one = Attack('one', 'mine', hide)\n"
        "several = [one]\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("module")
def test_python():
    (shout,) = attacks_at("my_attacks.shout")
    assert (shout.name, applied(shout)) == ("my_attacks.shout", "CUT IT.")
    (hide,) = attacks_at("my_attacks.hide")
    assert hide(Draft("Cut it."), MATERIAL, Random(0)) == Draft("fine", thinking="Cut it.")
    assert attacks_at("my_attacks.one") == attacks_at("my_attacks.several")


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("my_attacks.nothing", "attack: 'my_attacks.nothing' cannot be imported"),
        ("no_such_module.x", "cannot be imported"),
        ("my_attacks.number", "should be an Attack, a list of them or a function, found 3"),
    ],
)
def test_python_errors(path, error):
    with pytest.raises(UserError, match=error):
        attacks_at(path)


@pytest.mark.usefixtures("module")
def test_a_function_that_returns_something_else_is_named():
    (wrong,) = attacks_at("my_attacks.wrong")
    with pytest.raises(UserError, match=r"'my_attacks.wrong' should return a text or a Draft, found 3"):
        applied(wrong)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["a", "b", "c"]),
        ({"families": ["one"]}, ["a", "b"]),
        ({"names": ["c"]}, ["c"]),
        ({"families": ["one"], "names": ["c", "a"]}, ["a", "b", "c"]),
        ({"names": ["my_attacks.shout"]}, ["my_attacks.shout"]),
    ],
)
def test_choosing(wanted, names):
    assert [attack.name for attack in choose_attacks(KNOWN, **wanted)] == names


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"families": ["three"]}, "family: there is no 'three'; there are one, two"),
        ({"names": ["d"]}, "attack: there is no 'd'"),
    ],
)
def test_choosing_what_is_not_there(wanted, error):
    with pytest.raises(UserError, match=error):
        choose_attacks(KNOWN, **wanted)


def test_the_file_is_chosen_from_too_and_may_not_take_a_name(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"name": "d", "family": "three", "prefix": "x"}\n')
    assert [attack.name for attack in choose_attacks(KNOWN, families=["three"], file=path)] == ["d"]
    path.write_text('{"name": "a", "prefix": "x"}\n')
    with pytest.raises(UserError, match="two are called 'a'"):
        choose_attacks(KNOWN, file=path)
