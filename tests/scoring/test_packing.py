"""One packed pass: which token stands where, and who sees whom, against attention written out token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring import packing as packing_module
from guard_reward.scoring.attention import attend
from guard_reward.scoring.draft import ROOT, Draft
from guard_reward.scoring.kv_cache import KeyValues
from guard_reward.scoring.packing import QUERY_BLOCK, Segment, pack
from guard_reward.scoring.prefixes import share_prefixes

CPU = torch.device("cpu")
KEY_SIZE, VALUE_SIZE = 4, 6
ROUNDINGS = [1, 8]


def tree(*parents):
    """A draft of this shape, with tokens that tell the place: 100, 101, …"""
    draft = Draft(state=0)
    for place, parent in enumerate(parents):
        draft.add(100 + place, parent, 0)
    return draft


def chain(length):
    return tree(*range(ROOT, length))


def segments_of(*rows, known=0, shuffled=False):
    """Segments of rows: (tokens, draft) each, in lexicographic order.

    Args:
        rows: what each row gives to the pass.
        known: so many of a row's tokens at most are in the cache already, as behind an earlier pass.
        shuffled: whether slots come in no order, as freed slots do.

    Returns:
        The segments, and how many slots there are.
    """
    shared = share_prefixes([np.array(tokens, dtype=np.int64) for tokens, _ in rows], [], 0)
    count = sum(len(row.slots) - row.num_cached for row in shared)
    taken = count + np.cumsum([0, *(len(draft) for _, draft in rows)])
    slots = np.random.default_rng(count).permutation(taken[-1]) if shuffled else np.arange(taken[-1])
    segments = []
    for (tokens, draft), row, first in zip(rows, shared, taken, strict=False):
        computed = max(row.num_cached, min(known, len(tokens) - 1))
        draft_slots = slots[np.arange(first, first + len(draft))]
        segments.append(Segment(tokens[computed:], slots[row.slots], draft, draft_slots))
    return segments, len(slots)


def contexts(segment):
    """Naively: for each of a segment's tokens in the pass, the slots it sees, from the first token to itself."""
    seen = [
        list(segment.slots[: place + 1])
        for place in range(len(segment.slots) - len(segment.new_tokens), len(segment.slots))
    ]
    for guess, parent in enumerate(segment.draft.parents[1:]):
        before = list(segment.slots) if parent == ROOT else seen[len(segment.new_tokens) + parent - 1]
        seen.append([*before, segment.draft_slots[guess]])
    return seen


