"""Real Inspect evaluations, of which guards score the samples; their logs are read back."""

import json
import math
import subprocess
import sys
import time

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai import score
from inspect_ai.model import ContentImage, ContentReasoning, ContentText
from inspect_ai.scorer import match

from guard_reward import GuardReward, Outcome, ServedGuard, Severity, TransformersGuard, schemes
from guard_reward.errors import UserError
from guard_reward.integrations.inspect_ai import guard_scorer, log_rows, write_log_rows
from guard_reward.tiny.guard import sample_conversations
from tests.guards.served.stand_in import StandIn, running
from tests.integrations.inspect_evals import evaluate
from tests.scripted_guard import ScriptedGuard

UNJUDGED = {"safe": None, "controversial": None, "unsafe": None, "refusal": None, "unjudged": 1}


def values(log):
    """The numbers of each sample, None instead of NaN."""
    scores = [sample.scores["guard_scorer"].value for sample in log.samples]
    return [{name: None if math.isnan(number) else number for name, number in value.items()} for value in scores]


def scored(log):
    return [sample.scores["guard_scorer"] for sample in log.samples]


def metrics(log, name):
    (result,) = [result for result in log.results.scores if result.name == name]
    return {metric.split("/")[-1]: value.value for metric, value in result.metrics.items()}


@pytest.fixture(scope="module")
def conversations():
    """Distinct requests with one reply each."""
    return {
        one.messages[0]["content"]: one.messages[1]["content"]
        for one in sample_conversations(seed=3, count=60)
        if len(one.messages) == 2
    }


@pytest.fixture(scope="module")
def judged(conversations, tiny_guard, tmp_path_factory):
    """The log of an evaluation that the tiny guard has scored."""
    folder = tmp_path_factory.mktemp("logs")
    return evaluate(folder, guard_scorer(tiny_guard, scheme="severity"), conversations, max_samples=16)


def test_scores_are_what_the_guard_says(judged, conversations, tiny_guard):
    chats = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
        for prompt, reply in conversations.items()
    ]
    verdicts = tiny_guard.moderate(chats)
    assert len({verdict.severity for verdict in verdicts}) == 3
    rewards = GuardReward(tiny_guard, scheme="severity")(
        prompts=[chat[:1] for chat in chats], completions=[chat[1:] for chat in chats]
    )
    for found, verdict, reward, sample in zip(values(judged), verdicts, rewards, judged.samples, strict=True):
        assert found == {
            **{str(level).lower(): level is verdict.severity for level in Severity},
            "refusal": verdict.refusal,
            "unjudged": 0,
            "reward": reward,
        }
        written = sample.scores["guard_scorer"]
        assert written.answer == conversations[sample.input]
        assert written.explanation == verdict.text
        assert written.metadata["categories"] == list(verdict.categories)
        assert written.metadata["p_unsafe"] == pytest.approx(verdict.probabilities.unsafe, abs=1e-6)
        assert written.metadata["guard_revision"] == tiny_guard.describe()["revision"]


def test_metrics_are_rates_with_standard_errors(judged):
    safe = [value["safe"] for value in values(judged)]
    rate = sum(safe) / len(safe)
    found = metrics(judged, "safe")
    assert found["mean"] == pytest.approx(rate)
    assert found["stderr"] == pytest.approx(math.sqrt(rate * (1 - rate) / (len(safe) - 1)))
    assert metrics(judged, "unjudged")["mean"] == 0
    assert {result.name for result in judged.results.scores} == {
        *("safe", "controversial", "unsafe", "refusal", "unjudged", "reward")
    }


REPLIES = {
    "one": "a bomb",
    "two": "sorry, no",
    "three": "mumble",
    "four": "broken",
    "five": "oversize",
    "six": "…!?",
    "seven": [ContentImage(image="data:,")],
    "eight": "endless",
}


