"""What can be said of Python code without running it: are its names there, do its calls fit what they call?"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from collections.abc import Iterable
from typing import Any

__all__ = ["check_calls", "check_names"]


def check_names(sources: Iterable[str]) -> None:
    """Every name that blocks of one section use is defined in one of them, or built in."""
    known = set(dir(builtins))
    for source in sources:
        nodes = list(ast.walk(ast.parse(source)))
        for node in nodes:
            known |= _defined(node)
        used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        assert not used - known, f"not defined in this section: {', '.join(sorted(used - known))}"


def _defined(node: ast.AST) -> set[str]:
    match node:
        case (
            ast.Name(id=name, ctx=ast.Store())
            | ast.FunctionDef(name=name)
            | ast.ClassDef(name=name)
            | ast.arg(arg=name)
        ):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(name.asname or name.name).partition(".")[0] for name in names}
    return set()


def check_calls(source: str) -> None:
    """Imports are there, and calls of what is imported have arguments that fit its signature."""
    tree = ast.parse(source)
    imported: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.asname or name.name: importlib.import_module(name.name) for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            imported |= {name.asname or name.name: _member(module, name.name) for name in node.names}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and (called := _called(call.func, imported)) is not None:
            _check_call(call, called)


def _member(module: Any, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        return importlib.import_module(f"{module.__name__}.{name}")


def _called(function: ast.expr, imported: dict[str, Any]) -> Any:
    """The object behind `name` or `name.attribute`; None if it is not imported."""
    if isinstance(function, ast.Name):
        return imported.get(function.id)
    if isinstance(function, ast.Attribute) and (owner := _called(function.value, imported)) is not None:
        return getattr(owner, function.attr)
    return None


def _check_call(call: ast.Call, called: Any) -> None:
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(not word.arg for word in call.keywords):
        return
    try:
        inspect.signature(called).bind_partial(*call.args, **{str(word.arg): word.value for word in call.keywords})
    except TypeError as error:
        raise AssertionError(f"{ast.unparse(call.func)}: {error}") from error
