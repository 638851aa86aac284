"""How docstrings are read for the reference: an extension of griffe, which reads the code without importing it.

- Lines of an interactive Python session are a block of code, although no fence is around them.
- The fields of a dataclass whose help the command line shows are its arguments.
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

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Say what the fields of a configuration mean, by `field(metadata={"help": …})`."""
        helps = {
            name: text
            for name, member in cls.members.items()
            if member.is_attribute and member.value is not None and (text := _help(str(member.value)))
        }
        if helps and cls.docstring:
            cls.docstring.value += "\n\nArgs:\n" + "\n".join(f"    {name}: {text}" for name, text in helps.items())


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