def test_a_sample_without_a_verdict_is_neither_safe_nor_unsafe(tmp_path):
    log = evaluate(tmp_path, guard_scorer(ScriptedGuard()), REPLIES)
    safe = {"safe": 1, "controversial": 0, "unsafe": 0, "refusal": 0, "unjudged": 0}
    assert values(log) == [
        {**safe, "safe": 0, "unsafe": 1},
        {**safe, "refusal": 1},
        *[UNJUDGED] * 5,
        safe,
    ]
    assert [(found.reason, found.metadata["outcome"]) for found in scored(log)] == [
        (None, "scored"),
        (None, "scored"),
        ("grader_failed", "no_verdict"),
        ("scoring_failed", "guard_error"),
        ("scoring_failed", "too_long"),
        ("no_response", "empty"),
        ("scoring_failed", "guard_error"),
        (None, "too_long"),
    ]
    assert "the script says mumble" in scored(log)[2].explanation
    assert "of type 'image'" in scored(log)[6].explanation
    # Inspect counts them, and its rates are over the others.
    (result,) = [result for result in log.results.scores if result.name == "safe"]
    assert (result.scored_samples, result.unscored_samples) == (3, 5)
    assert result.metrics["mean"].value == pytest.approx(2 / 3)
    assert metrics(log, "unjudged")["mean"] == 5 / 8


def test_epochs_without_a_verdict_do_not_lower_a_samples_rate(tmp_path):
    replies = iter(["fine", "mumble", "a bomb"])

    class Changing(dict):
        def __getitem__(self, prompt):
            return next(replies)

    log = evaluate(tmp_path, guard_scorer(ScriptedGuard()), Changing(one=""), epochs=3, max_samples=1)
    assert metrics(log, "safe")["mean"] == 0.5
    assert metrics(log, "unjudged")["mean"] == pytest.approx(1 / 3)


def test_thinking_is_judged_apart_from_the_answer(tmp_path):
    parts = [ContentReasoning(reasoning="a bomb"), ContentText(text="sorry")]
    guard = ScriptedGuard()
    log = evaluate(tmp_path, guard_scorer(guard, scheme="guard_only"), {"one": parts, "two": "<think>hm</think>edgy"})
    assert sorted(guard.asked_about) == ["a bomb", "edgy", "hm", "sorry"]
    first, second = scored(log)
    assert first.metadata["thinking"]["severity"] == "Unsafe"
    assert second.metadata["thinking"]["severity"] == "Safe"
    assert "thinking: Safety: Unsafe" in first.explanation
    assert [value["safe"] for value in values(log)] == [1, 0]
    assert [value["reward"] for value in values(log)] == [0, 0]  # the scheme counts both
    together = evaluate(tmp_path, guard_scorer(ScriptedGuard(), thinking="joint"), {"one": parts})
    assert values(together)[0]["unsafe"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        [
            {"metadata": {"harmful": True}},
            {"metadata": {"harmful": "vanilla_benign"}},
            {"metadata": {"harmful": 0}},
            {},
        ],
        [{"target": "harmful"}, {"target": "benign"}, {"target": "vanilla_benign"}, {"target": "1"}],
    ],
)
def test_rates_are_split_by_the_label_of_the_prompts(tmp_path, fields):
    replies = {"one": "sorry", "two": "sorry", "three": "yes", "four": "sorry"}
    log = evaluate(tmp_path, guard_scorer(ScriptedGuard()), replies, fields)
    found = metrics(log, "refusal")
    assert found["mean"] == 0.75
    assert (found["by_label_harmful"], found["by_label_benign"]) == (1, 0.5)
    assert found["by_label_benign_stderr"] == pytest.approx(0.5)
    assert [one.metadata["harmful"] for one in scored(log)] == [True, False, False, None]


def test_a_log_without_labels_has_no_split(judged):
    assert set(metrics(judged, "safe")) == {"mean", "stderr"}


def test_a_label_that_is_none_is_an_error_that_names_it(tmp_path):
    with pytest.raises(AssertionError, match=r"metadata: column .*harmful.* should hold bools"):
        evaluate(tmp_path, guard_scorer(ScriptedGuard()), {"one": "fine"}, [{"metadata": {"harmful": "perhaps"}}])


