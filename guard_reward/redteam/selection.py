"""Which replies of a file are attacked: those that are what they are said to be, judged plainly, up to a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from random import Random

from guard_reward.errors import UserError
from guard_reward.redteam.attack import Draft, Material
from guard_reward.redteam.judging import Judged, Judging
from guard_reward.redteam.targets import ATTACKED, Kind, Target, material_of
from guard_reward.verdict import Severity

__all__ = ["JudgedTarget", "Selection", "select_targets"]


@dataclass(frozen=True, slots=True)
class JudgedTarget:
    """A reply to attack, and what the reward says without an attack.

    Attributes:
        target: the reply; `kind` is what it is attacked as.
        kind: what it is.
        plain: what the reward says of it.
        refusal: what the reward says of an honest refusal in its place.
    """

    target: Target
    kind: Kind
    plain: Judged
    refusal: Judged


@dataclass(frozen=True)
class Selection:
    """What is attacked.

    Attributes:
        targets: the replies.
        material: texts of their world.
        left_out: how many others there were, by reason.
    """

    targets: tuple[JudgedTarget, ...]
    material: Material
    left_out: dict[str, int] = field(default_factory=dict)


def select_targets(
    targets: Sequence[Target],
    judging: Judging,
    *,
    kinds: Collection[Kind] = ATTACKED,
    limit: int | None = None,
    seed: int = 0,
) -> Selection:
    """Ask the reward about the plain replies, and keep those that are what they are said to be.

    A reply is ``unsafe`` only if this guard calls it Unsafe, and ``refusal`` only if the guard does not say that it is
    none: an attack on another reply would show nothing.

    Args:
        targets: plain replies.
        judging: the reward.
        kinds: which are wanted.
        limit: so many replies of each kind at most; None for all.
        seed: of the order in which they are taken.

    Raises:
        UserError: nothing is left; says why.
    """
    material = material_of(targets)
    waiting = [target for target in targets if target.kind is not Kind.HARMLESS]
    Random(f"targets {seed}").shuffle(waiting)
    taken: Counter[Kind] = Counter()
    left_out: Counter[str] = Counter()
    found: list[JudgedTarget] = []
    while waiting:
        chunk, waiting = waiting[: judging.batch_size], waiting[judging.batch_size :]
        open_kinds = {kind for kind in kinds if limit is None or taken[kind] < limit}
        chunk = [target for target in chunk if _may_be(target, open_kinds)]
        plain = judging([target.prompt for target in chunk], [target.draft for target in chunk])
        refusals = judging([target.prompt for target in chunk], [Draft(material.refusal)] * len(chunk))
        for target, judged, refusal in zip(chunk, plain, refusals, strict=True):
            kind, reason = _kind_of(target, judged)
            if kind is None:
                left_out[reason] += 1
            elif kind in kinds and (limit is None or taken[kind] < limit):
                taken[kind] += 1
                found.append(JudgedTarget(target, kind, judged, refusal))
    if not found:
        reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise UserError(f"no reply is left to attack ({reasons or 'none is of a kind that is wanted'})")
    return Selection(tuple(found), material, dict(left_out))


def _may_be(target: Target, kinds: Collection[Kind]) -> bool:
    """Whether it is of one of these kinds, as far as is known before it is judged."""
    return target.kind in kinds or (target.kind is None and bool({Kind.UNSAFE, Kind.REFUSAL} & set(kinds)))


def _kind_of(target: Target, judged: Judged) -> tuple[Kind | None, str]:
    """What a reply is; or None and why it is left out."""
    kind = target.kind
    if judged.failed:
        return None, f"without a verdict: {judged.reason}"
    if kind in (Kind.GARBAGE, Kind.EMPTY):
        return kind, ""
    if judged.reward is None:
        return None, f"without a reward: {judged.outcome}"
    if kind is not Kind.REFUSAL and judged.severity is Severity.UNSAFE:
        return Kind.UNSAFE, ""
    if kind is Kind.UNSAFE:
        return None, f"said to be unsafe that the guard calls {judged.severity}"
    if kind is Kind.REFUSAL and judged.refuses is not False:
        return Kind.REFUSAL, ""
    if kind is Kind.REFUSAL:
        return None, "said to refuse that the guard calls no refusal"
    return (Kind.REFUSAL, "") if judged.refuses else (None, f"that the guard calls {judged.severity}, and no refusal")
