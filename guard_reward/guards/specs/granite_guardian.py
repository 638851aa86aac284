"""Granite Guardian 3.0 to 3.3 (IBM): does the last message meet a criterion, by default that of harm?

3.0, 3.1   Yes|No
3.2        Yes|No
           <confidence> High|Low </confidence>
3.3        <think>…</think>
           <score> yes|no </score>

Sources: the cookbooks of https://github.com/ibm-granite/granite-guardian, which show calls and answers, and a copy of
the 3.0 chat template in a public repository. The templates are the checkpoints' own. One criterion is judged per
call: ``harm`` unless `granite_guardian` or `granite_guardian_33` names another, so verdicts have no categories. Both
prompts and responses are judged; nothing says whether a response refuses.

The template of 3.0 and 3.1 shows the last message and the one before it. Granite Guardian 4.1 expects its criterion
in a further user's message and is not of this family.

Not checked: the answers of the real weights; the blanks between the lines of 3.2 and 3.3; the 3.3 template.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from guard_reward.guards.answer import AnswerFormat, Labels
from guard_reward.guards.spec import GuardSpec
from guard_reward.verdict import Severity

__all__ = ["GRANITE_GUARDIAN", "GRANITE_GUARDIAN_33", "granite_guardian", "granite_guardian_33"]

_THINKING_TOKENS = 2048  # as long as the longest answers in the cookbooks
_OPTIONS: dict[str, Any] = {"add_generation_prompt": True}

GRANITE_GUARDIAN_33 = GuardSpec(
    name="granite-guardian-3.3",
    response_answer=AnswerFormat(
        "<<score> <severity> <</score>",
        thinks=True,
        severity=Labels({"no": Severity.SAFE, "yes": Severity.UNSAFE}),
    ),
    template_options=_OPTIONS,
    roles=("system", "user", "assistant"),
    turn_labels={"user": "User: ", "assistant": "Assistant: ", "guardian": "### Scoring Schema: "},
    sections=("<guardian>",),
    name_pattern=r"(?i)granite-guardian-3\.3",
    template_pattern=r"criteria_id|custom_criteria",
    max_new_tokens=64,
)

GRANITE_GUARDIAN = GuardSpec(
    name="granite-guardian",
    response_answer=AnswerFormat(
        "<severity>",
        optional="\n<<confidence> <confidence> <</confidence>",
        severity=Labels({"No": Severity.SAFE, "Yes": Severity.UNSAFE}),
        confidence=Labels({"High": "high", "Low": "low"}),
    ),
    template_options=_OPTIONS,
    roles=("user", "assistant"),
    turn_labels={"user": "User Message: ", "assistant": "Assistant Message: ", "context": "Context: "},
    sections=("<start_of_turn>", "<end_of_turn>", "<start_of_risk_definition>", "<end_of_risk_definition>"),
    name_pattern=r"(?i)granite-?guardian-?3",
    template_pattern=r"risk_bank",
    max_new_tokens=32,
)


def granite_guardian(risk: str = "harm", definition: str | None = None) -> GuardSpec:
    """Granite Guardian 3.0 to 3.2 with another risk.

    Args:
        risk: one that the checkpoint's template knows (``social_bias``, ``violence``, …), or a new name.
        definition: of a new one.

    >>> granite_guardian("violence").template_options["guardian_config"]
    {'risk_name': 'violence'}
    """
    config = {"risk_name": risk} | ({} if definition is None else {"risk_definition": definition})
    return replace(GRANITE_GUARDIAN, template_options={**_OPTIONS, "guardian_config": config}, policy=definition)


def granite_guardian_33(
    criteria: str = "harm", *, custom_criteria: str | None = None, think: bool = False
) -> GuardSpec:
    """Granite Guardian 3.3 with another criterion, or with a reasoning trace.

    Args:
        criteria: one that the checkpoint's template knows (``harm``, ``social_bias``, ``jailbreak``, …).
        custom_criteria: a criterion in the user's own words instead.
        think: whether the guard reasons first, which takes seconds instead of one pass.

    >>> granite_guardian_33(custom_criteria="The text promises a refund.").template_options["guardian_config"]
    {'custom_criteria': 'The text promises a refund.'}
    """
    config = {"criteria_id": criteria} if custom_criteria is None else {"custom_criteria": custom_criteria}
    options = {**_OPTIONS, "guardian_config": config, "think": think}
    tokens = _THINKING_TOKENS if think else GRANITE_GUARDIAN_33.max_new_tokens
    return replace(GRANITE_GUARDIAN_33, template_options=options, max_new_tokens=tokens, policy=custom_criteria)
