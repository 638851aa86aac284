"""Chat templates that only copy contents: what they write around them depends on the roles alone.

For such a template all conversations with the same sequence of roles are rendered alike, so it has to be rendered once
per sequence (`guard_reward.models.chat_template`). Whether a template is of this kind is proved from its syntax tree:
contents may be written, alone or joined to other text, and nothing else. What the proof does not know is no copying
template, and is rendered for each conversation.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

__all__ = ["copies_contents"]


_LOOP = {"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0"}  # not messages


class _Kind(Enum):
    """What the value of an expression depends on."""

    ROLES = "roles, and what is the same for all conversations"
    CONTENT = "the text of a message"
    MESSAGE = "a whole message"
    MESSAGES = "the list of messages, or a part of it"


class _NotCopying(Exception):
    """The template does something with contents that the proof does not know."""


def copies_contents(template: str) -> bool:
    """Whether a Jinja chat template over ``messages`` writes contents unchanged, and looks at roles only.

    >>> copies_contents("{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}")
    True
    >>> copies_contents("{{ messages[0].content | trim }}"), copies_contents("{{ 'x' if messages[0].content else '' }}")
    (False, False)
    """
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(template)
        _Proof().check(tree.body)
    except (TemplateSyntaxError, _NotCopying):
        return False
    return True


class _Proof:
    """Walks a template's statements and raises `_NotCopying` at the first that is not allowed."""

    def __init__(self) -> None:
        self._names: dict[str, _Kind] = {"messages": _Kind.MESSAGES}

    def check(self, statements: Iterable[nodes.Node]) -> None:
        for statement in statements:
            match statement:
                case nodes.Output():
                    for written in statement.nodes:
                        self._expect(written, _Kind.ROLES, _Kind.CONTENT)
                case nodes.If():
                    self._expect(statement.test, _Kind.ROLES)
                    self.check([*statement.body, *statement.elif_, *statement.else_])
                case nodes.For(test=None, recursive=False):
                    kind = self._expect(statement.iter, _Kind.ROLES, _Kind.MESSAGES)
                    self._assign(statement.target, _Kind.MESSAGE if kind is _Kind.MESSAGES else kind)
                    self.check([*statement.body, *statement.else_])
                case nodes.Assign():
                    kinds = (_Kind.ROLES, _Kind.MESSAGE, _Kind.MESSAGES)
                    self._assign(statement.target, self._expect(statement.node, *kinds))
                case nodes.Break() | nodes.Continue():
                    pass
                case _:
                    raise _NotCopying(type(statement).__name__)

    def _expect(self, expression: nodes.Node, *allowed: _Kind) -> _Kind:
        kind = self._kind(expression)
        if kind not in allowed:
            raise _NotCopying(kind)
        return kind

    def _assign(self, target: nodes.Node, kind: _Kind) -> None:
        """A name keeps its first kind; statements are checked in order, and a loop may bring a later one back."""
        match target:
            case nodes.Name(name=name) if name != "loop" and self._names.setdefault(name, kind) is kind:
                return
            case nodes.NSRef() if kind is _Kind.ROLES:  # a namespace holds nothing else
                return
        raise _NotCopying(target)

    def _kind(self, expression: Any) -> _Kind:
        match expression:
            case nodes.Const() | nodes.TemplateData():
                return _Kind.ROLES
            case nodes.Getattr(node=nodes.Name(name="loop"), attr=name) if name in _LOOP:
                return _Kind.ROLES
            case nodes.Name(name=name) if name != "loop":
                # Another name is the same for all conversations, such as bos_token; a later `set` must agree.
                return self._names.setdefault(name, _Kind.ROLES)
            case nodes.Getattr(node=owner, attr=name) | nodes.Getitem(node=owner, arg=nodes.Const(value=name)):
                return self._member(owner, name)
            case nodes.Getitem(node=owner, arg=nodes.Slice()):
                self._all_roles(expression.arg)
                return self._expect(owner, _Kind.ROLES, _Kind.MESSAGES)
            case nodes.Getitem(node=owner, arg=index):
                self._expect(index, _Kind.ROLES)
                return self._member(owner, 0)
            case nodes.Add() | nodes.Concat():
                parts = [self._expect(part, _Kind.ROLES, _Kind.CONTENT) for part in expression.iter_child_nodes()]
                return _Kind.CONTENT if _Kind.CONTENT in parts else _Kind.ROLES
            case nodes.CondExpr(test=test, expr1=first, expr2=second) if second is not None:
                self._expect(test, _Kind.ROLES)
                kinds = {self._expect(part, _Kind.ROLES, _Kind.CONTENT) for part in (first, second)}
                return _Kind.CONTENT if _Kind.CONTENT in kinds else _Kind.ROLES
            case nodes.Filter(node=nodes.Name(name="messages"), name="length" | "count"):
                return _Kind.ROLES
            case nodes.Call(node=nodes.Name(name="raise_exception" | "namespace")):
                return self._all_roles(expression)
            case nodes.Name(name="loop"):  # has the messages before and after
                raise _NotCopying(expression)
            case nodes.Call() | nodes.Filter(name="random" | "map"):  # the time, for one, differs from call to call
                raise _NotCopying(expression)
            case nodes.Expr():
                return self._all_roles(expression)
        raise _NotCopying(expression)

    def _member(self, owner: nodes.Node, name: Any) -> _Kind:
        """The kind of ``owner.name`` or ``owner[name]``."""
        kind = self._kind(owner)
        if kind is _Kind.ROLES:
            return kind
        if kind is _Kind.MESSAGES and isinstance(name, int):
            return _Kind.MESSAGE
        if kind is _Kind.MESSAGE and name in ("role", "content"):
            return _Kind.ROLES if name == "role" else _Kind.CONTENT
        raise _NotCopying(kind, name)

    def _all_roles(self, expression: nodes.Node) -> _Kind:
        """Of an operation whose operands all depend on the roles only."""
        for operand in expression.iter_child_nodes():
            match operand:
                case nodes.Operand(expr=value) | nodes.Keyword(value=value):
                    self._expect(value, _Kind.ROLES)
                case _:
                    self._expect(operand, _Kind.ROLES)
        return _Kind.ROLES
