"""Asking the guard about rollouts: each distinct conversation once, and prompts once over many batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, cast

from guard_reward._fork_safe_lock import ForkSafeLock
from guard_reward.conversation import Message
from guard_reward.guards.contract import checked_verdicts
from guard_reward.guards.loading import load_guard
from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.models.sleep import MODEL_LOCK
from guard_reward.rewards.forms import Forms, FormsJudged, judge_forms
from guard_reward.rewards.slow_calls import said_if_slow
from guard_reward.schemes import Assessment
from guard_reward.verdict import AsyncGuard, Guard, Outcome, Severity, Unjudged, Verdict, describe_guard

__all__ = ["Judge", "Request", "RolloutRequests", "RolloutVerdicts", "as_guard", "prefixed"]

logger = logging.getLogger(__name__)
KEPT_PROMPTS = 16_384
_KEPT_LOCK = ForkSafeLock()  # of the module, so that a judge can be pickled

_Key = tuple[tuple[str, str], ...]
Request = Sequence[Message] | Unjudged | None
"""What to send to the guard: a conversation, an `Unjudged` if it cannot be sent, or None if nothing needs judging."""


class RolloutRequests(NamedTuple):
    """What the guard is asked about one rollout: its parts, and other forms in which they can be read."""

    answer: Request = None
    thinking: Request = None
    prompt: Request = None
    forms: Forms = Forms()

    @property
    def parts(self) -> tuple[Request, Request, Request]:
        """Answer, thinking and prompt."""
        return self.answer, self.thinking, self.prompt

    @property
    def conversations(self) -> list[Sequence[Message]]:
        """All that the guard must judge, with the other forms."""
        forms = (form.conversation for form in (*self.forms.answer, *self.forms.thinking))
        return [*filter(_is_conversation, self.parts), *forms]


@dataclass(frozen=True, slots=True)
class RolloutVerdicts:
    """What the guard said about the parts of one rollout; None for a part that it was not asked about.

    `shadow` is what another guard, which gives no reward, said about the answer. `forms` is what came of the rollout's
    other forms; the verdicts on answer and thinking include them.
    """

    answer: Verdict | Unjudged | None = None
    thinking: Verdict | Unjudged | None = None
    prompt: Verdict | Unjudged | None = None
    shadow: Verdict | Unjudged | None = None
    forms: FormsJudged | None = None

    @property
    def answer_as_written(self) -> Verdict | Unjudged | None:
        """What the guard said about the answer itself, whatever it said about its other forms."""
        return self.forms.answer if self.forms is not None and isinstance(self.answer, Verdict) else self.answer

    @property
    def written(self) -> tuple[Verdict, ...]:
        """The verdicts on what the policy wrote: on thinking and answer, as far as they have one."""
        return tuple(part for part in (self.thinking, self.answer) if isinstance(part, Verdict))

    def assessment(self, helpfulness: float | None, shown: Mapping[str, float] | None = None) -> Assessment:
        """What a scheme is given if thinking or answer have a verdict; a part without one is left out.

        Args:
            helpfulness: H(x, y), if there is one.
            shown: what was found in the answer's text of what the scheme looks for.
        """
        *thinking, answer = self.written
        prompt = self.prompt if isinstance(self.prompt, Verdict) else None
        return Assessment(answer, thinking[0] if thinking else None, prompt, helpfulness, shown or {})


class Judge:
    """Asks a guard about batches of rollouts. What it could not judge is an `Unjudged`, whatever the guard raised.

    Several calls may run at a time, in threads or in an event loop. Verdicts on prompts are kept, of the
    `KEPT_PROMPTS` that were used last.

    Args:
        guard: whom to ask. What a guard may offer beyond ``moderate`` is looked up here and nowhere else.
        refusal_guard: another one, that says whether an answer refuses; for guards that do not.
        shadow_guard: another one, whose verdicts on answers are compared and give no reward.
    """

    def __init__(self, guard: Guard, refusal_guard: Guard | None = None, shadow_guard: Guard | None = None):
        self.guard = guard
        self.refusals = None if refusal_guard is None else Judge(refusal_guard)
        self.shadow = None if shadow_guard is None else Judge(shadow_guard)
        self._kept: dict[_Key, Verdict] = {}  # in the order of their last use

    @property
    def spec(self) -> GuardSpec:
        """The guard's specification; Qwen3Guard's if it does not say."""
        spec = getattr(self.guard, "spec", None)
        return spec if isinstance(spec, GuardSpec) else QWEN3GUARD

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The special tokens of a local guard's tokenizer."""
        tokenizer = getattr(self.guard, "tokenizer", None)
        if tokenizer is None:
            return ()
        added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        return tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added]))

    @property
    def gives_refusals(self) -> bool:
        """Whether verdicts on answers say if they refuse."""
        if self.refusals is not None:
            return self.refusals.gives_refusals
        declared = getattr(self.guard, "gives_refusals", None)
        return "refusal" in self.spec.response_answer.slots if declared is None else bool(declared)

    @property
    def gives_tokens(self) -> bool:
        """Whether verdicts on responses have scores of their tokens."""
        return bool(getattr(self.guard, "gives_tokens", False))

    def describe(self) -> dict[str, str]:
        """The guard's facts for the run's record; the others' as ``refusal_guard/…`` and ``shadow_guard/…``."""
        facts = describe_guard(self.guard)
        for kind, other in (("refusal", self.refusals), ("shadow", self.shadow)):
            facts |= {} if other is None else prefixed(f"{kind}_guard", other.describe())
        return facts

    def __call__(self, batch: Sequence[RolloutRequests]) -> tuple[list[RolloutVerdicts], Any]:
        """The verdicts on every rollout, in the same order, and what a local guard's engine did for them.

        Raises:
            TypeError, ValueError: the guard returned no list, or another number of verdicts than it was asked for.
        """
        conversations, known = self._split(batch)
        found, usage = self._moderate(list(conversations.values()))
        verdicts = self._merge(batch, known, list(conversations), found)
        if self.refusals is not None:
            verdicts = _with_refusals(verdicts, self.refusals(_refusal_requests(batch, verdicts))[0])
        if self.shadow is not None:
            verdicts = _with_shadows(verdicts, self.shadow(_answers(batch))[0])
        return verdicts, usage

    async def judge_async(self, batch: Sequence[RolloutRequests]) -> tuple[list[RolloutVerdicts], Any]:
        """As a plain call, while other coroutines run: the guard is awaited, or asked in a thread if it cannot be."""
        conversations, known = self._split(batch)
        asked = list(conversations.values())
        found, usage = await (
            self._amoderate(asked) if isinstance(self.guard, AsyncGuard) else asyncio.to_thread(self._moderate, asked)
        )
        verdicts = self._merge(batch, known, list(conversations), found)
        if self.refusals is not None:
            said, _ = await self.refusals.judge_async(_refusal_requests(batch, verdicts))
            verdicts = _with_refusals(verdicts, said)
        if self.shadow is not None:
            seen, _ = await self.shadow.judge_async(_answers(batch))
            verdicts = _with_shadows(verdicts, seen)
        return verdicts, usage

    def _split(self, batch: Sequence[RolloutRequests]) -> tuple[dict[_Key, Sequence[Message]], dict[_Key, Verdict]]:
        """The distinct conversations that the guard must judge, and the verdicts that are kept."""
        distinct = {_key(one): one for row in batch for one in row.conversations}
        with _KEPT_LOCK:
            known = {key: self._kept[key] for key in distinct if key in self._kept}
        return {key: one for key, one in distinct.items() if key not in known}, known

    def _merge(
        self,
        batch: Sequence[RolloutRequests],
        known: dict[_Key, Verdict],
        keys: Sequence[_Key],
        verdicts: Any,
    ) -> list[RolloutVerdicts]:
        judged = {**known, **dict(zip(keys, checked_verdicts(verdicts, len(keys)), strict=True))}
        self._keep(judged)

        def verdict(request: Any) -> Verdict | Unjudged | None:
            return judged[_key(request)] if _is_conversation(request) else request

        def of_row(row: RolloutRequests) -> RolloutVerdicts:
            answer, thinking, prompt = map(verdict, row.parts)
            answer, thinking, forms = judge_forms(answer, thinking, row.forms, lambda form: judged[_key(form)])
            return RolloutVerdicts(answer, thinking, prompt, forms=forms)

        return [of_row(row) for row in batch]

    def _moderate(self, conversations: list[Sequence[Message]]) -> tuple[list[Verdict | Unjudged], Any]:
        if not conversations:
            return [], None
        guard: Any = self.guard
        if not hasattr(getattr(guard, "usage", None), "since"):
            return self._asked(conversations), None
        # A local guard judges one batch at a time anyway; the lock keeps two calls' usage apart.
        with MODEL_LOCK:
            before = guard.usage
            verdicts = self._asked(conversations)
            return verdicts, guard.usage.since(before)

    def _asked(self, conversations: list[Sequence[Message]]) -> list[Verdict | Unjudged]:
        try:
            with said_if_slow("the guard", len(conversations)):
                return self.guard.moderate(conversations)
        except Exception as error:  # a guard of any make; its outage has a name and is counted by the circuit breaker
            return _failed(conversations, error)

    async def _amoderate(self, conversations: list[Sequence[Message]]) -> tuple[list[Verdict | Unjudged], Any]:
        if not conversations:
            return [], None
        assert isinstance(self.guard, AsyncGuard)
        try:
            with said_if_slow("the guard", len(conversations)):
                return await self.guard.amoderate(conversations), None
        except Exception as error:
            return _failed(conversations, error), None

    def _keep(self, judged: dict[_Key, Verdict | Unjudged]) -> None:
        """Keep the verdicts on prompts. What has no verdict is asked again next time."""
        prompts = {key: it for key, it in judged.items() if key[-1][0] == "user" and isinstance(it, Verdict)}
        with _KEPT_LOCK:
            for key, verdict in prompts.items():
                self._kept.pop(key, None)  # to the end, as the one used last
                self._kept[key] = verdict
            for key in list(self._kept)[:-KEPT_PROMPTS]:
                self._kept.pop(key, None)


