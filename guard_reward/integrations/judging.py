"""One conversation at a time → what a guard says about it, for tools that score one sample at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread

from guard_reward.errors import UserError
from guard_reward.guards.loading import load_guard
from guard_reward.integrations.micro_batching import MicroBatches
from guard_reward.rewards.batch import Call, Rules, ThinkingMode, finish, prepare, search, wanted_signs
from guard_reward.rewards.defences import Defences
from guard_reward.rewards.judge import Judge, Request, RolloutRequests, RolloutVerdicts
from guard_reward.rewards.metrics import JudgedRollout
from guard_reward.rewards.outcomes import checked_outcome_rewards
from guard_reward.schemes import Scheme, SchemeFunction, make_scheme
from guard_reward.verdict import AsyncGuard, Guard, Outcome, Unjudged, describe_guard

__all__ = ["SampleJudge"]


class SampleJudge:
    """Judges samples, one per call. Samples that arrive together are judged in batches.

    A guard with ``amoderate`` (a served one) is awaited, sample by sample: its server makes the batches. Any other
    guard judges in a thread. What it could not judge has a named outcome, as in `guard_reward.GuardReward`.

    Args:
        guard: or what `guard_reward.load_guard` takes; then it is loaded when it is first needed.
        scheme: what makes rewards of verdicts.
        thinking: how thinking is judged: ``"separate"``, ``"joint"`` or ``"ignore"``.
        deadline: seconds that the guard may take for a batch, or a served one for a sample; None for no limit beside a
            served guard's own. What is late ends as ``timeout``.
        guard_kwargs: other arguments of `guard_reward.load_guard`.

    Attributes:
        guard_facts: about the guard: empty before its first use, and its name only before its first verdict.

    Raises:
        UserError: an argument that cannot work; names it and the fix.
    """

    def __init__(
        self,
        guard: str | Path | Sequence[str] | Guard,
        scheme: str | Scheme | SchemeFunction,
        *,
        thinking: ThinkingMode = "separate",
        deadline: float | None = None,
        guard_kwargs: Mapping[str, Any] | None = None,
    ):
        self._source, self._guard_kwargs = guard, dict(guard_kwargs or {})
        self._rules, self._deadline = _rules(scheme, thinking), _checked_deadline(deadline)
        self._judge: Judge | None = None
        self.guard_facts: dict[str, str] = {}
        self._is_described = False
        self._loading = threading.Lock()
        self._batches = MicroBatches(self._judge_batch, deadline=self._deadline)
        _check_guard(guard, self._guard_kwargs)

    async def __call__(
        self, prompt: Sequence[Mapping[str, Any]], reply: Sequence[Mapping[str, Any]], harmful: bool | None = None
    ) -> JudgedRollout:
        """What came of a conversation and the reply to it.

        Args:
            prompt, reply: chat messages.
            harmful: the prompt's label, if it has one.
        """
        judge = self._judge if self._judge is not None else await anyio.to_thread.run_sync(self._loaded)
        batch = replace(prepare(Call([prompt], [reply]), self._rules), harmful=(harmful,))
        verdicts = await self._ask(judge, batch.requests[0])
        if verdicts.written and not self._is_described:  # now its server answers: describing asks it too
            await anyio.to_thread.run_sync(self._describe, judge)
        wanted = wanted_signs(batch, [verdicts], [None], self._rules)
        shown = await anyio.to_thread.run_sync(search, batch, wanted) if any(wanted) else [{}]
        finished = finish(
            batch, [verdicts], [None], shown, self._rules, spec=judge.spec, special_tokens=judge.special_tokens
        )
        return finished.rows[0]

    async def _ask(self, judge: Judge, request: RolloutRequests) -> RolloutVerdicts:
        if not any(part is not None for part in request.parts):  # nothing to judge, so nothing to wait for
            return RolloutVerdicts()
        try:
            if not (isinstance(judge.guard, AsyncGuard) and _in_asyncio()):
                return cast("RolloutVerdicts", await self._batches(request))
            with anyio.fail_after(self._deadline):
                verdicts, _ = await judge.judge_async([request])
                return verdicts[0]
        except TimeoutError:
            answer, thinking, prompt = map(self._late, request.parts)
            return RolloutVerdicts(answer, thinking, prompt)

    def _late(self, request: Request) -> Unjudged | None:
        if request is None or isinstance(request, Unjudged):
            return request
        return Unjudged(Outcome.TIMEOUT, reason=f"the guard gave no answer within {self._deadline:g} seconds")

    def _judge_batch(self, requests: Sequence[RolloutRequests]) -> Sequence[RolloutVerdicts]:
        return self._loaded()(requests)[0]

    def _loaded(self) -> Judge:
        with self._loading:  # several samples may come before the guard is there
            if self._judge is None:
                guard: Any = self._source
                if not callable(getattr(guard, "moderate", None)):
                    guard = load_guard(guard, **self._guard_kwargs)
                judge = Judge(guard)
                _check_scheme(self._rules.scheme, judge)
                self.guard_facts = {"guard": str(getattr(guard, "name", None) or repr(guard))}
                self._judge = judge
            return self._judge

    def _describe(self, judge: Judge) -> None:
        with self._loading:
            if not self._is_described:
                self.guard_facts, self._is_described = describe_guard(judge.guard), True


def _rules(scheme: str | Scheme | SchemeFunction, thinking: ThinkingMode) -> Rules:
    if thinking not in ("separate", "joint", "ignore"):
        raise UserError(f"thinking should be 'separate', 'joint' or 'ignore', found {thinking!r}")
    try:
        made = make_scheme(scheme)
        rewards = checked_outcome_rewards({} if made.has_floor else {Outcome.EMPTY: None}, made, Defences.off())
    except ValueError as error:
        raise UserError(f"scheme: {error}") from error
    if made.needs_helpfulness:
        raise UserError(f"scheme: {made.name} needs helpfulness, which no guard gives: choose another scheme")
    return Rules(scheme=made, thinking=thinking, outcome_rewards=rewards, defences=Defences.off())


def _checked_deadline(deadline: float | None) -> float | None:
    if deadline is None or (isinstance(deadline, int | float) and not isinstance(deadline, bool) and deadline > 0):
        return deadline
    raise UserError(f"deadline should be a number of seconds above 0, or None, found {deadline!r}")


def _check_guard(guard: Any, kwargs: Mapping[str, Any]) -> None:
    if callable(getattr(guard, "moderate", None)):
        if kwargs:
            raise UserError("guard_kwargs are for a guard that is loaded by its name, and this one is loaded already")
    elif not guard or not isinstance(guard, str | Path | list | tuple):
        raise UserError(f"guard should be a hub id, a folder, a URL or an object with moderate(), found {guard!r}")


def _check_scheme(scheme: Scheme, judge: Judge) -> None:
    if scheme.needs_refusal and not judge.gives_refusals:
        raise UserError(
            f"scheme: {scheme.name} reads whether an answer refuses, and {judge.guard!r} never says: use a guard that "
            "does, such as a Qwen3Guard-Gen, or a scheme without refusals"
        )
    if scheme.needs_tokens and not judge.gives_tokens:
        raise UserError(
            f"scheme: {scheme.name} reads verdicts on tokens, and {judge.guard!r} has none: use a stream guard, such "
            "as a Qwen3Guard-Stream, or another scheme"
        )


def _in_asyncio() -> bool:
    """Whether the running event loop is asyncio's, for which guards are written; Inspect can also use trio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
