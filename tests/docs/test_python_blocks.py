"""Python on the pages: it runs in the order in which it stands; what needs a hub has names and arguments that fit."""

from __future__ import annotations

from itertools import groupby

import pytest

from guard_reward.tiny.grpo import DemoSettings
from tests.docs.calls import check_calls, check_names
from tests.docs.pages import PAGES, Block, blocks

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
WITH_DEMO = ["README.md", "docs/training.md"]
RUNNING = [page for page in WITH_PYTHON if any(block.needs is None for block in blocks(page, "python"))]
PRINTS = {
    "README.md": "Unsafe from",
    "docs/index.md": "[0.0, 1.0]",
    "docs/schemes.md": "Compliance(policy='offer_help', value=1.0",
    "docs/training.md": "Hybrid",
    "docs/grading.md": "Estimate(value=1.0",
    "docs/stream.md": "('Violent',) Sure. First cut the gravok",
    "docs/integrations.md": "unsafe {'mean': 0.5, 'stderr': 0.5, 'guard_reward/by_label_harmful': 1.0",
}


def sections(page: str) -> list[list[Block]]:
    """The page's blocks of Python, by section."""
    return [list(group) for _, group in groupby(blocks(page, "python"), key=lambda block: block.section)]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_every_name_is_defined_where_a_reader_begins(page):
    for section in sections(page):
        check_names(block.code for block in section)


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_calls_fit_their_signatures(page):
    pytest.importorskip("trl")
    for block in blocks(page, "python"):
        check_calls(block.code)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in WITH_DEMO else []) for page in RUNNING]
)
def test_code_runs(page, capsys, tmp_path, monkeypatch):
    """As written, in a folder of its own; the demo with a few steps."""
    short = DemoSettings(steps=2, batch_size=16, evaluation_prompts=40, agreement_conversations=40)
    monkeypatch.setattr("guard_reward.tiny.demo.DemoSettings", lambda: short)
    monkeypatch.chdir(tmp_path)
    for section in sections(page):
        names = {"__name__": "__main__"}
        for block in section:
            if block.needs is None:
                exec(compile(block.code, str(block), "exec"), names)
    assert PRINTS.get(page, "") in capsys.readouterr().out
    if page == "docs/watching.md":
        from guard_reward.report.folders import read_runs

        (run,) = read_runs([tmp_path / "runs" / "watched"])
        assert run.settings["scheme"].startswith("GuardOnly("), run.settings
        assert len(run.log) >= 10
        assert run.rollouts
    assert (tmp_path / "runs" / "laptop" / "report.html").exists() is (page in WITH_DEMO)


def test_what_is_said_to_be_printed_is_on_a_page_that_runs():
    assert set(PRINTS) <= set(RUNNING)


@pytest.mark.parametrize("page", WITH_DEMO)
def test_the_laptop_run_is_two_lines(page):
    (code,) = [block.code for block in blocks(page, "python") if "run_demo" in block.code]
    assert len([line for line in code.splitlines() if line]) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from guard_reward import GuardReward\nGuardReward('x', schema='hybrid')", "schema"),
        ("from guard_reward import schemes\nschemes.Hybrid(unsafe=-1, refuse=2)", "refuse"),
        ("from guard_reward import load_gard", "load_gard"),
    ],
)
def test_a_call_that_does_not_fit_is_found(source, message):
    with pytest.raises((AssertionError, ImportError), match=message):
        check_calls(source)


def test_a_name_from_nowhere_is_found():
    with pytest.raises(AssertionError, match="reward"):
        check_names(["import trl", "trainer = trl.GRPOTrainer(reward)"])
