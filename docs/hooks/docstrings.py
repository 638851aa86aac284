"""How docstrings are read for the reference: an extension of griffe, which reads the code without importing it.

- Lines of an interactive Python session are a block of code, although no fence is around them.
- The help of a dataclass's field, which the command line shows, is the field's docstring.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

_SESSION = re.compile(
    r"^(?P<indent> *)>>> .*(?:\n(?P=indent)(?!>>> )\S.*|\n(?P=indent)>>> .*|\n(?P=indent) +\S.*)*", re.MULTILINE
)


class ReadableDocstrings(griffe.Extension):
    """See the module."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put sessions into fences."""
        if obj.docstring:
            obj.docstring.value = _SESSION.sub(_fenced, obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Give a field the text of `field(metadata={"help": …})`."""
        if attr.docstring is None and attr.value is not None and (text := _help(str(attr.value))):
            attr.docstring = griffe.Docstring(text, parent=attr)


def _fenced(session: re.Match[str]) -> str:
    indent = session["indent"]
    text = re.sub(r" *# doctest: \+[A-Z_, +]+$", "", session[0], flags=re.MULTILINE)
    return f"{indent}```pycon\n{text}\n{indent}```"


def _help(value: str) -> str | None:
    """The help in a field's definition, which may be a formatted string: its parts that are known here."""
    for call in ast.walk(ast.parse(value, mode="eval")):
        if isinstance(call, ast.Dict):
            for key, text in zip(call.keys, call.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help":
                    return _text(text)
    return None


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None