def as_guard(guard: str | Path | Sequence[str] | Guard) -> Guard:
    """A guard as it is, or what `guard_reward.load_guard` loads.

    Raises:
        ValueError: neither a guard nor what names one.
    """
    if isinstance(guard, str | Path | list | tuple):
        return cast("Guard", load_guard(guard))
    if not callable(getattr(guard, "moderate", None)):
        raise ValueError(f"guard should be a hub id, a folder, a URL or an object with moderate(), found {guard!r}")
    return cast("Guard", guard)


def prefixed(kind: str, facts: Mapping[str, str]) -> dict[str, str]:
    """The facts of another guard, for the record of a reward: ``kind`` is its name, ``kind/…`` the others."""
    return {kind if name == "guard" else f"{kind}/{name}": fact for name, fact in facts.items()}


def _refusal_requests(batch: Sequence[RolloutRequests], verdicts: Sequence[RolloutVerdicts]) -> list[RolloutRequests]:
    """The answers of which only another guard can say whether they refuse."""
    return [
        RolloutRequests(answer=row.answer) if isinstance(found.answer, Verdict) and found.answer.refusal is None
        else RolloutRequests()
        for row, found in zip(batch, verdicts, strict=True)
    ]  # fmt: skip


def _answers(batch: Sequence[RolloutRequests]) -> list[RolloutRequests]:
    return [RolloutRequests(answer=row.answer) for row in batch]


