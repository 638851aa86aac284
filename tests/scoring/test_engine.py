"""One-pass scoring is greedy ``generate``, token for token, and its probabilities are a plain softmax's."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedConfig

from guard_reward.scoring import VerdictEngine, VerdictGrammar

SAFE = "Safety: Safe\nCategories: None\nRefusal: No"


def answers(generations):
    return [(generation.token_ids, generation.ended) for generation in generations]


def grammars(toy, count):
    """Prompt and response moderation, mixed."""
    return [toy.response if i % 3 else toy.prompt for i in range(count)]


class Scripted(torch.nn.Module):
    """A language model that says one thing, to everyone, and counts how often it is asked."""

    def __init__(self, vocabulary, script, start):
        super().__init__()
        self.script, self.start, self.vocabulary, self.calls = script, start, vocabulary, 0
        self.device = torch.device("cpu")
        self.config = PreTrainedConfig()

    def get_decoder(self):
        return None

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids, position_ids, **_):
        self.calls += 1
        step = (position_ids - self.start + 1).clamp(0, len(self.script) - 1)
        logits = torch.nn.functional.one_hot(torch.tensor(self.script)[step], self.vocabulary).float() * 10
        return type("Output", (), {"logits": logits})


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        (SAFE, 1),  # the draft itself
        ("Safety: Safe\nCategories: None\nRefusal: Yes", 2),  # other refusal word
        ("Safety: Unsafe\nCategories: None\nRefusal: No", 2),  # other severity
        ("Safety: Unsafe\nCategories: Violent\nRefusal: No", 3),  # severity and category
        ("Safety: Unsafe\nCategories: PII, Jailbreak\nRefusal: Yes", 6),  # each choice once
        ("Safety: Safe", 1),  # ends too early
        ("", 1),  # ends at once
        ("Safety: Safe\nCategories: None\nRefusal: No\n", 2),  # does not stop
        ("Safety: Unsafe\nCategories: ??, PII\nRefusal: No", 6),  # unknown category, re-synchronised
        ("???", 4),  # never in grammar
    ],
)
def test_a_pass_for_every_choice_that_the_draft_missed(toy, answer, passes):
    if passes == 6 and "??" in answer:
        answer = answer.replace(" ??", "??")
    tokens = toy.encode(answer)
    model = Scripted(toy.vocabulary, [*tokens, toy.end], start=3)
    [generation] = VerdictEngine(model, [toy.end]).generate([[0, 1, 2]], [toy.response])
    assert (generation.token_ids, generation.ended) == (tokens, True)
    assert generation.passes == model.calls == passes


def test_prompt_moderation_ends_after_the_categories(toy):
    tokens = toy.encode("Safety: Safe\nCategories: None")
    model = Scripted(toy.vocabulary, [*tokens, toy.end], start=1)
    [generation] = VerdictEngine(model, [toy.end]).generate([[0]], [toy.prompt])
    assert (generation.token_ids, generation.ended, generation.passes) == (tokens, True, 1)
    assert generation.refusal_log_probs is None


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_greedy_generate(toy, seed):
    """Random models: prompts and responses in one batch, rows of very different lengths."""
    model = toy.model(seed, noise=(0.1, 0.35, 0.6, 1.0)[seed % 4])
    inputs = toy.inputs(seed, 14)
    generations = VerdictEngine(model, [toy.end], 40).generate(inputs, grammars(toy, 14))
    assert answers(generations) == toy.greedy(model, inputs, 40)


def test_the_toy_models_do_all_that_a_guard_might(toy):
    """Otherwise equality would show little: drafts accepted and rejected, ends early, late and never."""
    kinds = set()
    for seed in range(12):
        model = toy.model(seed, noise=(0.1, 0.35, 0.6, 1.0)[seed % 4])
        for g in VerdictEngine(model, [toy.end], 40).generate(toy.inputs(seed, 14), grammars(toy, 14)):
            kinds.add("ended" if g.ended else "never ended")
            kinds.add("in few passes" if g.passes <= len(g.token_ids) // 3 else "in many passes")
            kinds.add("severity seen" if g.severity_log_probs else "no severity")
            kinds.add("refusal seen" if g.refusal_log_probs else "no refusal")
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
        generations = VerdictEngine(model, [toy.end], limit).generate(inputs, [toy.response] * 7)
        cut = [(ids[:limit], ended and len(ids) < limit) for ids, ended in whole]
        assert answers(generations) == cut, limit
    assert cut[0] == toy.greedy(model, inputs[:1], 29)[0]


def test_128_tokens_and_no_more(toy):
    model = toy.model(0)
    inputs = toy.inputs(5, 2)
    engine = VerdictEngine(model, [])  # no end token: it can only be stopped
    for generation in engine.generate(inputs, [toy.response] * 2):
        assert (len(generation.token_ids), generation.ended) == (128, False)


def test_several_end_tokens(toy):
    model = toy.model(1)
    model.generation_config.eos_token_id = [toy.end, *toy.encode("?")]
    inputs = toy.inputs(1, 7)
    generations = VerdictEngine(model, model.generation_config.eos_token_id, 40).generate(inputs, [toy.response] * 7)
    assert answers(generations) == toy.greedy(model, inputs, 40)


def test_the_company_of_a_row_changes_nothing(toy):
    """Alone, in order, shuffled, beside long rows: the same tokens and, to rounding, the same probabilities."""
    model = toy.model(7)
    inputs = [*toy.inputs(7, 10), *([[4] * 200 + [toy.end]])]
    chosen = grammars(toy, 11)
    engine = VerdictEngine(model, [toy.end], 40)
    alone = [engine.generate([row], [grammar])[0] for row, grammar in zip(inputs, chosen, strict=True)]
    for order in (range(11), [10, 0, 9, 1, 8, 2, 7, 3, 6, 4, 5], [3, 10, 3, 0]):
        together = engine.generate([inputs[i] for i in order], [chosen[i] for i in order])
        for i, generation in zip(order, together, strict=True):
            assert (generation.token_ids, generation.ended) == (alone[i].token_ids, alone[i].ended)
            assert generation.passes == alone[i].passes
            assert generation.severity_log_probs == pytest.approx(alone[i].severity_log_probs, abs=1e-4)
            assert generation.refusal_log_probs == pytest.approx(alone[i].refusal_log_probs, abs=1e-4)


def naive_log_probs(model, tokens, watched):
    """Log-probabilities of `watched` behind `tokens`, by one plain forward."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].double()
    return logits.log_softmax(-1)[list(watched)].tolist()


