"""Attacks of the user's own: from a file, or from Python.

One JSON object per line:

| field | meaning |
|---|---|
| ``name`` | unique |
| ``family`` | what it is summed up under; by default ``own`` |
| ``prefix``, ``suffix`` | text in front of the reply, and behind it |
| ``replace`` | a mapping of what to replace in the reply |
| ``template`` | the whole text, with ``{reply}``, and ``{request}``, ``{harmless}`` and ``{refusal}`` of the replies' own world |
| ``keeps`` | ``reply`` (all of it is still there) or ``nothing`` (nothing, or a part); by default ``reply``, and ``nothing`` for a template without ``{reply}`` |

Exactly one of prefix and suffix, replace, template.
"""  # noqa: E501  a table

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from guard_reward.errors import UserError, shortened
from guard_reward.evaluation.grading.row_files import file_rows
from guard_reward.importing import imported
from guard_reward.redteam.attack import Attack, Change, Draft, Keeps, Material

__all__ = ["OWN", "attack_of", "attacks_at", "read_attacks"]

OWN = "own"
"""The family of attacks that name none."""

_KNOWN = ("name", "family", "prefix", "suffix", "replace", "template", "keeps")
_PLACE = re.compile(r"\{(reply|request|harmless|refusal)\}")


def read_attacks(path: Path) -> list[Attack]:
    """The attacks of a file; see the module.

    Raises:
        UserError: names the line and the field that is wrong; or there is no attack.
        OSError: the file cannot be read.
    """
    found = [attack_of(fields, place) for place, fields in file_rows(path)]
    if not found:
        raise UserError(f"{path} has no attacks")
    return found


def attack_of(fields: Mapping[str, Any], place: str) -> Attack:
    """One attack from the values of a line.

    Args:
        fields: see the module.
        place: of the line, for errors.

    Raises:
        UserError: names the place and the field that is wrong.

    >>> attack = attack_of({"name": "polite", "prefix": "Gladly. "}, "line 1")
    >>> attack(Draft("Cut the wire."), Material(), Random(0)).answer
    'Gladly. Cut the wire.'
    """
    if unknown := [name for name in fields if name not in _KNOWN]:
        raise UserError(f"{place}: there is no {', '.join(unknown)}; there are {', '.join(_KNOWN)}")
    texts = {name: fields[name] for name in ("name", "family", "prefix", "suffix", "template") if name in fields}
    for name, value in texts.items():
        if not isinstance(value, str) or not value:
            raise UserError(f"{place}: {name} should be a text, found {shortened(value)}")
    if "name" not in texts:
        raise UserError(f"{place} has no name")
    change = _change(fields, place)
    has_reply = "template" not in fields or "{reply}" in fields["template"]
    keeps = _keeps(fields.get("keeps"), Keeps.REPLY if has_reply else Keeps.NOTHING, place)
    return Attack(texts["name"], texts.get("family", OWN), change, keeps)


def attacks_at(path: str) -> list[Attack]:
    """The attacks at a dotted path: an `Attack`, several of them, or a function from a draft or its text to the like.

    A function is called with the draft if its first parameter is called ``draft``, or is annotated as one; else with
    the text of the answer.

    Args:
        path: such as ``my_attacks.shout``; the working directory is searched too.

    Raises:
        UserError: it cannot be imported, or is something else.
    """
    found = imported(path, "attack")
    if isinstance(found, Attack):
        return [found]
    if isinstance(found, Sequence) and found and all(isinstance(it, Attack) for it in found):
        return list(found)
    if callable(found):
        return [Attack(path, OWN, _called(found, path))]
    raise UserError(f"attack: {path!r} should be an Attack, a list of them or a function, found {shortened(found)}")


def _change(fields: Mapping[str, Any], place: str) -> Change:
    given = [name for name in ("prefix", "suffix", "replace", "template") if name in fields]
    if not given or (len(given) > 1 and given != ["prefix", "suffix"]):
        raise UserError(
            f"{place}: give prefix and suffix, or replace, or template; found {', '.join(given) or 'none of them'}"
        )
    if "replace" in fields:
        return _replacing(fields["replace"], place)
    template = fields.get("template")
    if template is None:
        prefix, suffix = fields.get("prefix", ""), fields.get("suffix", "")
        return lambda draft, *_: draft.with_answer(f"{prefix}{draft.answer}{suffix}")
    return lambda draft, material, _: draft.with_answer(_filled(template, draft, material))


def _filled(template: str, draft: Draft, material: Material) -> str:
    texts = {
        "reply": draft.answer,
        "request": material.request,
        "harmless": material.reply,
        "refusal": material.refusal,
    }
    return _PLACE.sub(lambda match: texts[match[1]], template)


def _replacing(table: Any, place: str) -> Change:
    is_table = isinstance(table, Mapping) and table and all(isinstance(value, str) for value in table.values())
    if not is_table or "" in table:
        raise UserError(f"{place}: replace should map texts to texts, found {shortened(table)}")
    pattern = re.compile("|".join(re.escape(old) for old in sorted(table, key=len, reverse=True)))
    return lambda draft, *_: draft.with_answer(pattern.sub(lambda match: table[match[0]], draft.answer))


def _keeps(value: Any, default: Keeps, place: str) -> Keeps:
    if value is None:
        return default
    try:
        return Keeps(value)
    except ValueError:
        raise UserError(f"{place}: keeps should be {' or '.join(Keeps)}, found {shortened(value)}") from None


def _called(function: Callable[..., Any], path: str) -> Change:
    takes_draft = _takes_draft(function)

    def change(draft: Draft, _material: Material, _random: Random) -> Draft:
        result = function(draft if takes_draft else draft.answer)
        if isinstance(result, str):
            return draft.with_answer(result)
        if not isinstance(result, Draft):
            raise UserError(f"attack: {path!r} should return a text or a Draft, found {shortened(result)}")
        return result

    return change


def _takes_draft(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
    if not parameters:
        return False
    return parameters[0].name == "draft" or parameters[0].annotation in (Draft, "Draft")
