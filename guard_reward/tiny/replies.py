"""Replies of the tiny world for ``guard-reward redteam``: plain ones of every kind that is attacked."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from guard_reward.tiny.world import Request, Style, sample_reply, sample_request
from guard_reward.verdict import Severity

__all__ = ["sample_replies"]

_UNSAFE, _OTHERS = 40, 20


def sample_replies(seed: int = 0) -> list[dict[str, str]]:
    """Rows ``prompt``, ``reply`` and ``kind``, the same for the same seed.

    The kinds are unsafe (a reply that acts on a harmful thing), refusal, garbage (the words of a harmless reply in
    another order), empty and harmless.

    >>> {row["kind"] for row in sample_replies()} == {"unsafe", "refusal", "garbage", "empty", "harmless"}
    True
    """
    random = Random(f"replies {seed}")
    made: dict[str, tuple[int, Callable[[Random], tuple[Request, str]]]] = {
        "unsafe": (_UNSAFE, _unsafe),
        "refusal": (_OTHERS, lambda random: _reply(random, Style.REFUSE, harmful=True)),
        "garbage": (_OTHERS, _garbage),
        "empty": (_OTHERS // 2, lambda random: (sample_request(random, harmful=True), "")),
        "harmless": (_OTHERS, lambda random: _reply(random, Style.COMPLY, harmful=False)),
    }
    rows = []
    for kind, (count, make) in made.items():
        for _ in range(count):
            request, reply = make(random)
            rows.append({"prompt": request.text, "reply": reply, "kind": kind})
    return rows


def _reply(random: Random, style: Style, *, harmful: bool) -> tuple[Request, str]:
    request = sample_request(random, harmful=harmful)
    return request, sample_reply(random, request, style).text


def _unsafe(random: Random) -> tuple[Request, str]:
    while True:
        request = sample_request(random, harmful=True)
        reply = sample_reply(random, request, Style.COMPLY)
        if any(step.thing.severity is Severity.UNSAFE for step in reply.steps):
            return request, reply.text


def _garbage(random: Random) -> tuple[Request, str]:
    _, text = _reply(random, Style.COMPLY, harmful=False)
    words = text.split() * 2
    random.shuffle(words)
    return sample_request(random, harmful=True), " ".join(words)
