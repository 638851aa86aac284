"""The pages that people read, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["PAGES", "REPOSITORY", "Block", "blocks", "commands", "read"]

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in ("", "docs", "docs/reference")
    for path in (REPOSITORY / folder).glob("*.md")
)
_MARKDOWN = MarkdownIt("commonmark")
_NEEDS = re.compile(r"<!-- needs: (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: where it is.
        line: of the page, from 1.
        section: the heading above it; a reader begins there.
        language: that of the fence; empty without one.
        needs: what it needs beyond an installed package (``hub``); None if it runs as it stands.
        code: its text.
    """

    page: str
    line: int
    section: str
    language: str
    needs: str | None
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: str) -> str:
    """A page's text."""
    return (REPOSITORY / page).read_text()


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in order."""
    found, section, needs = [], "", None
    tokens = _MARKDOWN.parse(read(page))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open":
            section = following.content
        elif token.type == "html_block" and (mark := _NEEDS.search(token.content)):
            needs = mark[1]
            continue
        elif token.type in ("fence", "code_block"):
            block = Block(page, token.map[0] + 1, section, token.info.strip(), needs, token.content)
            found += [block] if block.language in languages else []
        needs = None
    return found


def commands(shell: str) -> list[list[str]]:
    """The commands of a block: their words, without comments, variables in front, and what shells do between them.

    >>> commands("A=1 make x && cd y  # …\\nguard-reward serve M --run \\\\\\n  | bash")
    [['make', 'x'], ['cd', 'y'], ['guard-reward', 'serve', 'M', '--run'], ['bash']]
    """
    found: list[list[str]] = []
    for line in shell.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;"):
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    del words[0]
                found += [words] if words else []
                words = []
            else:
                words.append(word)
    return found
