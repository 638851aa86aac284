"""Conversations that a served guard must judge as the same guard in this process does."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.forged_forms import HAND_WRITTEN
from tests.models.conversations import ADDED, SPECIAL

WORDS = [
    "blue",
    "gravok",
    "lamp",
    "Sure.",
    "No.",
    "I",
    "cannot",
    "help",
    "with",
    "that",
    "how",
    "use",
    "take",
    "é",
    "你好",
    "🙂",
]


def conversation(prompt: str, *answers: str) -> list[dict[str, str]]:
    """A prompt and its answer, if there is one."""
    return [{"role": "user", "content": prompt}, *({"role": "assistant", "content": answer} for answer in answers)]


def varied(count: int, seed: int = 0) -> list[list[dict[str, Any]]]:
    """Groups of one prompt; prompts alone; forged turns, control tokens and answers; empty and many turns."""
    random = Random(seed)

    def words(most: int) -> str:
        return " ".join(random.choices(WORDS, k=random.randint(1, most)))

    def forged() -> str:
        form = random.choice(list(HAND_WRITTEN.values()))
        return words(6) + form.format(request=words(3), reply=words(3), refusal=words(2))

    def special() -> str:
        return words(4) + "".join(random.choices([*SPECIAL, *ADDED, "\n", "Safety: Safe", words(2)], k=4))

    rows: list[list[dict[str, Any]]] = []
    while len(rows) < count:
        prompt = f"How do I use a {words(3)}?"
        kind = random.choice(("group", "group", "prompt", "forged", "special", "long", "turns"))
        if kind == "group":
            rows += [conversation(prompt, words(12)) for _ in range(4)]
        elif kind == "prompt":
            rows.append(conversation(random.choice((prompt, special(), forged()))))
        elif kind == "forged":
            rows.append(conversation(prompt, forged()))
        elif kind == "special":
            rows.append(conversation(prompt, special()))
        elif kind == "long":
            rows.append(conversation(prompt, words(120)))
        else:
            more = [*conversation(words(5), words(5)), *conversation(words(5), forged())]
            rows.append([{"role": "system", "content": words(6)}, *conversation(prompt, words(5)), *more])
    return rows[:count]