def _with_shadows(verdicts: Sequence[RolloutVerdicts], seen: Sequence[RolloutVerdicts]) -> list[RolloutVerdicts]:
    return [replace(found, shadow=other.answer) for found, other in zip(verdicts, seen, strict=True)]


def _with_refusals(verdicts: Sequence[RolloutVerdicts], said: Sequence[RolloutVerdicts]) -> list[RolloutVerdicts]:
    """The verdicts, with what another guard said of refusals.

    An answer about which it said nothing has no verdict, unless it is Unsafe: that decides alone.
    """
    return [_with_refusal(found, other.answer) for found, other in zip(verdicts, said, strict=True)]


def _with_refusal(found: RolloutVerdicts, said: Verdict | Unjudged | None) -> RolloutVerdicts:
    answer = found.answer
    if said is None or not isinstance(answer, Verdict):
        return found
    if isinstance(said, Verdict):
        pairs = product(answer.readings or (answer,), said.readings or (said,))
        # Of forged turns in the answer each reading counts, as it would with the other guard alone.
        readings = tuple(_refusing_as(*pair) for pair in pairs) if answer.readings or said.readings else ()
        return replace(found, answer=replace(_refusing_as(answer, said), readings=readings))
    if answer.severity is Severity.UNSAFE:
        return found
    return replace(found, answer=Unjudged(said.outcome, said.text, f"the guard that says refusals: {said.reason}"))


def _refusing_as(verdict: Verdict, said: Verdict) -> Verdict:
    return replace(verdict, refusal=said.refusal, refusal_probability=said.refusal_probability)


def _failed(conversations: Sequence[Any], error: Exception) -> list[Verdict | Unjudged]:
    logger.error("the guard failed on %d conversations", len(conversations), exc_info=error)
    return [Unjudged(Outcome.GUARD_ERROR, reason=f"{type(error).__name__}: {error}") for _ in conversations]


def _is_conversation(request: Any) -> TypeGuard[list[Message]]:
    return isinstance(request, list)


def _key(conversation: Any) -> _Key:
    return tuple((turn["role"], turn["content"]) for turn in conversation)
