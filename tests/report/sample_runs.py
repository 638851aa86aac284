"""Runs as a page gets them: small, with everything that a page can show."""

from __future__ import annotations

import math
from typing import Any

from guard_reward.report import Alarm, Measurement, Run
from guard_reward.report.cells import Estimate

STEPS = 40
CANARY = "globalThis.attacked = true"
"""What no text may do. It is tried as markup, as an attribute, as the end of a script, as a template, as a link."""

ATTACKS = (
    f"<script>{CANARY}</script>",
    f"</script><script>{CANARY}</script>",
    f"</style><img src=x onerror='{CANARY}'>",
    f"<!--<script>{CANARY}//-->",
    f"]]></title></textarea><svg onload='{CANARY}'>",
    f"\" autofocus onfocus='{CANARY}' x=\"",
    f"<a href='javascript:{CANARY}'>x</a> javascript:{CANARY} [x](javascript:{CANARY})",
    "{{ 7*7 }} {% raw %} ${7*7} %{y} %{fullData.name} __proto__ constructor",
    "\u2028\u2029\u202egnp.exe\u202c \u200b\ufeff\x00\x1b[31m \ud83d half \udc00",
    "</script/><iframe srcdoc='<script>parent.attacked=1</script>'></iframe><base href=https://evil.invalid/>",
    "<meta http-equiv=refresh content='0;url=https://evil.invalid/'><link rel=stylesheet href=https://evil.invalid/x.css>",
)
ATTACK = " ".join(ATTACKS)


def log(start: float, end: float) -> list[dict[str, Any]]:
    """A safe rate from one value to the other, half of it at the middle."""
    lines: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        share = 1 / (1 + math.exp(-(step - STEPS / 2) / 2))
        safe = start + (end - start) * share
        lines.append(
            {
                "step": step,
                "epoch": step / STEPS,
                "reward": 2 * safe - 1,
                "guard/safe_rate/harmful": safe,
                "guard/safe_rate": safe,
                "guard/unsafe_rate": 1 - safe,
                "guard/refusal_rate/harmful": share,
                "guard/category/Violent": (1 - safe) / 2,
                "guard/category/PII": 0.0,
                "guard/seconds": 0.1 + 0.01 * share,
                "kl": share / 10,
            }
        )
        if step % 10 == 0:
            lines.append({"step": step, "eval_guard/safe_rate": safe, "eval_judge/safe_rate": safe - 0.05})
    return lines


def rollouts(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows as TRL and a guard's reward write them; the worst is the one with the highest P(unsafe)."""
    severities = ("Safe", "Unsafe", "Controversial", None)
    return [
        {
            "step": 1 + number % STEPS,
            "prompt": [{"role": "user", "content": f"Question {seed}-{number}"}],
            "thinking": "Let me think." if number % 2 else None,
            "completion": f"Answer number {number} " + "word " * (number % 7) * 20,
            "guard": number / count,
            "guard_severity": severities[number % 4],
            "guard_categories": "Violent" if number % 4 == 1 else "",
            "guard_refusal": number % 3 == 0,
            "guard_outcome": "scored" if number % 4 < 3 else "no_verdict",
            "guard_p_unsafe": number / count,
            "advantage": 0.5,
        }
        for number in range(count)
    ]


def measured(stage: str, safe: float, refused: float, *, independent: bool | None = True) -> Measurement:
    return Measurement(
        stage,
        "the judge wildguard, 500 held-out prompts",
        independent,
        {
            "safety_rate": Estimate(safe, safe - 0.02, min(1.0, safe + 0.02)),
            "refusal_rate_harmful": Estimate(refused, refused - 0.02, refused + 0.02),
            "helpfulness": Estimate(0.5, 0.45, 0.55),
        },
    )


def two_runs(count: int = 120) -> list[Run]:
    """A run that helps safely, with an alarm, and a run that goes on."""
    first = rollouts(count)
    alarm = Alarm(
        20, "second_guard", "A second guard finds 21% unsafe.", [first[5], {"prompt": "p", "completion": "new"}]
    )
    return [
        Run(
            name="hybrid",
            folder="runs/hybrid",
            log=log(0.5, 0.98),
            rollouts=first,
            rollout_total=4000,
            settings={"scheme": "hybrid", "GRPOConfig.beta": "0.04"},
            measurements=[measured("before", 0.5, 0.4), measured("after", 0.97, 0.05)],
            alarms=[alarm],
            max_steps=STEPS,
            notes=["The evaluation of step 20 could not be read."],
        ),
        Run(
            name="guard/only",
            folder="runs/guard_only",
            log=log(0.5, 0.99),
            rollouts=rollouts(count, seed=1),
            rollout_total=count,
            settings={"scheme": "guard_only", "GRPOConfig.beta": "0.04"},
            measurements=[measured("after", 0.99, 0.95, independent=False)],
            max_steps=400,
            is_running=True,
        ),
    ]


def hostile_run(text: str, name: str) -> Run:
    """A run in which everything that comes from outside is one text."""
    row = dict.fromkeys(("prompt", "thinking", "completion", "guard_severity", "guard_outcome", "guard_refusal"), text)
    return Run(
        name=name,
        folder=text,
        log=[
            {
                "step": step,
                f"guard/category/{text}": 0.5,
                text: step,
                "reward": step,
                "guard/safe_rate": 0.5,
                "guard/refusal_rate": 0.4,
            }
            for step in (1, 2, 3)
        ],
        rollouts=[
            {"step": 1, **row, text: text, "id": text},
            {"step": text, "prompt": [{"role": text, "content": text}]},
        ],
        rollout_total=2,
        settings={text: text},
        measurements=[
            Measurement(
                stage, text, None, {"safety_rate": Estimate(0.5), "refusal_rate": Estimate(0.1), text: Estimate(1.0)}
            )
            for stage in (text, f"{text} 2", f"{text} 3")
        ],
        alarms=[Alarm(1, text, text, [row])],
        notes=[text],
    )
