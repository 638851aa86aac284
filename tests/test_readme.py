"""What README and docs say: no gaps, and code that runs."""

import re

import pytest

from guard_reward.tiny.grpo import DemoSettings

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/architecture.md",
    "docs/grading.md",
    "docs/integrations.md",
    "docs/guards.md",
    "docs/moderation.md",
    "docs/pipeline.md",
    "docs/rewards.md",
    "docs/scoring.md",
    "docs/serving.md",
    "docs/stream.md",
    "docs/tiny-world.md",
    "docs/training.md",
]


def python_blocks(text):
    return re.findall(r"(<!-- needs: hub -->\n)?```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(repository, page):
    assert "@@" not in (repository / page).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(repository, page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", (repository / page).read_text()):
        if "://" not in target:
            assert ((repository / page).parent / target).exists(), target


def test_what_is_held_is_tested(repository):
    """Each line of the threat model names tests that are there."""
    lines = [line for line in (repository / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    held = [line for line in lines if not line.startswith("| it can not")]
    assert len(held) > 25
    for line in held:
        files = re.findall(r"`(tests/[\w/]+\.py)`", line)
        assert files, line
        sources = [(repository / file).read_text() for file in files]
        for test in re.findall(r"`(test_\w+)`", line):
            assert any(f"def {test}(" in source for source in sources), test


WITH_DEMO = ["README.md", "docs/training.md"]
WITH_CODE = [
    "README.md",
    "docs/grading.md",
    "docs/guards.md",
    "docs/integrations.md",
    "docs/stream.md",
    "docs/training.md",
]


@pytest.mark.parametrize("page", WITH_CODE)
def test_code_that_needs_the_hub_is_at_least_python(repository, page):
    for _, code in python_blocks((repository / page).read_text()):
        compile(code, page, "exec")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "prints"),
    [
        ("README.md", "Unsafe from"),
        ("docs/training.md", "Hybrid"),
        ("docs/grading.md", "Estimate(value=1.0"),
        ("docs/stream.md", "('Violent',) Sure. First cut the gravok"),
        ("docs/integrations.md", "unsafe {'mean': 0.5, 'stderr': 0.5, 'guard_reward/by_label_harmful': 1.0"),
    ],
)
def test_code_that_needs_no_hub_runs(repository, capsys, tmp_path, monkeypatch, page, prints):
    """As written, in a folder of its own; the demo with a few steps."""
    short = DemoSettings(steps=2, batch_size=16, evaluation_prompts=40, agreement_conversations=40)
    monkeypatch.setattr("guard_reward.tiny.demo.DemoSettings", lambda: short)
    monkeypatch.chdir(tmp_path)
    for needs_hub, code in python_blocks((repository / page).read_text()):
        if not needs_hub:
            exec(compile(code, page, "exec"), {})
    assert prints in capsys.readouterr().out
    assert (tmp_path / "runs" / "laptop" / "report.html").exists() is (page in WITH_DEMO)


@pytest.mark.parametrize("page", WITH_DEMO)
def test_the_laptop_run_is_two_lines(repository, page):
    (code,) = [code for _, code in python_blocks((repository / page).read_text()) if "run_demo" in code]
    assert len([line for line in code.splitlines() if line]) == 2
