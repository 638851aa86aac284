"""One-pass scoring is greedy ``generate``, token for token, and its probabilities are a plain softmax's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from guard_reward.guards.grammar import AnswerGrammar
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.scoring import ScoringEngine


def answers(generations):
    return [(generation.token_ids, generation.ended) for generation in generations]


def grammars(toy, count):
    """Prompt and response moderation, mixed."""
    return [toy.response if i % 3 else toy.prompt for i in range(count)]


class Scripted:
    """A runner through a language model that says one thing, to everyone, and counts how often it is asked."""

    name = "scripted"

    def __init__(self, vocabulary, script, start):
        self.script, self.start, self.vocabulary, self.calls = script, start, vocabulary, 0

    def forward(self, packed, cache):
        self.calls += 1
        return packed.positions[packed.logits_to_keep]

    def logits(self, positions):
        step = (positions - self.start + 1).clamp(0, len(self.script) - 1)
        return torch.nn.functional.one_hot(torch.tensor(self.script)[step], self.vocabulary).float() * 10


def scripted(toy, tokens, start):
    return ScoringEngine(toy.model(0), [toy.end], runner=Scripted(toy.vocabulary, [*tokens, toy.end], start))


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        ("Safety: Safe\nCategories: None\nRefusal: No", 1),  # a branch of the first draft
        ("Safety: Safe\nCategories: None\nRefusal: Yes", 1),  # so is the other refusal word
        ("Safety: Unsafe\nCategories: Violent\nRefusal: No", 2),  # the category
        ("Safety: Controversial\nCategories: Violent\nRefusal: Yes", 2),  # the category
        ("Safety: Unsafe\nCategories: None\nRefusal: No", 2),  # the category, though there is none
        ("Safety: Safe\nCategories: Violent\nRefusal: No", 2),  # a category where none was guessed
        ("Safety: Unsafe\nCategories: PII, Jailbreak\nRefusal: Yes", 3),  # each category
        ("Safety: Unsafe\nCategories: PII, Jailbreak, Violent\nRefusal: Yes", 4),  # each category
        ("Safety: Safe", 1),  # ends too early
        ("", 1),  # ends at once
        ("Safety: Safe\nCategories: None\nRefusal: No\n", 2),  # does not stop
        ("Safety: Unsafe\nCategories:??, PII\nRefusal: No", 5),  # unknown category, found its way back
        ("???", 4),  # never in the grammar
    ],
)
def test_a_pass_for_every_choice_that_the_draft_left_open(toy, answer, passes):
    tokens = toy.encode(answer)
    engine = scripted(toy, tokens, start=3)
    [generation] = engine.generate([[0, 1, 2]], [toy.response])
    assert (generation.token_ids, generation.ended) == (tokens, True)
    assert generation.passes == engine.runner.calls == engine.usage.passes == passes


def test_prompt_moderation_ends_after_the_categories(toy):
    for answer, passes in (
        ("Safety: Safe\nCategories: None", 1),
        ("Safety: Unsafe\nCategories: Violent", 2),
        ("Safety: Unsafe\nCategories: Violent, Jailbreak", 3),
    ):
        tokens = toy.encode(answer)
        [generation] = scripted(toy, tokens, start=1).generate([[0]], [toy.prompt])
        assert (generation.token_ids, generation.ended, generation.passes) == (tokens, True, passes)
        assert generation.log_probs.get("refusal") is None


def test_a_row_whose_drafts_always_miss_is_no_longer_drafted(toy, monkeypatch):
    """Line after line leads back into the grammar, where the draft is wrong each time."""
    tokens = toy.encode("?" + "\n?" * 20)
    drafted = []
    draft = AnswerGrammar.draft
    monkeypatch.setattr(
        AnswerGrammar, "draft", lambda self, *args: drafted.append(len(found := draft(self, *args))) or found
    )
    [generation] = scripted(toy, tokens, start=1).generate([[0]], [toy.response])
    assert generation.token_ids == tokens
    assert len([count for count in drafted if count]) == 3


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_greedy_generate(toy, seed):
    """Random models: prompts and responses in one batch, rows of very different lengths."""
    model = toy.model(seed, noise=(0.1, 0.35, 0.6, 1.0)[seed % 4])
    inputs = toy.inputs(seed, 14)
    generations = ScoringEngine(model, [toy.end], 40).generate(inputs, grammars(toy, 14))
    assert answers(generations) == toy.greedy(model, inputs, 40)


@pytest.mark.parametrize("seed", range(4))
def test_padded_calls_give_the_same(toy, seed):
    """As on a GPU, where attention's calls are padded to few shapes."""
    model = toy.model(seed, noise=0.35)
    inputs = [*toy.inputs(seed, 14), [4] * 300 + [toy.end]]
    engine = ScoringEngine(model, [toy.end], 40, preambles=[inputs[-1][:200]])
    engine._rounding = (32, 32)
    for _ in range(2):
        assert answers(engine.generate(inputs, grammars(toy, 15))) == toy.greedy(model, inputs, 40)


