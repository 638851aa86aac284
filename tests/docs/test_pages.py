"""The pages as texts: no gaps, links that lead somewhere, claims that are tested."""

import re

import pytest

from tests.docs.pages import PAGES, REPOSITORY, blocks, read

WITHOUT_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page):
    assert "@@" not in read(page)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", WITHOUT_CODE.sub("", read(page))):
        if "://" not in target and target != "command-line.md":  # which the site makes
            assert ((REPOSITORY / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_code_says_its_language(page):
    """So it is tested as what it is, and coloured."""
    for block in blocks(page, ""):
        pytest.fail(f"{block}: a block of code without a language: ```python, bash, yaml, json or text")


def test_every_page_is_in_the_navigation():
    config = (REPOSITORY / "mkdocs.yml").read_text()
    pages = {str(path.relative_to(REPOSITORY / "docs")) for path in (REPOSITORY / "docs").rglob("*.md")}
    assert {page for page in pages if f" {page}\n" not in config} == set()


def test_what_is_held_is_tested():
    """Each line of the threat model names tests that are there."""
    lines = [line for line in read("SECURITY.md").splitlines() if line.startswith("| ")]
    held = [line for line in lines if not line.startswith("| it can not")]
    assert len(held) > 25
    for line in held:
        files = re.findall(r"`(tests/[\w/]+\.py)`", line)
        assert files, line
        sources = [(REPOSITORY / file).read_text() for file in files]
        for test in re.findall(r"`(test_\w+)`", line):
            assert any(f"def {test}(" in source for source in sources), test
