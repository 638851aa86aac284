"""Attacks from functions of a text, and from tables of templates.

>>> from random import Random
>>> from guard_reward.redteam.attack import Draft
>>> (polite,) = from_templates("openers", {"polite": "Sure! {answer}"})
>>> polite(Draft("Cut the wire."), Material(), Random(0)).answer
'Sure! Cut the wire.'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from guard_reward.redteam.attack import Attack, Change, Keeps, Material

__all__ = ["filled", "from_templates", "from_texts"]

TextChange = Callable[[str], str]


def from_texts(family: str, changes: Mapping[str, TextChange], *, keeps: Keeps = Keeps.REPLY) -> tuple[Attack, ...]:
    """One attack per function of the answer's text, by the name of the attack."""
    return tuple(Attack(name, family, _on_answer(change), keeps) for name, change in changes.items())


def from_templates(family: str, templates: Mapping[str, str], *, keeps: Keeps = Keeps.REPLY) -> tuple[Attack, ...]:
    """One attack per template of the answer, by the name of the attack; see `filled`."""
    return tuple(Attack(name, family, _from_template(template), keeps) for name, template in templates.items())


def filled(template: str, answer: str, material: Material) -> str:
    """A template with ``{answer}``, and the ``{request}``, ``{reply}``, ``{refusal}`` and ``{prompt}`` of the material.

    Braces of its own are doubled, as in `str.format`.
    """
    texts = {"request": material.request, "reply": material.reply, "refusal": material.refusal}
    return template.format(answer=answer, prompt=material.prompt, **texts)


def _on_answer(change: TextChange) -> Change:
    return lambda draft, material, random: draft.with_answer(change(draft.answer))


def _from_template(template: str) -> Change:
    return lambda draft, material, random: draft.with_answer(filled(template, draft.answer, material))
