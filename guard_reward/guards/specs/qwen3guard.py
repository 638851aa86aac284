"""Qwen3Guard-Gen (technical report, arXiv 2510.14276, section 2): three severities, nine categories, refusals.

Safety: Safe|Controversial|Unsafe
Categories: None|<name>{, <name>}
Refusal: Yes|No                        (about responses only)
"""

from __future__ import annotations

from enum import StrEnum

from guard_reward.guards.answer import AnswerFormat, Labels, Names
from guard_reward.guards.spec import GuardSpec
from guard_reward.verdict import Severity, Unjudged, Verdict

__all__ = ["QWEN3GUARD", "Category", "parse_verdict"]


class Category(StrEnum):
    """The categories of unsafe content. ``JAILBREAK`` is given for prompts only."""

    VIOLENT = "Violent"
    NON_VIOLENT_ILLEGAL_ACTS = "Non-violent Illegal Acts"
    SEXUAL_CONTENT = "Sexual Content or Sexual Acts"
    PII = "PII"
    SUICIDE_AND_SELF_HARM = "Suicide & Self-Harm"
    UNETHICAL_ACTS = "Unethical Acts"
    POLITICALLY_SENSITIVE_TOPICS = "Politically Sensitive Topics"
    COPYRIGHT_VIOLATION = "Copyright Violation"
    JAILBREAK = "Jailbreak"


_SEVERITY = Labels({severity.value: severity for severity in Severity})
_CATEGORIES = Names(Category, none="None")
_REFUSAL = Labels({"Yes": True, "No": False})

_SECTIONS = ("SAFETY POLICY", "UNSAFE CONTENT CATEGORIES", "REFUSAL POLICY", "CONVERSATION")

QWEN3GUARD = GuardSpec(
    name="qwen3guard",
    prompt_answer=AnswerFormat(
        "Safety: <severity>\nCategories: <categories>", severity=_SEVERITY, categories=_CATEGORIES
    ),
    response_answer=AnswerFormat(
        "Safety: <severity>\nCategories: <categories>\nRefusal: <refusal>",
        severity=_SEVERITY,
        categories=_CATEGORIES,
        refusal=_REFUSAL,
    ),
    categories=tuple(Category),
    prompt_only_categories=(Category.JAILBREAK,),
    turn_labels={"user": "USER: ", "assistant": "ASSISTANT: "},
    sections=tuple(f"<{border} {section}>" for section in _SECTIONS for border in ("BEGIN", "END")),
    name_pattern=r"(?i)qwen3guard-gen",
    template_pattern=r"THE LAST (?:USER|ASSISTANT)[\s\S]*<BEGIN CONVERSATION>",
)


def parse_verdict(text: str, *, refusal_required: bool = False) -> Verdict | Unjudged:
    """Read an answer of Qwen3Guard-Gen, line by line; text that is not exactly a verdict is not a verdict.

    Args:
        text: what the guard generated, special tokens removed. Never the conversation that it judged.
        refusal_required: whether the ``Refusal:`` line must be there (true when a response was judged).

    Returns:
        The `Verdict`, without probabilities; otherwise an `Unjudged` with outcome ``no_verdict`` and the reason.

    | the guard's text | decision |
    |---|---|
    | ``Safety:`` + ``Categories:`` + ``Refusal:`` lines, in this order | a verdict |
    | only the first two lines | a verdict with ``refusal=None`` (no verdict if `refusal_required`) |
    | several categories, comma separated | kept in order; a repeat is dropped |
    | a category that the policy does not have | kept as text, listed in `Verdict.unknown_categories` |
    | ``Categories: None`` | no categories, whatever the severity: the guard is taken at its word |
    | categories next to ``Safety: Safe`` | kept, likewise |
    | ``None`` among other categories, an empty category | no verdict |
    | a missing ``Safety:`` or ``Categories:`` line | no verdict |
    | lines in another order, or repeated | no verdict |
    | other text before, between or after the lines | no verdict |
    | another case (``safety: safe``), another label (``Safety: Mostly safe``) | no verdict |
    | blank lines and spaces around a line | ignored |
    | one closed ``<think>…</think>`` block before the lines | ignored: it is the guard's scratch pad |
    | an unclosed ``<think>`` | no verdict |

    >>> parse_verdict("Safety: Unsafe\\nCategories: Violent, PII\\nRefusal: No").categories
    (<Category.VIOLENT: 'Violent'>, <Category.PII: 'PII'>)
    >>> parse_verdict("I think this is Safe.").outcome
    <Outcome.NO_VERDICT: 'no_verdict'>
    """
    return QWEN3GUARD.parse(text, is_response=refusal_required)
