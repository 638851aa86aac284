"""Llama Guard 3 and 4 (Meta): safe, or unsafe with the codes of the hazards.

safe
unsafe
S1,S10

Sources: the model cards in https://github.com/meta-llama/PurpleLlama (``Llama-Guard3``, ``Llama-Guard4``), which name
the hazards and the answer, and copies of the checkpoints' chat templates in public repositories. The templates are
the checkpoints' own: those of Llama Guard 3 1B and of 4 take a content as a list of parts, that of 3 8B as text. All
but the last words of an answer come behind two line breaks, which the templates leave to the model.

A verdict's categories are the hazards' names on the model cards (``Violent Crimes``), not their codes. Llama Guard 3
1B does not have S14. Llama Guard 1 and 2 have other hazards behind the same codes: they are not of this family.

Not checked: the answers of the real weights; Llama Guard 4's own template (copies of it agree on the prompt). Its
attention is in chunks, so it does not run in this process: serve it, or run it in vLLM.
"""

from __future__ import annotations

from dataclasses import replace

from guard_reward.guards.answer import AnswerFormat, Labels, Names
from guard_reward.guards.spec import GuardSpec
from guard_reward.verdict import Severity

__all__ = ["HAZARDS", "LLAMA_GUARD", "LLAMA_GUARD_1B", "SECTIONS"]

HAZARDS = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex-Related Crimes",
    "S4": "Child Sexual Exploitation",
    "S5": "Defamation",
    "S6": "Specialized Advice",
    "S7": "Privacy",
    "S8": "Intellectual Property",
    "S9": "Indiscriminate Weapons",
    "S10": "Hate",
    "S11": "Suicide & Self-Harm",
    "S12": "Sexual Content",
    "S13": "Elections",
    "S14": "Code Interpreter Abuse",
}
"""Code → name of MLCommons' hazards, and of S14, which is Meta's."""


def _answer(hazards: dict[str, str]) -> AnswerFormat:
    return AnswerFormat(
        "<severity>",
        optional="\n<categories>",
        opening="\n\n",
        severity=Labels({"safe": Severity.SAFE, "unsafe": Severity.UNSAFE}),
        categories=Names(hazards, separator=","),
    )


SECTIONS = tuple(
    f"<{border} {section}>" for section in ("UNSAFE CONTENT CATEGORIES", "CONVERSATION") for border in ("BEGIN", "END")
)
"""The section marks that NVIDIA's guards took over."""

LLAMA_GUARD = GuardSpec(
    name="llama-guard",
    response_answer=_answer(HAZARDS),
    categories=tuple(HAZARDS.values()),
    template_options={"add_generation_prompt": True},
    roles=("user", "assistant"),
    turn_labels={"user": "User: ", "assistant": "Agent: "},
    sections=SECTIONS,
    name_pattern=r"(?i)llama-?guard-?[34]",
    template_pattern=r"S5\W{1,4}Defamation[\s\S]*S14\W{1,4}Code Interpreter[\s\S]*<BEGIN CONVERSATION>",
    max_new_tokens=48,
    alternates=True,
)

_OF_1B = {code: name for code, name in HAZARDS.items() if code != "S14"}

LLAMA_GUARD_1B = replace(
    LLAMA_GUARD,
    name="llama-guard-3-1b",
    response_answer=_answer(_OF_1B),
    categories=tuple(_OF_1B.values()),
    name_pattern=r"(?i)llama-?guard-?3-1b",
    template_pattern=r"S5\W{1,4}Defamation(?![\s\S]*S14)[\s\S]*<BEGIN CONVERSATION>",
)