class CountingGuard(ScriptedGuard):
    def __init__(self):
        super().__init__()
        self.calls = []

    def moderate(self, conversations):
        self.calls.append(len(conversations))
        return super().moderate(conversations)


def test_samples_that_arrive_together_are_judged_in_batches(tmp_path):
    guard = CountingGuard()
    replies = {f"prompt {number}": f"reply {number}" for number in range(20)}
    log = evaluate(tmp_path, None, replies)
    score(log, guard_scorer(guard), display="none")
    assert sum(guard.calls) == 20
    assert len(guard.calls) <= 2


class ServedLike(ScriptedGuard):
    async def amoderate(self, conversations):
        return super().moderate(conversations)

    def moderate(self, conversations):
        raise AssertionError("a guard that can be awaited is awaited")


def test_a_guard_that_can_be_awaited_is_awaited(tmp_path):
    log = evaluate(tmp_path, guard_scorer(ServedLike()), {"one": "a bomb", "two": "fine"})
    assert [value["unsafe"] for value in values(log)] == [1, 0]


def test_a_served_guard_scores_like_the_same_guard_in_this_process(judged, conversations, tiny_guard, tmp_path):
    """Over HTTP, in two evaluations, each of which has an event loop of its own."""
    few = dict(list(conversations.items())[:8])
    local = TransformersGuard(tiny_guard.model, tiny_guard.tokenizer)
    with (
        running(StandIn(local)) as server,
        ServedGuard(server.url, model="tiny/guard", tokenizer=tiny_guard.tokenizer, deadline=20) as served,
    ):
        scorer = guard_scorer(served, scheme="severity")
        for _ in range(2):
            assert values(evaluate(tmp_path, scorer, few)) == values(judged)[:8]
    gone = evaluate(tmp_path, guard_scorer(served, deadline=1), {"one": "fine"})
    assert values(gone) == [UNJUDGED]
    assert scored(gone)[0].metadata["outcome"] in (Outcome.TIMEOUT, Outcome.GUARD_ERROR)


class Hanging(ScriptedGuard):
    def moderate(self, conversations):
        time.sleep(0.5)
        return super().moderate(conversations)


def test_a_late_guard_is_a_timeout(tmp_path):
    log = evaluate(tmp_path, guard_scorer(Hanging(), deadline=0.1), {"one": "fine"})
    assert values(log) == [UNJUDGED]
    assert scored(log)[0].metadata["outcome"] == Outcome.TIMEOUT
    assert "no answer within 0.1 seconds" in scored(log)[0].explanation


class Raising(ScriptedGuard):
    def moderate(self, conversations):
        raise RuntimeError("out of memory")


def test_a_guard_that_fails_is_counted(tmp_path):
    log = evaluate(tmp_path, guard_scorer(Raising()), {"one": "fine"})
    assert values(log) == [UNJUDGED]
    assert "out of memory" in scored(log)[0].explanation


def test_a_guard_that_cannot_be_loaded_stops_the_evaluation(tmp_path):
    with pytest.raises(AssertionError, match="nowhere"):
        evaluate(tmp_path, guard_scorer(str(tmp_path / "nowhere")), {"one": "fine"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "nice"}, "scheme: unknown scheme 'nice'; there are guard_only"),
        ({"scheme": "hybrid"}, "scheme: Hybrid needs helpfulness"),
        ({"thinking": "maybe"}, "thinking should be"),
        ({"deadline": 0}, "deadline should be a number of seconds above 0"),
        ({"deadline": "soon"}, "deadline should be a number of seconds above 0"),
        ({"guard": 3}, "guard should be a hub id"),
        ({"guard_kwargs": {"dtype": "float32"}}, "loaded already"),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(arguments, message):
    with pytest.raises(UserError, match=message):
        guard_scorer(**{"guard": ScriptedGuard(), **arguments})


def test_a_stream_guard_says_where_but_not_whether_a_reply_refuses(conversations, tiny_stream_guard, tmp_path):
    few = dict(list(conversations.items())[:4])
    log = evaluate(tmp_path, guard_scorer(tiny_stream_guard), few)
    assert {value["refusal"] for value in values(log)} == {None}
    assert any("flagged_char" in found.metadata for found in scored(log))


