"""Files outside docs/ in the site: pages at the repository's root, and the files that pages link to.

Links in the pages are those of the repository, relative to the file that they stand in, so they work in an editor and
on a code host as well. Here each is followed to the file, and changed to the place that the file has in the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
# A page of the repository's root → its place in the site. README.md is for a code host; index.md begins the site.
ROOT_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
FILES = "files"  # folder of the site for files that are shown because a page links to them
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".txt": "text"}
_LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")
_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root, and a page for each file outside docs/ that a page links to."""
    for name, place in ROOT_PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text()))
    linked = {
        target
        for file in files.documentation_pages()
        for target in _targets(file.content_string, source_of(file.src_uri))
        if place_of(target).startswith(FILES + "/") and (ROOT / target).exists()  # else the link is reported
    }
    for target in sorted(linked):
        files.append(File.generated(config, place_of(target), content=_shown(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Change links to the repository's files into links of the site."""
    place, source = page.file.src_uri, source_of(page.file.src_uri)
    if place.startswith(FILES + "/"):
        return markdown

    def in_site(link: re.Match[str]) -> str:
        target = place_of(_resolved(link["target"], source))
        return posixpath.relpath(target, posixpath.dirname(place) or ".") + (link["anchor"] or "")

    text = "".join(part if odd % 2 else _LINK.sub(in_site, part) for odd, part in enumerate(_CODE.split(markdown)))
    # A bar in a table's code is escaped for code hosts; Python-Markdown would show the backslash.
    return _ROW.sub(lambda row: re.sub(r"`[^`]+`", lambda code: code[0].replace(r"\|", "|"), row[0]), text)


def source_of(place: str) -> str:
    """The path in the repository of a page of the site.

    >>> source_of("security.md"), source_of("reference/guards.md")
    ('SECURITY.md', 'docs/reference/guards.md')
    """
    return next((name for name, page in ROOT_PAGES.items() if page == place), f"docs/{place}")


def place_of(path: str) -> str:
    """The place in the site of a file of the repository.

    >>> place_of("docs/guards.md"), place_of("SECURITY.md"), place_of("README.md"), place_of("recipes/ppo.py")
    ('guards.md', 'security.md', 'index.md', 'files/recipes/ppo.py.md')
    """
    if path == "README.md":
        return "index.md"
    if path in ROOT_PAGES:
        return ROOT_PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FILES}/{path}.md"


def _targets(markdown: str, source: str) -> set[str]:
    text = "".join(_CODE.split(markdown)[::2])
    return {_resolved(link["target"], source) for link in _LINK.finditer(text)}


def _resolved(target: str, source: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _shown(path: str) -> str:
    """A page with a file's text, or with what a folder holds."""
    file = ROOT / path
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
    if file.is_dir():
        names = sorted(entry.name for entry in file.iterdir() if not entry.name.startswith(("_", ".")))
        return head + "\n".join(f"- `{name}`" for name in names)
    return f"{head}````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text()}\n````\n"
