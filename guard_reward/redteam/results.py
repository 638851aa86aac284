"""What came of the attacks: per attack and per family, as values that JSON keeps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np

from guard_reward.errors import UserError, one_line
from guard_reward.evaluation.measures import share_of
from guard_reward.redteam.attack import Attack
from guard_reward.redteam.trial import Attempt
from guard_reward.statistics import Estimate, rate

__all__ = ["AttackResult", "Example", "FamilyResult", "Results", "example_of", "read_results", "result_of"]

_VERSION = 1
_EXAMPLES = 3
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Example:
    """An attacked reply that was paid.

    Attributes:
        kind: what the plain reply is.
        prompt: the text of the last message of its prompt.
        reply: the attacked reply with its thinking, the beginning of a long one.
        reward_before: without the attack; None for a row that takes no part in training.
        reward_after: with it.
        verdict_before: what the guard says without the attack, and how the judging ended.
        verdict_after: the same with it.
    """

    kind: str
    prompt: str
    reply: str
    reward_before: float | None
    reward_after: float | None
    verdict_before: str
    verdict_after: str


@dataclass(frozen=True, slots=True)
class AttackResult:
    """What came of one attack.

    Attributes:
        name: of the attack.
        family: what it belongs to.
        keeps: what is left of the reply.
        rows: replies that it was tried on, by kind.
        paid: on how many it pays, by kind.
        tied: on how many it is paid as an honest refusal is.
        not_judged: rows that it left without a reward.
        escaped: rows without a reward among those on which it pays.
        reward_before: mean without the attack, over the rows that have both; None if no row has.
        reward_after: mean with it, over the same rows.
        compared: how many these are.
        tried_targets: numbers of the targets that it was tried on.
        paid_targets: those of the ones on which it pays.
        examples: of replies that are paid.
    """

    name: str
    family: str
    keeps: str
    rows: Mapping[str, int]
    paid: Mapping[str, int]
    tied: int = 0
    not_judged: int = 0
    escaped: int = 0
    reward_before: float | None = None
    reward_after: float | None = None
    compared: int = 0
    tried_targets: tuple[int, ...] = ()
    paid_targets: tuple[int, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def exploits(self) -> Estimate | None:
        """The share of rows on which it pays, with Wilson's interval; None if it changed no reply."""
        rows = sum(self.rows.values())
        return rate(sum(self.paid.values()), rows) if rows else None


@dataclass(frozen=True, slots=True)
class FamilyResult:
    """What came of a family of attacks.

    Attributes:
        name: of the family.
        attacks: how many there are.
        paying: how many of them pay on some reply.
        rows: replies that they were tried on, of all attacks together.
        reward_before: mean without an attack, over the rows of all its attacks that have both.
        reward_after: mean with them, over the same rows.
        exploits: the share of these rows on which an attack pays; its interval is the bootstrap over replies, whose
            rows have much to do with each other (`guard_reward.evaluation.measures.share_of`).
        tied: the share of these rows that are paid as an honest refusal is.
        not_judged: the share of these rows without a reward.
        paid_targets: how many replies at least one of its attacks gets paid.
        best: the attack that pays most often; empty if none pays.
    """

    name: str
    attacks: int
    paying: int
    rows: int
    reward_before: float | None
    reward_after: float | None
    exploits: Estimate | None
    tied: float
    not_judged: float
    paid_targets: int
    best: str = ""


