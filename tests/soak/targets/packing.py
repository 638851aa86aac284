"""Batches, shared prefixes and packed passes: every row once, within the budget, and each token sees what it should."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import numpy as np

from guard_reward.scoring import plan_batches, plan_padded_batches
from guard_reward.scoring.draft import ROOT, Draft
from guard_reward.scoring.packing import PlannedGroup, PlannedPass, Segment, plan_pass
from guard_reward.scoring.prefixes import share_prefixes, sorted_order
from tests.soak.target import Target, require


class Rows(NamedTuple):
    """Rows of token ids and a budget."""

    rows: list[list[int]]
    budget: int


def _rows(random: Random, most: int, longest: int) -> list[list[int]]:
    """Few different tokens, so that much is shared; some rows continue others."""
    rows: list[list[int]] = []
    for _ in range(random.randrange(1, most)):
        begun = random.choice(rows)[: random.randrange(longest)] if rows and random.random() < 0.6 else []
        rows.append(begun + [random.randrange(random.choice((2, 9))) for _ in range(random.randrange(1, longest))])
    return rows


def _check_batches(case: Rows) -> None:
    rows, budget = case
    batches = plan_batches(rows, budget)
    require(sorted(i for batch in batches for i in batch) == list(range(len(rows))), "every row once", batches)
    for batch in batches:
        require(len(batch) == 1 or _cost([rows[i] for i in batch]) <= budget, "no batch above its budget", batch)
    padded = plan_padded_batches(rows, budget)
    require(sorted(i for batch in padded for i in batch) == list(range(len(rows))), "every row once", padded)
    for batch in padded:
        width = max(len(rows[i]) for i in batch)
        require(len(batch) == 1 or len(batch) * width <= budget, "no matrix above its budget", batch)


def _cost(rows: list[list[int]]) -> int:
    """Tokens that differ: the nodes of the rows' trie, and the last token again of a row that is there twice."""
    found = [tuple(row) for row in rows]
    nodes = {row[:length] for row in found for length in range(1, len(row) + 1)}
    return len(nodes) + len(found) - len(set(found))


class Pass(NamedTuple):
    """Rows in lexicographic order, the parents of the guesses behind each, and the roundings."""

    rows: list[list[int]]
    trees: list[list[int]]
    rounding: int
    key_rounding: int


def _make_pass(random: Random) -> Pass:
    rows = _rows(random, 8, 12)
    rows = [rows[index] for index in sorted_order([np.array(row) for row in rows])]
    trees = [[random.randrange(node + 1) for node in range(random.choice((0, 0, 1, 3, 6)))] for _ in rows]
    rounding = random.choice((1, 1, 2, 8))
    return Pass(rows, trees, rounding, rounding * random.choice((1, 1, 4)))


def _check_pass(case: Pass) -> None:
    rows = [np.array(row, dtype=np.int64) for row in case.rows]
    shared = share_prefixes(rows, [], 0)
    slots: dict[tuple[int, ...], int] = {}
    for row, place in zip(case.rows, shared, strict=True):
        require(0 <= place.num_cached < len(row) == len(place.slots), "a row has a slot per token", place)
        for end in range(1, len(row)):  # the last token of a row that is there twice is computed twice
            beginning = tuple(row[:end])
            require(slots.setdefault(beginning, place.slots[end - 1]) == place.slots[end - 1], "equal beginnings share")
    free = 1 + max(int(place.slots.max()) for place in shared)
    segments = []
    for row, place, parents in zip(rows, shared, case.trees, strict=True):
        draft = Draft(state=0)
        for number, parent in enumerate(parents):
            draft.add(100 + number, parent, 0)
        draft_slots = np.arange(free, free := free + len(draft))
        segments.append(Segment(row[place.num_cached :], place.slots, draft, draft_slots))
    _check_plan(segments, plan_pass(segments, case.rounding, case.key_rounding))


def _check_plan(segments: list[Segment], plan: PlannedPass) -> None:
    expected = [token for segment in segments for token in _tokens(segment)]
    found = list(zip(plan.tokens.tolist(), plan.positions.tolist(), plan.slots.tolist(), strict=True))
    require(found == [token[:3] for token in expected], "tokens, positions and slots", found)
    sees = [token[3] for token in expected]
    require(_seen(plan.attention, len(expected)) == sees, "each token sees its row up to itself, and nothing else")
    kept = plan.logits_to_keep.tolist()
    ends = [begin + len(s.new_tokens) - 1 for s, begin in zip(segments, _begins(segments), strict=True)]
    decisive = [end + step for s, end in zip(segments, ends, strict=True) for step in range(len(s.draft) + 1)]
    require(kept == decisive, "kept are the last known token and the guesses", kept)
    require(_seen(plan.kept_attention, len(kept)) == [sees[place] for place in kept], "these see the same")


def _begins(segments: list[Segment]) -> list[int]:
    return [sum(map(len, segments[:number])) for number in range(len(segments))]


def _tokens(segment: Segment) -> list[tuple[int, int, int, list[int]]]:
    """Naively: token, position, slot, and the slots that it sees, of each token that a row computes."""
    slots, draft = segment.slots.tolist(), segment.draft
    first = len(slots) - len(segment.new_tokens)
    known = [
        (int(token), first + n, slots[first + n], slots[: first + n + 1]) for n, token in enumerate(segment.new_tokens)
    ]
    guesses: list[tuple[int, int, int, list[int]]] = []
    for node, (token, parent) in enumerate(zip(draft.tokens, draft.parents[1:], strict=True)):
        slot = int(segment.draft_slots[node])
        before = slots if parent == ROOT else guesses[parent - 1][3]
        guesses.append((token, len(before), slot, [*before, slot]))
    return known + guesses


def _seen(groups: list[PlannedGroup], count: int) -> list[list[int]]:
    """The slots that each query sees; padding repeats a row's first query."""
    seen: dict[int, list[int]] = {}
    for group in groups:
        width = group.queries.shape[1]
        for number, (queries, keys) in enumerate(zip(group.queries.tolist(), group.keys.tolist(), strict=True)):
            hidden = group.hidden[0 if group.mask is None else group.mask[number]]
            padding = 0 if group.padding is None else int(group.padding[number])
            own = len(keys) - width
            for query, place in enumerate(queries):
                visible = [
                    key for at, key in enumerate(keys) if at >= padding and not (at >= own and hidden[query][at - own])
                ]
                if place not in seen or query >= width - len(set(queries)):
                    seen[place] = visible
    return [sorted(seen[place], key=seen[place].index) for place in range(count)]


TARGETS = [
    Target("batches", lambda random: Rows(_rows(random, 12, 10), random.randrange(1, 60)), _check_batches, share=30),
    Target("packed-passes", _make_pass, _check_pass, share=15),
]
