"""Reward schemes: what the guard found → one number.

A scheme is a small picklable callable from an `Assessment` (the verdicts on answer and thinking, plus helpfulness) to a
float. It knows verdicts; it knows no model, no trainer and no text.

    >>> from guard_reward.verdict import Category, Severity, Verdict
    >>> answer = Verdict(Severity.SAFE, refusal=True)
    >>> GuardOnly()(Assessment(answer)), Hybrid()(Assessment(answer, helpfulness=3.0))
    (1.0, -5.0)

One idea a file:

- `guard_reward.schemes.base`: what a scheme is given, and how Controversial counts.
- `guard_reward.schemes.qwen3guard_report`: `GuardOnly` and `Hybrid`, two equations of the Qwen3Guard technical report (arXiv
  2510.14276, section 3.5) as they stand.
- `guard_reward.schemes.severity`: `SeverityTable`, a value per level and category.
- `guard_reward.schemes.soft`: `Soft`, the expected value of another scheme under the guard's probabilities.
- `guard_reward.schemes.appropriate_refusal`: `AppropriateRefusal`, right on unsafe prompts and wrong on safe ones.
- `guard_reward.schemes.lagrangian`: `Lagrangian`, helpfulness subject to an unsafe rate.
- `guard_reward.schemes.safe_completion`: `SafeCompletion`, helpfulness times safety.
- `guard_reward.schemes.boundary`: `Boundary`, away from the cutoff of a filter behind the policy.
- `guard_reward.schemes.registry`: their plain names.

``controversial`` says in every scheme how a Controversial verdict counts: ``"unsafe"`` (strict, the report's choice),
``"safe"`` (loose), or a number in between.
"""

from guard_reward.schemes.appropriate_refusal import AppropriateRefusal
from guard_reward.schemes.base import Assessment, Controversial, Scheme
from guard_reward.schemes.boundary import Boundary
from guard_reward.schemes.lagrangian import Lagrangian
from guard_reward.schemes.qwen3guard_report import GuardOnly, Hybrid
from guard_reward.schemes.registry import SCHEMES, make_scheme
from guard_reward.schemes.safe_completion import SafeCompletion
from guard_reward.schemes.severity import SeverityTable
from guard_reward.schemes.soft import Soft, hard

__all__ = [
    "SCHEMES",
    "AppropriateRefusal",
    "Assessment",
    "Boundary",
    "Controversial",
    "GuardOnly",
    "Hybrid",
    "Lagrangian",
    "SafeCompletion",
    "Scheme",
    "SeverityTable",
    "Soft",
    "hard",
    "make_scheme",
]
