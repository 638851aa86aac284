"""A user's mistake is one line of text that a terminal shows as it is; bugs keep their traceback."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.errors import UserError, clean_errors, first_paragraph, one_line, shortened

CONTROL = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("plain", "plain"),
        ("  two\n\n  lines\t here ", "two lines here"),
        ("ein Büro, 火, e\u0301, 😀", "ein Büro, 火, e\u0301, 😀"),
        ('it\'s "quoted" \\ here', 'it\'s "quoted" \\ here'),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\x00b\x08c\x7fd\x9be", "a\\x00b\\x08c\\x7fd\\x9be"),
        ("carriage\rreturn\x0bpage\x0c\x85\u2028\u2029end", "carriage return page end"),
        ("\u202eturned\u2066round", "\\u202eturned\\u2066round"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("half \ud83d pair", "half \\ud83d pair"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("no\xa0break\u3000wide", "no break wide"),
        (ValueError("an\nerror"), "an error"),
        (7, "7"),
    ],
)
def test_one_line(text: object, line: str) -> None:
    assert one_line(text) == line


def test_no_control_code_of_unicode_comes_through() -> None:
    assert len(CONTROL) > 2000
    for code in CONTROL:
        line = one_line(f"a{code}b")
        assert line.isprintable()
        assert code not in line
        line.encode()  # and every terminal can write it


@given(st.text(st.characters(categories=None)))
def test_one_line_is_printable_and_changes_no_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert one_line(line) == line
    assert "  " not in line
    assert line.strip() == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("no such model\n\nSee the docs."), "no such model"),
        (OSError("\n\n no such\n  model \n\n\nmore"), "no such model"),
        (OSError("\x1b[31mred\n\nmore"), "\\x1b[31mred"),
        (AssertionError(), "AssertionError"),
        (ValueError(" \n\n "), "ValueError"),
        (FileNotFoundError(2, "No such file", "a\nb"), "[Errno 2] No such file: 'a\\nb'"),
    ],
)
def test_first_paragraph(error: BaseException, line: str) -> None:
    assert first_paragraph(error) == line


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        ("x" * 78, 80, f"'{'x' * 78}'"),
        ("x" * 79, 80, f"'{'x' * 76}..."),
        ([1, 2, 3], 9, "[1, 2, 3]"),
        ([1, 2, 3], 8, "[1, 2..."),
        ("\x1b[2J\n\ud800", 80, "'\\x1b[2J\\n\\ud800'"),
        (None, 80, "None"),
    ],
)
def test_shortened(value: object, limit: int, text: str) -> None:
    assert shortened(value, limit) == text


EVIL = "column 'a\x1b[2J\r\nb\u202e'"
SHOWN = "column 'a\\x1b[2J b\\u202e'"


@pytest.mark.parametrize(
    ("program", "error", "line", "status"),
    [
        ("", UserError(EVIL), f"error: {SHOWN}", 1),
        ("guard-reward", UserError(EVIL), f"guard-reward: error: {SHOWN}", 1),
        ("guard-reward", OSError(EVIL), f"guard-reward: error: {SHOWN}", 1),
        (
            "guard-reward",
            PermissionError(13, "Permission denied", "\x1b"),
            "guard-reward: error: [Errno 13] Permission denied: '\\x1b'",
            1,
        ),
        (
            "guard-reward",
            ModuleNotFoundError("No module", name="plotly.graph_objects"),
            "guard-reward: error: plotly.graph_objects is missing: pip install 'guard-reward[report]'",
            1,
        ),
        (
            "guard-reward",
            ModuleNotFoundError("No module", name="trl"),
            "guard-reward: error: trl is missing: pip install 'guard-reward[trl]'",
            1,
        ),
        ("guard-reward", KeyboardInterrupt(), "guard-reward: stopped", 130),
    ],
)
def test_a_mistake_is_one_line_without_control_codes(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    error: BaseException,
    line: str,
    status: int,
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as stop, clean_errors(program):
        raise error
    assert stop.value.code == status
    assert stop.value.__cause__ is error
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"{line}\n")


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("", ValueError("a bug")),
        ("", OSError("a file")),
        ("", ModuleNotFoundError("No module", name="trl")),
        ("", KeyboardInterrupt()),
        ("guard-reward", ValueError("a bug")),
        ("guard-reward", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a bug")),
        ("guard-reward", ModuleNotFoundError("No module", name="guard_reward.nothing")),
        ("guard-reward", ModuleNotFoundError("No module")),
        ("guard-reward", BrokenPipeError(32, "Broken pipe")),
    ],
)
def test_anything_else_keeps_its_traceback(
    capsys: pytest.CaptureFixture[str], program: str, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught, clean_errors(program):
        raise error
    assert caught.value is error
    assert capsys.readouterr().err == ""


def test_without_a_mistake_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with clean_errors("guard-reward"):
        print("fine")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("fine\n", "")