def assert_probabilities(toy, model, limit=40):
    inputs = toy.inputs(11, 14)
    chosen = grammars(toy, 14)
    seen = 0
    generations = VerdictEngine(model, [toy.end], limit).generate(inputs, chosen)
    for row, grammar, generation in zip(inputs, chosen, generations, strict=True):
        state, severity, refusal = grammar.start, None, None
        for count in range(len(generation.token_ids) + 1):
            before = [*row, *generation.token_ids[:count]]
            if state == grammar.severity_state and severity is None:
                severity = naive_log_probs(model, before, grammar.watched)
            if state == grammar.refusal_state and count < limit:
                refusal = naive_log_probs(model, before, grammar.watched)
            if count < len(generation.token_ids):
                state = grammar.step(state, generation.token_ids[count])
        assert generation.severity_log_probs == pytest.approx(severity, abs=1e-4)
        assert generation.refusal_log_probs == pytest.approx(refusal, abs=1e-4)
        seen += (severity is not None) + (refusal is not None)
    assert seen > 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probabilities_are_a_plain_softmax_at_the_position_that_decides(toy, seed):
    assert_probabilities(toy, toy.model(seed))


ARCHITECTURES = [
    ("Llama", {}, True),  # plain head
    ("Mistral", {"sliding_window": None}, True),  # plain head
    ("Qwen2", {}, True),  # plain head
    ("Gemma2", {"final_logit_softcapping": 2.0, "query_pre_attn_scalar": 16}, False),  # caps the logits
    ("Granite", {"logits_scaling": 3.0}, False),  # scales the logits
    ("Cohere", {"logit_scale": 0.25}, False),  # scales the logits
    ("GPTNeoX", {"rotary_pct": 1.0}, True),  # no grouped heads
]


@pytest.mark.parametrize(("architecture", "config", "plain_head"), ARCHITECTURES)
def test_other_architectures(toy, architecture, config, plain_head):
    model = toy.model(2, architecture, **config)
    engine = VerdictEngine(model, [toy.end], 30)
    assert engine._head_is_all is plain_head
    inputs = toy.inputs(2, 9)
    assert answers(engine.generate(inputs, grammars(toy, 9))) == toy.greedy(model, inputs, 30)
    assert_probabilities(toy, model, 30)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_either_attention(toy, attention):
    model = toy.model(4, attn_implementation=attention)
    inputs = toy.inputs(4, 9)
    assert answers(VerdictEngine(model, [toy.end], 30).generate(inputs, grammars(toy, 9))) == toy.greedy(
        model, inputs, 30
    )


def test_logits_only_where_a_token_is_decided(toy):
    """The head sees the verdict's positions, not the conversation's."""
    model = toy.model(0)
    engine = VerdictEngine(model, [toy.end], 40)
    seen = []
    model.lm_head.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[1]))
    engine.generate([[1] * 300, [2] * 10], [toy.response] * 2)
    assert max(seen) <= len(toy.response.draft(toy.response.start)) + 1


def test_no_gradients_no_changed_inputs(toy):
    inputs = toy.inputs(0, 3)
    before = [list(row) for row in inputs]
    generations = VerdictEngine(toy.model(0), [toy.end], 20).generate(inputs, [toy.response] * 3)
    assert inputs == before
    assert isinstance(generations[0].token_ids, list)


def test_nothing_to_do(toy):
    assert VerdictEngine(toy.model(0), [toy.end]).generate([], []) == []


def test_a_grammar_of_another_tokenizer_costs_passes_never_the_answer(toy):
    """Drafts are guesses: even wrong ones cannot change what the model says."""
    wrong = VerdictGrammar(
        lambda text: [(token * 7 + 3) % toy.vocabulary for token in toy.encode(text)], with_refusal=True
    )
    model = toy.model(9)
    inputs = toy.inputs(9, 9)
    assert answers(VerdictEngine(model, [toy.end], 30).generate(inputs, [wrong] * 9)) == toy.greedy(model, inputs, 30)


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("Mistral", {"sliding_window": 16}),  # every layer
        ("Gemma2", {"sliding_window": 16, "query_pre_attn_scalar": 16}),  # every second
        ("Qwen3", {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 0}),  # switched on
    ],
)
def test_a_sliding_window_is_refused(toy, architecture, config):
    """Rejected drafts take up places in the cache: the window would end too early, without a word."""
    with pytest.raises(ValueError, match="last 16 tokens only, of a context of 512"):
        VerdictEngine(toy.model(0, architecture, **config), [toy.end])


def test_a_running_state_is_refused(toy):
    model = toy.model(0)
    model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ValueError, match="running state"):
        VerdictEngine(model, [toy.end])
