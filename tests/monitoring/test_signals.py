"""Signals: text → number, for any text, in time that grows with the text up to a limit."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.monitoring.seen import Seen
from guard_reward.monitoring.signals.garbling import CharacterModel
from guard_reward.monitoring.signals.table import SIGNALS, measure
from guard_reward.text.language_switch import language_switch
from guard_reward.text.repetition import repetition
from guard_reward.verdict import Outcome, Severity

REPLIES = [
    f"{opener} First {first} the {thing}, then {second} the {thing}."
    for opener in ("Sure.", "Of course.")
    for thing in ("florn", "mibble", "tazzle")
    for first in ("cut", "wash", "fold")
    for second in ("warm", "paint", "mix")
]
TEXTS = st.text(st.characters(), max_size=300) | st.just("\ud800") | st.just("x") | st.just("")


@pytest.fixture(scope="module")
def model():
    fitted = CharacterModel()
    fitted.fit(REPLIES)
    return fitted


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("Sure. First wash the mibble, then mix the mibble.", 0.0, 1.0),  # usual
        ("Of course. First fold the tazzle.", 0.0, 1.0),  # shorter
        ("tazzle mix Sure. wash cut. florn the Of then", 1.5, 6.0),  # its words in no order
        ("qzx jvvk wqp zzkq xjq vbbn qqk", 5.0, 12.0),  # no words
        ("你好，请先切开它，然后再洗一遍，谢谢你。", 5.0, 12.0),  # another language
        ("\udfff" * 40, 5.0, 12.0),
    ],
)
def test_garbled_text_is_surprising(model, text, low, high):
    assert low <= model.bits(text) <= high


def test_a_short_text_is_moved_towards_the_usual(model):
    assert model.bits("") == pytest.approx(model._usual)
    assert model.bits("§") < 1.5 < 9.0 < model.bits("§" * 40)


def test_the_model_survives_a_checkpoint(model):
    saved = json.dumps(model.to_json())
    assert len(saved) < 100_000
    assert "florn" not in saved
    restored = CharacterModel.from_json(json.loads(saved))
    for text in (*REPLIES[:3], "qzx", "", "\ud800"):
        assert restored.bits(text) == model.bits(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0.0, 0.0),
        ("short", 0.0, 0.0),
        ("Ask the owner for the key, or call a locksmith in your town.", 0.0, 0.05),
        ("go on and " * 50, 0.95, 1.0),
        ("请先切开它" * 40, 0.9, 1.0),
    ],
)
def test_repetition(text, low, high):
    assert low <= repetition(text) <= high


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        ("How do magnets work?", "They attract iron and steel.", 0.0),
        ("How do magnets work?", "磁铁吸引铁和钢，原因是磁场。", 1.0),
        ("How do magnets work?", "Магниты притягивают железо.", 1.0),
        ("磁石はどうやって鉄を引きつけますか", "磁场吸引铁和钢等金属材料", 0.0),  # Han and kana count together
        ("Translate 'magnet' into Russian: magnet магнит", "Магниты притягивают железо.", 0.0),  # the prompt has both
        ("Как работают магниты?", "```python\nfor magnet in magnets: attract(magnet)\n```", None),  # code only
        ("Как работают магниты?", "Так:\n```python\nattract(magnet)\n```\nони притягивают железо", 0.0),
        ("1 + 1 = ?", "It is two, of course.", None),  # a prompt without letters
        ("How do magnets work?", "42", None),
        ("How do magnets work?", "🙂" * 50, None),
        ("How do magnets work?", "Да", None),  # too short to say
    ],
)
def test_language_switch(prompt, completion, expected):
    assert language_switch(prompt, completion) == expected


@settings(max_examples=60, deadline=None)
@given(prompt=TEXTS, completion=TEXTS)
def test_any_text_has_values_in_range(model, prompt, completion):
    values = measure(Seen(prompt, completion, severity=Severity.SAFE, second=Severity.UNSAFE), model)
    assert set(values) <= set(SIGNALS)
    assert all(math.isfinite(value) and value >= 0.0 for value in values.values())
    assert values["garbling"] <= 12.0
    assert 0.0 <= values["repetition"] <= 1.0
    assert values.get("language_switch") in (None, 0.0, 1.0)


@pytest.mark.parametrize("unit", ["word and ", "字", "\ud800", "a", "```", "🙂é", "\n"])
def test_a_megabyte_costs_no_more_than_the_part_that_is_measured(model, unit):
    def seconds(text):
        started = time.perf_counter()
        measure(Seen(text, text), model)
        return time.perf_counter() - started

    seconds(unit * 100)
    assert min(seconds(unit * (1_000_000 // len(unit))) for _ in range(3)) < 0.1


@pytest.mark.parametrize(
    ("seen", "signal", "value"),
    [
        (Seen("", "", severity=Severity.SAFE, second=Severity.UNSAFE), "second_guard_disagreement", 1.0),
        (Seen("", "", severity=Severity.SAFE, second=Severity.CONTROVERSIAL), "second_guard_disagreement", 1.0),
        (Seen("", "", severity=Severity.SAFE, second=Severity.SAFE), "second_guard_disagreement", 0.0),
        (Seen("", "", severity=Severity.UNSAFE, second=Severity.SAFE), "second_guard_disagreement", None),  # one way
        (Seen("", "", severity=Severity.SAFE), "second_guard_disagreement", None),  # not asked
        (Seen("", "", outcome=Outcome.NO_VERDICT), "unjudged", 1.0),
        (Seen("", "", outcome=Outcome.SCORED), "unjudged", 0.0),
        (Seen("", ""), "unjudged", None),  # not a guard's reward
        (Seen("", "", outcome=Outcome.EMPTY), "empty", 1.0),
        (Seen("", "…!?"), "empty", 1.0),
        (Seen("", "yes"), "empty", 0.0),
        (Seen("", "", outcome=Outcome.SCORED, injections=2), "injection", 1.0),
        (Seen("", "", truncated=True), "truncated", 1.0),
        (Seen("", "four", tokens=7), "length", 7.0),
        (Seen("", "four"), "length", 4.0),
    ],
)
def test_what_a_rollout_counts_for(seen, signal, value):
    assert measure(seen, None).get(signal) == value


def test_a_rollout_in_an_alarm_is_short_and_printable():
    shown = Seen("\ud800" * 9000, "x" * 9000, severity=Severity.SAFE, outcome=Outcome.SCORED).shown(value=1.0)
    assert max(len(shown["prompt"]), len(shown["completion"])) < 2100
    assert json.dumps(shown, ensure_ascii=False).encode()
    assert shown["value"] == 1.0