def test_new_weights_forget_what_the_old_ones_computed(toy):
    """Kept keys and values of a preamble are of no use to other weights, and would be wrong without a word."""
    model, other = toy.model(1), toy.model(2)
    preamble = [3] * 50
    rows = [[*preamble, *row] for row in toy.inputs(1, 7)]
    engine = ScoringEngine(model, [toy.end], 40, preambles=[preamble])
    assert answers(engine.generate(rows, grammars(toy, 7))) == toy.greedy(model, rows, 40)
    model.load_state_dict(other.state_dict())
    assert answers(engine.generate(rows, grammars(toy, 7))) == toy.greedy(model, rows, 40)


def test_threads_take_turns(toy):
    """One model has one packed pass at a time."""
    model = toy.model(3, "Granite")
    engine = ScoringEngine(model, [toy.end], 40)
    batches = [toy.inputs(seed, 7) for seed in range(6)]
    expected = [toy.greedy(model, batch, 40) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda batch: answers(engine.generate(batch, grammars(toy, 7))), batches * 3))
    assert found == expected * 3
    assert engine.usage.rows == 6 * 7 * 3


def test_only_finished_batches_are_counted(toy):
    engine = ScoringEngine(toy.model(0), [toy.end], 40)
    runner, engine.runner = engine.runner, None  # fails in the first pass
    with pytest.raises(AttributeError):
        engine.generate(toy.inputs(0, 3), grammars(toy, 3))
    assert engine.usage.rows == engine.usage.input_tokens == 0
    engine.runner = runner
    engine.generate(toy.inputs(0, 3), grammars(toy, 3))
    assert engine.usage.rows == 3


