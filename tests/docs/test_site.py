"""The built site: nothing heavy is imported for it, every link leads somewhere, and it needs no network to be read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import REPOSITORY

pytest.importorskip("mkdocs")

BUILD = """
import json, sys
from mkdocs.__main__ import cli
cli(["build", "--strict", "--site-dir", sys.argv[1]], standalone_mode=False)
print(json.dumps([name for name in ("torch", "transformers", "trl", "numpy", "datasets") if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of the site, and what was imported to build it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def site(built: tuple[Path, list[str]]) -> Path:
    return built[0]


@pytest.fixture(scope="module")
def texts(site: Path) -> dict[Path, str]:
    """The pages of the site."""
    return {path: path.read_text() for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_building_imports_no_torch(built):
    assert built[1] == []


def test_hooks_are_no_part_of_the_site(site):
    assert list(site.rglob("*.py")) == []


def test_pages_ask_nobody_for_anything(texts):
    """No script, style, font or picture from elsewhere."""
    for path, text in texts.items():
        assert re.findall(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"', text) == [], path


def test_links_lead_somewhere(texts, site):
    """Also those that are made of names of the reference."""
    places = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    for path, text in texts.items():
        for link in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text):
            target, _, anchor = unquote(unescape(link)).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            file = (path.parent / target).resolve() if target else path
            assert file.is_file(), f"{path.relative_to(site)}: {link}"
            # "__…" are the theme's own: buttons of the menu.
            assert not anchor or anchor.startswith("__") or anchor in places[file], f"{path.relative_to(site)}: {link}"


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("index.html", "reference/rewards.html#guard_reward.GuardReward"),  # a name on a page
        ("schemes.html", "reference/schemes.html#guard_reward.schemes.Hybrid"),  # with its arguments
        ("reference/rewards.html", "guards.html#guard_reward.load_guard"),  # a name in a docstring
        ("rewards.html", "files/guard_reward/messages.py.html"),  # a file outside docs/
        ("contributing.html", "architecture.html"),  # from a page outside docs/
        ("security.html", "training.html"),
    ],
)
def test_what_pages_link_to(site, page, link):
    assert f'href="{link}"' in (site / page).read_text()


def test_the_reference_has_every_command(site):
    from guard_reward.cli import app

    page = (site / "reference" / "command-line.html").read_text()
    for command in app.registered_commands:
        assert f'id="guard-reward-{command.callback.__name__}"' in page
    assert "--guard-spec" in page


def test_options_of_a_recipe_are_explained(site):
    """A field's help, which the command line shows, is in the reference too."""
    assert "Its branch, tag or commit on the hub" in (site / "reference" / "recipes.html").read_text()


def test_hooks_of_callbacks_are_not_for_users(texts):
    assert [path.name for path, text in texts.items() if re.search(r'id="guard_reward[^"]*\.on_[a-z_]+"', text)] == []


@pytest.mark.parametrize("width", [390, 1440])
def test_search_works_without_a_server(site, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.locator("label[for=__search].md-header__button" if width < 1000 else "input.md-search__input").click()
    page.keyboard.type("GuardReward")
    page.locator(".md-search-result__link[href$='#guard_reward.GuardReward']").click()
    page.wait_for_url("**/reference/rewards.html*")
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    context.close()


@pytest.mark.slow
def test_no_page_is_wider_than_the_screen(browser, texts):
    """Wide tables and code scroll by themselves."""
    playwright = pytest.importorskip("playwright.sync_api")
    page = browser.new_page()
    for path in texts:
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        for width in (390, 820, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            try:  # the menu slides into its place
                page.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=3000)
            except playwright.TimeoutError:
                pytest.fail(f"{path.name} is wider than {width} px")
    page.close()


@pytest.mark.parametrize(("colours", "scheme"), [("light", "default"), ("dark", "slate")])
def test_the_reader_s_colours_are_used(site, browser, colours, scheme):
    page = browser.new_page(color_scheme=colours)
    page.goto((site / "index.html").as_uri())
    assert page.evaluate("document.body.dataset.mdColorScheme") == scheme
    page.close()
