"""Reward schemes: verdicts → one number.

A scheme is a small picklable function from an `Assessment` (the verdicts on answer, thinking and prompt, plus
helpfulness) to a float. It knows verdicts; it does not know models, trainers or text.

    >>> from guard_reward.verdict import Severity, Verdict
    >>> answer = Verdict(Severity.SAFE, refusal=True)
    >>> GuardOnly()(Assessment(answer)), Hybrid()(Assessment(answer, helpfulness=3.0))
    (1.0, -5.0)

- `guard_reward.schemes.base`: `Assessment`, and `Scheme`, the base class.
- `guard_reward.schemes.values`: checks of a scheme's values, and what Controversial counts.
- `guard_reward.schemes.qwen3guard_report`: `GuardOnly` and `Hybrid`, equations 1 and 2 of the Qwen3Guard technical
  report (arXiv 2510.14276, section 3.5).
- `guard_reward.schemes.severity`: `SeverityTable`, a value per level and category.
- `guard_reward.schemes.soft`: `Soft`, the expected value of another scheme under the guard's probabilities.
- `guard_reward.schemes.appropriate_refusal`: `AppropriateRefusal`, refusals are right for unsafe prompts only.
- `guard_reward.schemes.lagrangian`: `Lagrangian`, helpfulness subject to an unsafe rate.
- `guard_reward.schemes.safe_completion`: `SafeCompletion`, helpfulness times safety.
- `guard_reward.schemes.boundary`: `Boundary`, far from the cutoff of a filter behind the policy.
- `guard_reward.schemes.token_score`: `TokenScore`, a stream guard's tokens as one number.
- `guard_reward.schemes.response_policy`: `ResponsePolicy`, the behaviour that is right for the prompt's category; its
  behaviours and their default words are in `guard_reward.schemes.behaviours`.
- `guard_reward.schemes.registry`: plain names of the schemes, and `make_scheme`.

The field ``controversial`` of a scheme says how a Controversial verdict counts: ``"unsafe"`` (strict, as in the
report), ``"safe"`` (loose), or a number in between.
"""

from guard_reward.schemes.appropriate_refusal import AppropriateRefusal
from guard_reward.schemes.base import Assessment, CallableScheme, Compliance, Scheme, SchemeFunction, Sign
from guard_reward.schemes.behaviours import Behaviour
from guard_reward.schemes.boundary import Boundary
from guard_reward.schemes.lagrangian import Lagrangian
from guard_reward.schemes.qwen3guard_report import GuardOnly, Hybrid
from guard_reward.schemes.registry import SCHEMES, make_scheme
from guard_reward.schemes.response_policy import ResponsePolicy
from guard_reward.schemes.safe_completion import SafeCompletion
from guard_reward.schemes.severity import SeverityTable
from guard_reward.schemes.soft import Soft, hard
from guard_reward.schemes.token_score import TokenScore
from guard_reward.schemes.values import Controversial

__all__ = [
    "SCHEMES",
    "AppropriateRefusal",
    "Assessment",
    "Behaviour",
    "Boundary",
    "CallableScheme",
    "Compliance",
    "Controversial",
    "GuardOnly",
    "Hybrid",
    "Lagrangian",
    "ResponsePolicy",
    "SafeCompletion",
    "Scheme",
    "SchemeFunction",
    "SeverityTable",
    "Sign",
    "Soft",
    "TokenScore",
    "hard",
    "make_scheme",
]