def test_the_toy_models_do_all_that_a_guard_might(toy):
    """Otherwise equality would show little: drafts accepted and rejected, ends early, late and never."""
    kinds = set()
    for seed in range(12):
        model = toy.model(seed, noise=(0.1, 0.35, 0.6, 1.0)[seed % 4])
        for g in ScoringEngine(model, [toy.end], 40).generate(toy.inputs(seed, 14), grammars(toy, 14)):
            kinds.add("ended" if g.ended else "never ended")
            kinds.add("in few passes" if g.passes <= len(g.token_ids) // 3 else "in many passes")
            kinds.add("severity seen" if g.log_probs.get("severity") else "no severity")
            kinds.add("refusal seen" if g.log_probs.get("refusal") else "no refusal")
            if g.ended and len(g.token_ids) < 4:
                kinds.add("ended early")
            if g.ended and g.passes > 6:
                kinds.add("ended late")
    assert kinds == {
        *("ended", "never ended", "in few passes", "in many passes", "severity seen", "no severity", "refusal seen"),
        *("no refusal", "ended early", "ended late"),
    }


def test_the_limit_of_new_tokens_at_every_place(toy):
    """1, 2, 3, … tokens: the limit falls before, in, at the end of and behind drafts, and on the end token."""
    model = toy.model(3)
    inputs = toy.inputs(3, 7)
    whole = toy.greedy(model, inputs, 30)
    for limit in range(1, 30):
        generations = ScoringEngine(model, [toy.end], limit).generate(inputs, [toy.response] * 7)
        cut = [(ids[:limit], ended and len(ids) < limit) for ids, ended in whole]
        assert answers(generations) == cut, limit
    assert cut[0] == toy.greedy(model, inputs[:1], 29)[0]


def test_128_tokens_and_no_more(toy):
    model = toy.model(0)
    inputs = toy.inputs(5, 2)
    engine = ScoringEngine(model, [])  # no end token: it can only be stopped
    for generation in engine.generate(inputs, [toy.response] * 2):
        assert (len(generation.token_ids), generation.ended) == (128, False)


def test_several_end_tokens(toy):
    model = toy.model(1)
    model.generation_config.eos_token_id = [toy.end, *toy.encode("?")]
    inputs = toy.inputs(1, 7)
    generations = ScoringEngine(model, model.generation_config.eos_token_id, 40).generate(inputs, [toy.response] * 7)
    assert answers(generations) == toy.greedy(model, inputs, 40)


def test_the_company_of_a_row_changes_nothing(toy):
    """Alone, in order, shuffled, beside long rows: the same tokens and, to rounding, the same probabilities."""
    model = toy.model(7)
    inputs = [*toy.inputs(7, 10), *([[4] * 200 + [toy.end]])]
    chosen = grammars(toy, 11)
    engine = ScoringEngine(model, [toy.end], 40)
    alone = [engine.generate([row], [grammar])[0] for row, grammar in zip(inputs, chosen, strict=True)]
    for order in (range(11), [10, 0, 9, 1, 8, 2, 7, 3, 6, 4, 5], [3, 10, 3, 0]):
        together = engine.generate([inputs[i] for i in order], [chosen[i] for i in order])
        for i, generation in zip(order, together, strict=True):
            assert (generation.token_ids, generation.ended) == (alone[i].token_ids, alone[i].ended)
            assert generation.passes == alone[i].passes
            assert generation.log_probs.get("severity") == pytest.approx(alone[i].log_probs.get("severity"), abs=1e-4)
            assert generation.log_probs.get("refusal") == pytest.approx(alone[i].log_probs.get("refusal"), abs=1e-4)


def naive_log_probs(model, tokens, watched):
    """Log-probabilities of `watched` behind `tokens`, by one plain forward."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].double()
    return logits.log_softmax(-1)[list(watched)].tolist()


def assert_probabilities(toy, model, limit=40):
    inputs = toy.inputs(11, 14)
    chosen = grammars(toy, 14)
    seen = 0
    generations = ScoringEngine(model, [toy.end], limit).generate(inputs, chosen)
    for row, grammar, generation in zip(inputs, chosen, generations, strict=True):
        state, severity, refusal = grammar.start, None, None
        for count in range(len(generation.token_ids) + 1):
            before = [*row, *generation.token_ids[:count]]
            decision = grammar.decision(state)
            if decision is not None and decision.name == "severity" and severity is None:
                severity = naive_log_probs(model, before, decision.token_ids)
            if decision is not None and decision.name == "refusal" and count < limit:
                refusal = naive_log_probs(model, before, decision.token_ids)
            if count < len(generation.token_ids):
                state = grammar.step(state, generation.token_ids[count])
        assert generation.log_probs.get("severity") == pytest.approx(severity, abs=1e-4)
        assert generation.log_probs.get("refusal") == pytest.approx(refusal, abs=1e-4)
        seen += (severity is not None) + (refusal is not None)
    assert seen > 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probabilities_are_a_plain_softmax_at_the_position_that_decides(toy, seed):
    assert_probabilities(toy, toy.model(seed))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_either_attention(toy, attention):
    model = toy.model(4, attn_implementation=attention)
    inputs = toy.inputs(4, 9)
    assert answers(ScoringEngine(model, [toy.end], 30).generate(inputs, grammars(toy, 9))) == toy.greedy(
        model, inputs, 30
    )


def test_logits_only_where_a_token_is_decided(toy):
    """The head sees the verdicts' positions, not the conversations'."""
    model = toy.model(0)
    seen = []
    model.lm_head.register_forward_hook(lambda module, args, output: seen.append(len(args[0].flatten(0, -2))))
    engine = ScoringEngine(model, [toy.end], 40)
    seen.clear()  # of the trial that chose the runner
    engine.generate([[1] * 300, [2] * 10], [toy.response] * 2)
    assert max(seen) == 2 * (1 + len(toy.response.draft(toy.response.start, 39)))


def test_shared_beginnings_are_computed_once(toy):
    """Tokens that go through the model: those of the trie of all rows, and the drafts'."""
    model = toy.model(0)
    prompts = [[3] * 40, [4] * 25]
    rows = [[*prompt, *[word] * 5, toy.end] for prompt in prompts for word in range(5, 9)]
    fed = []
    model.model.embed_tokens.register_forward_hook(lambda module, args, output: fed.append(args[0].numel()))
    engine = ScoringEngine(model, [toy.end], 40)
    fed.clear()
    engine.generate(rows, [toy.response] * 8)
    unique = 40 + 25 + 8 * 6
    assert fed[0] == unique + 8 * len(toy.response.draft(toy.response.start, 39))
    assert (engine.usage.input_tokens, engine.usage.computed_tokens) == (sum(map(len, rows)), unique)
    assert engine.usage.prefix_reuse == pytest.approx(1 - unique / sum(map(len, rows)))
    assert engine.usage.rows == 8
    assert engine.usage.passes_per_verdict >= 1


def test_a_preamble_is_computed_once_and_changes_nothing(toy):
    model = toy.model(5)
    preambles = [[2, 3] * 30, [2, 3] * 10 + [5, 6] * 20]
    engine = ScoringEngine(model, [toy.end], 40, preambles=preambles)
    rows = [[*preamble, *row] for preamble in preambles for row in toy.inputs(5, 7)]
    rows += [preambles[0], [*preambles[0][:30], toy.end], [7, toy.end]]  # all of it, a part of it, nothing of it
    chosen = grammars(toy, len(rows))
    expected = toy.greedy(model, rows, 40)
    assert answers(engine.generate(rows, chosen)) == expected
    first = engine.usage.computed_tokens
    assert answers(engine.generate(rows, chosen)) == expected  # from the kept keys and values
    assert engine.usage.computed_tokens - first == first - 120
    engine.reset_prefix_cache()
    assert answers(engine.generate(rows, chosen)) == expected
    assert engine.usage.computed_tokens == 3 * first - 120


def test_what_came_before_changes_nothing_to_the_last_bit(toy):
    """A run that is resumed in a new process writes the same numbers as one that was not interrupted."""
    model = toy.model(5)
    preamble = [2, 3] * 30
    batches = [[[*preamble, *row] for row in toy.inputs(seed, 9)] for seed in range(3)]
    unbroken, resumed = (ScoringEngine(model, [toy.end], 40, preambles=[preamble]) for _ in range(2))
    for batch in batches[:-1]:
        unbroken.generate(batch, grammars(toy, 9))
    assert unbroken.generate(batches[-1], grammars(toy, 9)) == resumed.generate(batches[-1], grammars(toy, 9))


def test_no_gradients_no_changed_inputs(toy):
    inputs = toy.inputs(0, 3)
    before = [list(row) for row in inputs]
    generations = ScoringEngine(toy.model(0), [toy.end], 20).generate(inputs, [toy.response] * 3)
    assert inputs == before
    assert isinstance(generations[0].token_ids, list)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_nothing_to_do(toy):
    assert ScoringEngine(toy.model(0), [toy.end]).generate([], []) == []


def test_a_grammar_of_another_tokenizer_costs_passes_never_the_answer(toy):
    """Drafts are guesses: even wrong ones cannot change what the model says."""
    wrong = QWEN3GUARD.grammar(
        lambda text: [(token * 7 + 3) % toy.vocabulary for token in toy.encode(text)], is_response=True
    )
    model = toy.model(9)
    inputs = toy.inputs(9, 9)
    assert answers(ScoringEngine(model, [toy.end], 30).generate(inputs, [wrong] * 9)) == toy.greedy(model, inputs, 30)


# --- planned ahead --------------------------------------------------------------------------------------------------


def test_a_batch_that_was_planned_before_has_the_same_answers(toy):
    inputs = [[0, 1, 2, n % 3, n] for n in range(9)]
    engine = ScoringEngine(toy.model(0), [toy.end], 12, preambles=[[0, 1, 2]])
    expected = engine.generate(inputs, grammars(toy, 9))
    planned = [engine.plan(inputs[half], grammars(toy, 9)[half]) for half in (slice(0, 4), slice(4, 9))]
    found = [
        generation
        for half, batch in zip((slice(0, 4), slice(4, 9)), planned, strict=True)
        for generation in engine.generate(inputs[half], grammars(toy, 9)[half], planned=batch)
    ]
    assert answers(found) == answers(expected)


def test_planning_needs_neither_the_model_nor_its_lock(toy):
    from guard_reward.models.sleep import MODEL_LOCK

    engine = scripted(toy, [5], start=3)
    with MODEL_LOCK, ThreadPoolExecutor(1) as thread:  # held, as by a thread that runs the model
        planned = thread.submit(engine.plan, [[0, 1, 2]], [toy.response]).result(timeout=30)
    assert engine.runner.calls == 0
    assert planned.nbytes > 0


def test_plans_that_were_made_before_the_preambles_were_forgotten_still_run(toy):
    engine = ScoringEngine(toy.model(0), [toy.end], 12, preambles=[[0, 1, 2]])
    inputs = [[0, 1, 2, 3], [0, 1, 2, 4]]
    expected = answers(engine.generate(inputs, grammars(toy, 2)))
    planned = engine.plan(inputs, grammars(toy, 2))
    engine.reset_prefix_cache()
    assert answers(engine.generate(inputs, grammars(toy, 2), planned=planned)) == expected


@pytest.mark.parametrize("as_rows", [tuple, np.array, lambda row: np.array(row, dtype=np.int32)])
def test_inputs_may_be_arrays(toy, as_rows):
    inputs = [[0, 1, 2, 3], [0, 1]]
    engine = ScoringEngine(toy.model(0), [toy.end], 6)
    expected = answers(engine.generate(inputs, grammars(toy, 2)))
    assert answers(engine.generate([as_rows(row) for row in inputs], grammars(toy, 2))) == expected