def attention_of(queries, stored, seen, scale):
    """Naively: one query's attention, (heads, head size), over the slots it sees."""
    keys, values = stored.keys[seen], stored.values[seen]  # (seen, key-value heads, size)
    group = len(queries) // keys.shape[1]  # so many heads share a key-value head
    answers = []
    for head, query in enumerate(queries):
        weights = torch.exp(keys[:, head // group] @ query * scale)
        answers.append(weights @ values[:, head // group] / weights.sum())
    return torch.stack(answers)


def random_pass(count, slots, heads, key_value_heads):
    """Queries for `count` places, and keys and values in all slots, also those that nobody should see."""
    generator = torch.Generator().manual_seed(count)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    stored = KeyValues(random(slots + 3, key_value_heads, KEY_SIZE), random(slots + 3, key_value_heads, VALUE_SIZE))
    return random(count, heads, KEY_SIZE), stored


def assert_attention(segments, slots, rounding, heads=2, key_value_heads=1, key_rounding=None):
    """The packed's attention is the naive one: at all places, and at the verdict places alone."""
    packed = pack(segments, CPU, rounding, key_rounding)
    seen = [context for segment in segments for context in contexts(segment)]
    queries, stored = random_pass(len(seen), slots, heads, key_value_heads)
    scale = 0.7
    expected = torch.stack([attention_of(q, stored, s, scale) for q, s in zip(queries, seen, strict=True)])
    torch.testing.assert_close(attend(queries, stored, packed.attention, scale), expected)
    found = attend(queries[packed.logits_to_keep], stored, packed.kept_attention, scale)
    torch.testing.assert_close(found, expected[packed.logits_to_keep])


def assert_covered_once(groups, places, rounding, key_rounding):
    """Every place in exactly one row of one group.

    Padding repeats the row's first place, in front, and sees what that one sees: whichever is written last, the answer
    is the same.
    """
    covered = []
    for group in groups:
        rows, width = group.queries.shape
        assert group.keys.shape[0] == rows
        assert width % rounding == group.keys.shape[1] % key_rounding == 0
        assert group.bias(torch.float32).shape in (
            (rows, 1, width, group.keys.shape[1]),
            (1, 1, width, group.keys.shape[1]),
        )
        for row, bias in zip(group.queries.tolist(), group.bias(torch.float32).expand(rows, -1, -1, -1), strict=True):
            padding = row.count(row[0]) - 1
            real = row[padding:]
            assert row[:padding] == [row[0]] * padding
            assert padding < rounding
            assert (bias[0, : padding + 1] == bias[0, 0]).all()
            covered += real
    assert sorted(covered) == list(range(places))


def assert_laid_out(segments, rounding, key_rounding=None):
    """Everything but attention, token by token."""
    packed = pack(segments, CPU, rounding, key_rounding)
    tokens, positions, slots, kept = [], [], [], []
    for segment in segments:
        known = len(segment.slots) - len(segment.new_tokens)
        for place, token in enumerate(segment.new_tokens):
            tokens.append(token)
            positions.append(known + place)
            slots.append(segment.slots[known + place])
        kept.append(len(tokens) - 1)
        for guess, token in enumerate(segment.draft.tokens):
            kept.append(len(tokens))
            tokens.append(token)
            positions.append(len(segment.slots) + segment.draft.depths[guess + 1] - 1)
            slots.append(segment.draft_slots[guess])
    assert packed.tokens.tolist() == tokens
    assert packed.positions.tolist() == positions
    assert packed.slots.tolist() == slots
    assert packed.logits_to_keep.tolist() == kept
    for tensor in (packed.tokens, packed.positions, packed.slots, packed.logits_to_keep):
        assert tensor.dtype == torch.int64
    assert_covered_once(packed.attention, len(tokens), rounding, key_rounding or rounding)
    assert_covered_once(packed.kept_attention, len(kept), rounding, key_rounding or rounding)


def test_a_pass_by_hand():
    """Two rows that share two tokens; the first guesses a small tree, the second nothing."""
    segments, _ = segments_of(([7, 8, 1], tree(ROOT, 1, 1, ROOT)), ([7, 8, 2], Draft(state=0)))
    packed = pack(segments, CPU)
    assert packed.tokens.tolist() == [7, 8, 1, 100, 101, 102, 103, 2]
    assert packed.positions.tolist() == [0, 1, 2, 3, 4, 4, 3, 2]  # positions are depths
    assert packed.slots.tolist() == [0, 1, 2, 4, 5, 6, 7, 3]
    assert packed.logits_to_keep.tolist() == [2, 3, 4, 5, 6, 7]  # the last known token of a row, and its guesses
    first, second = packed.attention
    assert first.queries.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert first.keys.tolist() == [[0, 1, 2, 4, 5, 6, 7]]
    assert (first.bias(torch.float32)[0, 0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],  # the first token sees itself
        [1, 1, 0, 0, 0, 0, 0],  # known tokens see those before them
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],  # guesses see what is known, and themselves
        [1, 1, 1, 1, 1, 0, 0],  # and what led to them
        [1, 1, 1, 1, 0, 1, 0],  # but not the other branches
        [1, 1, 1, 0, 0, 0, 1],
    ]
    assert (second.queries.tolist(), second.keys.tolist()) == ([[7]], [[0, 1, 3]])
    assert second.bias(torch.float32).tolist() == [[[[0, 0, 0]]]]
    first, second = packed.kept_attention
    assert (first.queries.tolist(), first.keys.tolist()) == ([[0, 1, 2, 3, 4]], [[0, 1, 2, 4, 5, 6, 7]])
    assert (second.queries.tolist(), second.keys.tolist()) == ([[5]], [[0, 1, 3]])


DRAFTS = {
    "nothing": Draft(state=0),
    "one guess": tree(ROOT),
    "a chain": chain(5),
    "a fork at once": tree(ROOT, ROOT, ROOT),
    "a fork later": tree(ROOT, 1, 2, 2, 4),
    "branches in turns": tree(ROOT, ROOT, 1, 2, 3, 4),
    "deep and wide": tree(ROOT, 1, 1, 2, 3, 3, ROOT, 7, 4),
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_a_guess_sees_what_led_to_it(draft, rounding):
    for new in (1, 2, 7, 8, 9):
        segments, slots = segments_of(([1] * 5 + [2] * new, draft), known=5)
        assert len(segments[0].new_tokens) == new
        assert_laid_out(segments, rounding)
        assert_attention(segments, slots, rounding)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("heads", "key_value_heads"), [(1, 1), (3, 3), (4, 2), (6, 1)], ids=["one", "as many", "grouped", "all share one"]
)
def test_heads_may_share_keys(heads, key_value_heads, rounding):
    segments, slots = segments_of(([1, 2], chain(2)), ([1, 3, 4], tree(ROOT, ROOT)))
    assert_attention(segments, slots, rounding, heads, key_value_heads)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("known", "new", "draft"),
    [
        (0, QUERY_BLOCK - 1, Draft(state=0)),  # just below a block
        (0, QUERY_BLOCK, Draft(state=0)),  # a whole block
        (0, QUERY_BLOCK + 1, Draft(state=0)),  # just above
        (0, QUERY_BLOCK - 5, chain(5)),  # a whole block with its guesses
        (0, QUERY_BLOCK - 4, chain(5)),  # above it with its guesses
        (0, QUERY_BLOCK + 1, tree(ROOT, ROOT, 1)),  # the guesses would begin the second block
        (0, 2 * QUERY_BLOCK + 3, tree(ROOT, ROOT, 1)),  # three blocks
        (40, 2 * QUERY_BLOCK + 3, tree(ROOT, ROOT, 1)),  # behind what is known
        (40, 1, tree(*[ROOT] * QUERY_BLOCK)),  # guesses alone fill more than a block
        (40, 2, chain(QUERY_BLOCK)),  # and no block may part them from the last known token
    ],
)
def test_long_rows_ask_in_blocks(known, new, draft, rounding):
    segments, slots = segments_of((list(range(known + new)), draft), known=known)
    assert_laid_out(segments, rounding)
    assert_attention(segments, slots, rounding, heads=1)


def test_blocks_skip_most_of_what_is_not_seen():
    """A long row's early blocks have short lists of keys; no block has many more queries than agreed."""
    [segment], _ = segments_of((list(range(8 * QUERY_BLOCK)), chain(4)))
    groups = pack([segment], CPU).attention
    widths, depths = [group.queries.shape[1] for group in groups], [group.keys.shape[1] for group in groups]
    assert max(widths) <= QUERY_BLOCK + 5
    assert depths == np.cumsum(widths).tolist()
    own = len(segment.new_tokens) + len(segment.draft)
    assert sum(width * depth for width, depth in zip(widths, depths, strict=True)) < 0.6 * own**2


@st.composite
def passes(draw):
    """Any pass: rows that share beginnings, some of them behind earlier passes, some equal, each with any tree."""
    tokens = st.lists(st.integers(0, 1), min_size=1, max_size=9)
    rows = sorted(draw(st.lists(tokens, min_size=1, max_size=6)))
    shapes = [
        [draw(st.integers(ROOT, place)) for place in range(draw(st.integers(0, 7)))]
        for _ in range(draw(st.integers(1, 3)))
    ]
    drafts = [tree(*shape) for shape in shapes]  # several rows may have the same one
    return segments_of(
        *((row, draw(st.sampled_from(drafts))) for row in rows),
        known=draw(st.integers(0, 9)),
        shuffled=draw(st.booleans()),
    )


@settings(deadline=None, max_examples=60)
@given(
    passed=passes(),
    rounding=st.sampled_from([1, 2, 8, 128]),
    times=st.sampled_from([1, 3, 64]),
    block=st.sampled_from([1, 2, 5, QUERY_BLOCK]),
)
def test_any_pass(passed, rounding, times, block):
    """With blocks of any size, and any rounding: they decide only what is computed together."""
    segments, slots = passed
    key_rounding = rounding * times
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing_module, "QUERY_BLOCK", block)
        assert_laid_out(segments, rounding, key_rounding)
        assert_attention(segments, slots, rounding, heads=4, key_value_heads=2, key_rounding=key_rounding)


def test_keys_are_rounded_at_least_as_much_as_queries():
    segments, _ = segments_of(([1], Draft(state=0)))
    with pytest.raises(ValueError, match="key_rounding must be a multiple of rounding \\(8\\), not 12"):
        pack(segments, CPU, 8, 12)


@settings(deadline=None, max_examples=30)
@given(passed=passes(), order=st.randoms())
def test_padding_and_order_change_nothing(passed, order):
    """Rounded or not, in any order of the rows, each row gets the same."""
    segments, slots = passed
    shuffled = list(range(len(segments)))
    order.shuffle(shuffled)
    counts = [len(segment.new_tokens) + len(segment.draft) for segment in segments]
    queries, stored = random_pass(sum(counts), slots, 2, 1)
    own = queries.split(counts)
    plain = pack(segments, CPU)
    expected = attend(queries, stored, plain.attention, 0.5).split(counts)
    padded = pack([segments[index] for index in shuffled], CPU, 16)
    found = attend(torch.cat([own[index] for index in shuffled]), stored, padded.attention, 0.5)
    torch.testing.assert_close(found, torch.cat([expected[index] for index in shuffled]))


def group_count(segments, rounding):
    packed = pack(segments, CPU, rounding)
    return len(packed.attention), len(packed.kept_attention)


def test_rows_of_one_shape_share_a_call():
    """Completions of one length, in a later pass with the same draft, are one call, and one bias."""
    draft = tree(ROOT, 1, 1)
    segments, _ = segments_of(*(([*[5] * 9, last], draft) for last in range(6)), known=9)
    packed = pack(segments, CPU)
    for groups in (packed.attention, packed.kept_attention):
        [group] = groups
        assert group.queries.shape == (6, 4)
        assert group.bias(torch.float32).shape == (1, 1, 4, 13)


def test_rows_of_unlike_shape_share_a_call_when_rounded():
    """Of 1 to 24 tokens each: up to multiples of eight."""
    segments, _ = segments_of(*(([length] * length, Draft(state=0)) for length in range(1, 25)))
    assert group_count(segments, rounding=1) == (24, 24)
    assert group_count(segments, rounding=8) == (3, 3)


def test_early_blocks_of_long_rows_share_a_call_whatever_is_guessed():
    """Only the last block of each has guesses to tell apart."""
    first, second = ([1] * 2 * QUERY_BLOCK, tree(ROOT, 1)), ([2] * 2 * QUERY_BLOCK, tree(ROOT, ROOT))
    segments, _ = segments_of(first, second)
    packed = pack(segments, CPU)
    assert [group.queries.shape[0] for group in packed.attention] == [2, 2, 1, 1]
    assert [group.queries.shape[0] for group in packed.kept_attention] == [1, 1]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (([1, 2], tree(ROOT, 1)), ([2, 2], tree(ROOT, ROOT))),  # as many guesses in another tree
        (([1, 2, 3], tree(ROOT)), ([2, 2], tree(ROOT, 1))),  # a token is known here and guessed there
        (([1, 2, 3], tree(ROOT)), ([2, 2], tree(ROOT, ROOT))),  # and guessed beside another one
    ],
    ids=["other tree", "known or guessed", "known or a fork"],
)
def test_rows_that_only_look_alike_do_not_share_who_sees_whom(first, second, rounding):
    """As many queries and as many keys, but not the same of them."""
    segments, slots = segments_of(first, second)
    assert_attention(segments, slots, rounding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_bias_has_the_type_of_the_model(dtype):
    segments, _ = segments_of(([1, 2], tree(ROOT, ROOT)))
    for rounding in ROUNDINGS:
        packed = pack(segments, CPU, rounding)
        for group in (*packed.attention, *packed.kept_attention):
            bias = group.bias(dtype)
            assert bias.dtype == dtype
            assert set(bias.flatten().tolist()) <= {0.0, float("-inf")}
            assert (bias == 0).any(dim=-1).all()  # a query that sees nothing would be NaN


def test_a_later_pass_computes_one_token_and_its_guesses():
    """What an answer's next pass looks like: everything before its last token is in the cache."""
    segments, slots = segments_of(([1, 2, 3, 4], chain(3)), ([1, 2, 5], tree(ROOT, ROOT)), known=9)
    assert [len(segment.new_tokens) for segment in segments] == [1, 1]
    for rounding in ROUNDINGS:
        assert_laid_out(segments, rounding)
        assert_attention(segments, slots, rounding)


def test_a_later_pass_keeps_the_logits_of_all_its_places():
    """So both attentions are the same then."""
    segments, _ = segments_of(([1, 2, 3, 4], chain(3)), ([1, 2, 5], tree(ROOT, ROOT)), known=9)
    packed = pack(segments, CPU)
    assert packed.logits_to_keep.tolist() == list(range(len(packed.tokens)))
    for whole, at_kept in zip(packed.attention, packed.kept_attention, strict=True):
        assert torch.equal(whole.queries, at_kept.queries)
        assert torch.equal(whole.keys, at_kept.keys)
        assert torch.equal(whole.bias(torch.float32), at_kept.bias(torch.float32))


def test_a_call_gathers_only_so_many_keys(monkeypatch):
    """Sharing saves computing, not gathering: each row of a call has its own copy of the keys."""
    segments, _ = segments_of(*(([*[5] * 9, last], Draft(state=0)) for last in range(7)), known=9)
    whole = pack(segments, CPU)
    monkeypatch.setattr("guard_reward.scoring.packing.MAX_GATHERED_KEYS", 25)
    cut = pack(segments, CPU)
    assert [len(group.keys) for group in whole.attention] == [7]
    assert [len(group.keys) for group in cut.attention] == [2, 2, 2, 1]
    assert torch.equal(torch.cat([group.keys for group in cut.attention]), whole.attention[0].keys)
