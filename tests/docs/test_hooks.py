"""What the site changes in pages: links to files, names of the reference, sessions in docstrings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocstrings")

import griffe

from docs.hooks import linked_names, repository_files
from docs.hooks.docstrings import ReadableDocstrings


@pytest.mark.parametrize(
    ("place", "markdown", "expected"),
    [
        ("guards.md", "[a](architecture.md#packages)", "[a](architecture.md#packages)"),
        ("guards.md", "[a](../SECURITY.md)", "[a](security.md)"),
        ("guards.md", "[a](../README.md)", "[a](index.md)"),
        ("guards.md", "[a](../recipes/ppo.py)", "[a](files/recipes/ppo.py.md)"),
        ("guards.md", "![a](schemes.png)", "![a](schemes.png)"),
        ("reference/ppo.md", "[a](../training.md#ppo)", "[a](../training.md#ppo)"),
        ("reference/ppo.md", "[a](../../recipes/ppo.py)", "[a](../files/recipes/ppo.py.md)"),
        ("changelog.md", "[a](docs/guards.md#x)", "[a](guards.md#x)"),  # its source is at the root
        ("changelog.md", "[a](LICENSE)", "[a](files/LICENSE.md)"),
        ("guards.md", "[a](https://x.org/y.md), [b](#here)", "[a](https://x.org/y.md), [b](#here)"),
        ("guards.md", "`[a](../SECURITY.md)`", "`[a](../SECURITY.md)`"),  # code
        ("guards.md", r"| `U\|S` | a \| b |", r"| `U|S` | a \| b |"),
        ("guards.md", "```\n[a](../SECURITY.md)\n```", "```\n[a](../SECURITY.md)\n```"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(place, markdown, expected):
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))
    assert repository_files.on_page_markdown(markdown, page) == expected


@pytest.mark.parametrize(
    ("html", "identifier"),
    [
        ("<code>GuardReward</code>", "guard_reward.GuardReward"),
        ("<code>guard_reward.GuardReward</code>", "guard_reward.GuardReward"),
        ("<code>schemes.Hybrid(unsafe=-10, refusal=-5)</code>", "guard_reward.schemes.Hybrid"),
        ("<code>load_guard</code>", "guard_reward.load_guard"),
        ("<code>streaming.TextFeed</code>", "guard_reward.streaming.TextFeed"),
        ("<code>mix</code>", None),  # a word
        ("<code>rubric</code>", None),
        ("<code>NoSuchName</code>", None),
        ("<h2><code>GuardReward</code></h2>", None),
        ("<pre><code>GuardReward</code></pre>", None),
        ('<a href="x"><code>GuardReward</code></a>', None),
        ("<code>GuardReward=1</code>", None),
    ],
)
def test_names_become_links(html, identifier):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="guards.md"))
    made = linked_names.on_page_content(html, page)
    assert made == (f'<autoref identifier="{identifier}">{html}</autoref>' if identifier else html)


def test_a_session_becomes_a_block_of_code():
    text = "Says.\n\n>>> f(1)  # doctest: +SKIP\n2\n>>> g(\n...     3\n... )\n\nMore.\n\nExample:\n    >>> h()\n    4\n"
    function = griffe.Function("f", docstring=griffe.Docstring(text))
    ReadableDocstrings().on_instance(obj=function)
    assert function.docstring.value == (
        "Says.\n\n```pycon\n>>> f(1)\n2\n>>> g(\n...     3\n... )\n```\n\nMore.\n\n"
        "Example:\n    ```pycon\n    >>> h()\n    4\n    ```"
    )


@pytest.mark.parametrize(
    ("value", "added"),
    [
        ('field(default=1, metadata={"help": "How many."})', "\n\nArgs:\n    size: How many."),
        ('field(metadata={"help": f"One of {NAMES}."})', "\n\nArgs:\n    size: One of …."),
        ("field(default_factory=dict)", ""),
        ("3", ""),
    ],
)
def test_a_field_is_explained_by_its_help(value, added):
    config = griffe.Class("Config", docstring=griffe.Docstring("Says."))
    config.set_member("size", griffe.Attribute("size", value=value))
    ReadableDocstrings().on_class_members(cls=config)
    assert config.docstring.value == "Says." + added
