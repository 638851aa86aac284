"""Random JSON lines, written by hand so that no writer tidies them up, and their check."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.moderation.random_tables.texts import corrupted, text

_NUMBERS = ["0", "-0", "-0.0", "1.10", "1e400", "-1E-400", "0.1234567890123456789012", "1234567890" * 3, "1" * 5000]
_WORDS = ["null", "true", "false", "NaN", "Infinity", "-Infinity"]
_KEYS = ["id", "", "a.b", "prompt", "é", "\x00", "\ud800", "n\nl", "guard_", "outcome"]
_NO_OBJECTS = [
    "[1, 2]", '"text"', "7", "null", "{", '{"prompt": "cut', "{'prompt': 'x'}", '{"prompt": 01}', "}", "\x0b",
    "\ufeff{}",
]  # fmt: skip


def write(rng: random.Random, path: Path) -> bool:
    """A file of objects, most with a prompt, some lines of which are broken; whether the file had no accident."""
    ending = rng.choice(["\n", "\n", "\r\n"])
    lines = [_line(rng) for _ in range(rng.randrange(12))]
    data = ending.join([*lines, *([""] if rng.random() < 0.8 else [])]).encode()
    if rng.random() < 0.1:
        data = b"\xef\xbb\xbf" + data
    accident = rng.random()
    if accident < 0.25:
        data = corrupted(rng, data)
    elif accident < 0.28:
        data = data.decode().encode(rng.choice(["utf-16", "utf-16-le", "utf-32"]))
    elif accident < 0.3:
        data = data.replace(b"\n", b"\r")
    path.write_bytes(data)
    return accident >= 0.3


def _line(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.05:
        return rng.choice(["", " ", "\t"])
    if kind < 0.12:
        return rng.choice(_NO_OBJECTS)
    members = [(rng.choice(_KEYS), _value(rng, 3)) for _ in range(rng.randrange(4))]
    if rng.random() < 0.9:
        members.append(("prompt", _value(rng, 1) if rng.random() < 0.2 else _string(rng)))
    if rng.random() < 0.2:
        members.append(("response", _string(rng)))
    if rng.random() < 0.02:
        members.append(("guard_reason", "1"))
    rng.shuffle(members)
    blank = rng.choice(["", " ", "  "])
    body = f",{blank}".join(f"{json.dumps(key)}{blank}:{value}" for key, value in members)
    return f"{blank}{{{blank}{body}{blank}}}{blank}"


def _value(rng: random.Random, depth: int) -> str:
    """JSON text of a value."""
    kind = rng.random()
    if kind < 0.02:
        levels = rng.choice([100, 199, 201, 900, 3000])
        return "[" * levels + "]" * levels
    if depth and kind < 0.3:
        inner = [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
        if rng.random() < 0.5:
            return f"[{','.join(inner)}]"
        return "{" + ",".join(f"{json.dumps(rng.choice(_KEYS))}: {value}" for value in inner) + "}"
    return rng.choice([rng.choice(_NUMBERS), rng.choice(_WORDS), _string(rng), _string(rng)])


def _string(rng: random.Random) -> str:
    found = text(rng, halves=True)
    as_ascii = rng.random() < 0.5 or any("\ud800" <= letter <= "\udfff" for letter in found)
    return json.dumps(found, ensure_ascii=as_ascii)


def check(source: Path, target: Path) -> int:
    """Every line that is not blank is a line of the output: its members, or the text of a line that is no object."""
    lines = source.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    results = target.read_bytes().decode().split("\n")
    assert results.pop() == ""
    before = [line for line in lines if line.strip()]
    for line, result in zip(before, results, strict=True):
        members = _members(result.encode())
        assert members is not None
        added = dict(members)
        if added.get("guard_raw") is not None:
            assert added["guard_raw"] == line.decode(errors="backslashreplace").strip(" \t\r\n")
            assert members[0][0] == "guard_outcome", "only the added fields"
            assert added["guard_outcome"] == "guard_error"
        else:
            own = _members(line)
            assert own is not None
            assert members[: len(own)] == own
            assert members[len(own)][0] == "guard_outcome"
    return len(before)


def _members(line: bytes) -> list[tuple[str, Any]] | None:
    """Keys and values of a JSON object in order, with repeats, and numbers as written; None for anything else."""
    try:
        found = json.loads(line, object_pairs_hook=list, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(member, tuple) for member in found) else None


class _Number(str):
    """The text of a number: NaN equals itself."""