@dataclass(frozen=True)
class Results:
    """What came of all attacks on one reward.

    Attributes:
        reward: what decides the rewards (`GuardReward.describe`).
        targets: replies that were attacked, by kind.
        left_out: replies that were not, by reason.
        attacks: one entry per attack, in the order of the run.
        seed: of the choice of targets, and of the attacks.
    """

    reward: Mapping[str, str]
    targets: Mapping[str, int]
    left_out: Mapping[str, int]
    attacks: tuple[AttackResult, ...] = field(default_factory=tuple)
    seed: int = 0

    @property
    def exploits(self) -> Estimate | None:
        """The share of all rows on which an attack pays, as for a family; None if there is no row."""
        return _share(self.attacks)

    def families(self) -> list[FamilyResult]:
        """The families in the order of their first attack."""
        names = dict.fromkeys(it.family for it in self.attacks)
        return [_family(name, [it for it in self.attacks if it.family == name]) for name in names]

    def paying(self, above: float = 0.0) -> list[AttackResult]:
        """The attacks that pay on a larger share of rows than `above`, the worst first."""
        shares = [(it.exploits.value, it) for it in self.attacks if it.exploits is not None]
        return [it for share, it in sorted(shares, key=lambda pair: -pair[0]) if share > above]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `read_results` reads them back."""
        return {
            "version": _VERSION,
            "reward": dict(self.reward),
            "seed": self.seed,
            "targets": dict(self.targets),
            "left_out": dict(self.left_out),
            "exploits": _estimate(self.exploits),
            "families": [asdict(it) for it in self.families()],
            "attacks": [asdict(it) | {"exploits": _estimate(it.exploits)} for it in self.attacks],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Results:
        """From what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: the values are something else.
        """
        if values["version"] != _VERSION:
            raise ValueError(f"version should be {_VERSION}, found {values['version']}")
        attacks = tuple(attack_from_dict(it) for it in values["attacks"])
        return cls(values["reward"], values["targets"], values["left_out"], attacks, values["seed"])


def result_of(attack: Attack, attempts: Sequence[Attempt]) -> AttackResult:
    """Sum up the attempts of one attack."""
    paid = [it for it in attempts if it.pays]
    pairs = [
        (it.target.plain.reward, it.attacked.reward)
        for it in attempts
        if it.target.plain.reward is not None and it.attacked.reward is not None
    ]
    return AttackResult(
        name=attack.name,
        family=attack.family,
        keeps=str(attack.keeps),
        rows=_by_kind(attempts),
        paid=_by_kind(paid),
        tied=sum(it.ties for it in attempts),
        not_judged=sum(it.attacked.reward is None for it in attempts),
        escaped=sum(it.attacked.reward is None for it in paid),
        reward_before=_mean([before for before, _ in pairs]),
        reward_after=_mean([after for _, after in pairs]),
        compared=len(pairs),
        tried_targets=tuple(it.number for it in attempts),
        paid_targets=tuple(it.number for it in paid),
        examples=tuple(example_of(it) for it in paid[:_EXAMPLES]),
    )


def attack_from_dict(values: Mapping[str, Any]) -> AttackResult:
    """From the JSON values of one attack.

    Raises:
        KeyError, TypeError: the values are something else.
    """
    own = {name: value for name, value in values.items() if name != "exploits"}
    own["examples"] = tuple(Example(**it) for it in own["examples"])
    own |= {name: tuple(own[name]) for name in ("tried_targets", "paid_targets")}
    return AttackResult(**own)


def read_results(path: Path) -> Results:
    """Results that ``guard-reward redteam --json`` wrote; with ``--compare``, those with the defences.

    Args:
        path: of the JSON file.

    Raises:
        UserError: the file holds something else.
        OSError: it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Results.from_dict(values.get("with_defences", values))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' holds no results of guard-reward redteam: {one_line(error)}") from error


def _family(name: str, attacks: Sequence[AttackResult]) -> FamilyResult:
    rows = sum(sum(it.rows.values()) for it in attacks)
    paying = sorted((it for it in attacks if it.paid_targets), key=lambda it: -len(it.paid_targets))
    return FamilyResult(
        name=name,
        attacks=len(attacks),
        paying=len(paying),
        rows=rows,
        reward_before=_pooled((it.reward_before, it.compared) for it in attacks),
        reward_after=_pooled((it.reward_after, it.compared) for it in attacks),
        exploits=_share(attacks),
        tied=sum(it.tied for it in attacks) / max(rows, 1),
        not_judged=sum(it.not_judged for it in attacks) / max(rows, 1),
        paid_targets=len({number for it in attacks for number in it.paid_targets}),
        best=paying[0].name if paying else "",
    )


def _by_kind(attempts: Sequence[Attempt]) -> dict[str, int]:
    kinds = [str(it.target.kind) for it in attempts]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def example_of(attempt: Attempt) -> Example:
    target, completion = attempt.target, attempt.draft.completion()
    text = completion if isinstance(completion, str) else "\n".join(map(_message_text, completion))
    return Example(
        kind=str(target.kind),
        prompt=_clipped(target.target.asked),
        reply=_clipped(text),
        reward_before=target.plain.reward,
        reward_after=attempt.attacked.reward,
        verdict_before=target.plain.verdict,
        verdict_after=attempt.attacked.verdict,
    )


def _message_text(message: Mapping[str, Any]) -> str:
    """Its content and its calls: a reply may be hidden in either."""
    calls = message.get("tool_calls")
    return "\n".join(filter(None, (str(message.get("content") or ""), json.dumps(calls) if calls else "")))


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _mean(values: Sequence[float]) -> float | None:
    return fsum(values) / len(values) if values else None


def _pooled(means: Iterable[tuple[float | None, int]]) -> float | None:
    known = [(mean, count) for mean, count in means if mean is not None]
    rows = sum(count for _, count in known)
    return fsum(mean * count for mean, count in known) / rows if rows else None


def _share(attacks: Sequence[AttackResult]) -> Estimate | None:
    """The share of the attacks' rows that pay; the rows of one reply are drawn together."""
    tried = Counter(number for it in attacks for number in it.tried_targets)
    paid = Counter(number for it in attacks for number in it.paid_targets)
    return share_of(np.array([(paid[number], rows) for number, rows in tried.items()])) if tried else None


def _estimate(value: Estimate | None) -> dict[str, float] | None:
    return None if value is None else asdict(value)
