"""Names of the API in code font become links to the reference: in pages, in docstrings, and in tables.

`GuardReward`, `schemes.Hybrid(unsafe=-10)` and `guard_reward.report.write_report` are found; so is the word in front of
an argument list. A name of several words, or with a capital letter, needs no package in front of it; `mix` and `parse`
alone are ordinary words.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
_DIRECTIVE = re.compile(r"^::: (guard_reward\S*)", re.MULTILINE)
# Not in a link, a heading or a block of code; those are matched first and left as they are.
_CODE = re.compile(
    r"<(?P<tag>a|pre|h[1-6]|autoref)\b.*?</(?P=tag)>|<code>(?P<name>[A-Za-z_][\w.]*)(?P<rest>\([^<]*\))?</code>",
    re.DOTALL,
)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Turn names into references, which the plugin `autorefs` resolves when all pages are known."""
    return html if page.file.src_uri.startswith("files/") else _CODE.sub(_linked, html)


def _linked(code: re.Match[str]) -> str:
    identifier = code["name"] and identifiers().get(code["name"])
    return f'<autoref identifier="{identifier}">{code[0]}</autoref>' if identifier else code[0]


@cache
def identifiers() -> dict[str, str]:
    """What a page may call a public name → where the reference has it."""
    found: dict[str, str] = {}
    for page in sorted(REFERENCE.glob("*.md")):
        for path in _DIRECTIVE.findall(page.read_text()):
            package, _, name = path.rpartition(".")
            found[path] = path
            found.setdefault(f"{package.removeprefix('guard_reward.')}.{name}", path)
            if name != name.lower() or "_" in name:
                found.setdefault(name, path)
    return found