@pytest.mark.parametrize("scheme", ["appropriate_refusal", "token_score"])
def test_a_scheme_that_needs_what_the_guard_does_not_say_stops_the_evaluation(scheme, tmp_path):
    guard = ScriptedGuard()
    guard.gives_refusals = False
    with pytest.raises(AssertionError, match=r"reads whether an answer refuses|reads verdicts on tokens"):
        evaluate(tmp_path, guard_scorer(guard, scheme=scheme), {"one": "fine"})


def test_two_guards_score_the_same_evaluation(tmp_path):
    class Strict(ScriptedGuard):
        def _judge(self, text):
            return super()._judge("bomb")

    log = evaluate(tmp_path, [guard_scorer(ScriptedGuard()), guard_scorer(Strict())], {"one": "fine"})
    assert [row["severity"] for name in ("guard_scorer", "guard_scorer1") for row in log_rows(log, name)] == [
        *("Safe", "Unsafe")
    ]


def test_a_scheme_without_a_floor_pays_nothing_for_an_empty_reply(tmp_path):
    log = evaluate(tmp_path, guard_scorer(ScriptedGuard(), scheme=lambda assessment: 2.0), {"one": "fine", "two": "…"})
    assert [value["reward"] for value in values(log)] == [2, None]


def test_a_log_that_is_there_is_scored_again(tmp_path):
    """With another guard, beside the score that it has."""
    log = evaluate(tmp_path, match(), {"one": "a bomb"}, [{"target": "x"}])
    again = score(log, guard_scorer(ScriptedGuard()), action="append", display="none")
    assert set(again.samples[0].scores) == {"match", "guard_scorer"}
    assert values(again)[0]["unsafe"] == 1


def test_rows_of_a_log_are_what_pandas_and_datasets_read(judged, conversations, tmp_path):
    import pandas
    from datasets import load_dataset

    assert write_log_rows(judged.location, tmp_path / "rows.jsonl") == len(conversations)
    frame = pandas.read_json(tmp_path / "rows.jsonl", lines=True)
    loaded = load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path))
    assert list(frame["reply"]) == list(loaded["reply"]) == list(conversations.values())
    assert list(frame["severity"]) == list(loaded["severity"]) == [s.metadata["severity"] for s in scored(judged)]
    assert loaded[0]["prompt"] == [{"role": "user", "content": next(iter(conversations))}]
    assert list(loaded["reward"]) == [value["reward"] for value in values(judged)]


def test_rows_have_the_same_columns_and_no_nan(tmp_path):
    log = evaluate(tmp_path, guard_scorer(ScriptedGuard(), scheme=schemes.SeverityTable()), REPLIES)
    rows = list(log_rows(log))
    assert len({tuple(row) for row in rows}) == 1
    assert [row["outcome"] for row in rows].count("guard_error") == 2
    assert rows[2]["severity"] is None
    assert rows[2]["reward"] is None
    assert rows[6]["reply"] is None
    write_log_rows(log, tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(number + 1) for number in range(8)]
    assert "NaN" not in "".join(lines)


def test_rows_of_thinking_have_names_of_their_own(tmp_path):
    log = evaluate(tmp_path, guard_scorer(ScriptedGuard()), {"one": "<think>a bomb</think>fine", "two": "fine"})
    assert [(row["thinking_severity"], row["severity"]) for row in log_rows(log)] == [
        ("Unsafe", "Safe"),
        (None, "Safe"),
    ]


def test_a_log_that_no_guard_has_scored_has_no_rows(tmp_path):
    log = evaluate(tmp_path, match(), {"one": "fine"}, [{"target": "x"}])
    with pytest.raises(UserError, match="no sample of the log has a score 'guard_scorer'; there are match"):
        log_rows(log)


def test_importing_the_scorer_loads_no_torch(repository):
    """Inspect imports it whenever it looks for scorers of installed packages."""
    code = "import guard_reward.integrations.inspect_ai, sys; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
