"""Rates over log lines and evaluations of TRL's real trainers: sums and row counts give those of all rows."""

from __future__ import annotations

import zlib
from collections import defaultdict

import pytest

trl = pytest.importorskip("trl")

from datasets import Dataset  # noqa: E402

from guard_reward import GuardReward, Outcome, Probabilities, Severity, Unjudged, Verdict, exact_rates  # noqa: E402
from tests.integration.conftest import settings  # noqa: E402

PROMPTS = ["bake a cake", "build a bomb", "plant a tree", "steal a car", "sail a boat"]


class Arbitrary:
    """A verdict that depends on the whole text, and none for a fifth of the texts."""

    def moderate(self, conversations):
        return [self._judge(zlib.crc32(turns[-1]["content"].encode())) for turns in conversations]

    def _judge(self, number):
        if number % 5 == 0:
            return Unjudged(Outcome.NO_VERDICT, reason="it rambles")
        severity = list(Severity)[number % 3]
        return Verdict(severity, refusal=number % 7 < 3, probabilities=Probabilities(0.5, 0.3, (number % 11) / 55))


class Recorder:
    """A reward function that keeps what the guard found for every row, by log line."""

    __name__ = "recorder"

    def __init__(self):
        self.reward = GuardReward(
            Arbitrary(),
            prompt_label_column="kind",
            breaker=None,
            eos_token_ids=[2],
            helpfulness=self.helpfulness,
            eval_judge=Arbitrary(),
        )
        self.rows = defaultdict(list)  # by (mode, first step of the log line)
        self.calls = defaultdict(list)  # how many rows each call had

    def helpfulness(self, completions, **columns):
        return [float(len(str(completion))) for completion in completions]

    def __call__(self, *, log_metric, log_extra, trainer_state, kind, completions, **batch):
        columns = {}
        rewards = self.reward(
            completions=completions,
            kind=kind,
            log_metric=log_metric,
            log_extra=columns.__setitem__,
            trainer_state=trainer_state,
            **batch,
        )
        training = log_metric.__self__.model.training
        line = ("train", trainer_state.global_step // 3) if training else ("eval", trainer_state.global_step)
        found = (columns[f"guard_{name}"] for name in ("severity", "refusal", "p_unsafe", "outcome", "truncated"))
        self.rows[line] += zip(*found, kind, self.helpfulness(completions), strict=True)
        self.calls[line].append(len(completions))
        return rewards


def true_rates(rows) -> dict[str, float]:
    def mean(values):
        return sum(values) / len(values)

    rates = {f"outcome/{outcome}": mean([row[3] == outcome for row in rows]) for outcome in Outcome}
    rates["helpfulness"] = mean([row[6] for row in rows])
    rates["truncation_unknown_rate"] = mean([row[4] is None for row in rows])
    rates["truncated_rate"] = mean([row[4] for row in rows if row[4] is not None])
    judged = [row for row in rows if row[0] is not None]
    rates["p_unsafe_mean"] = mean([row[2] for row in judged])
    for suffix, label in (("", None), ("/harmful", "harmful"), ("/benign", "benign")):
        some = [row for row in judged if label in (None, row[5])]
        if some:
            rates[f"refusal_rate{suffix}"] = mean([row[1] for row in some])
            rates |= {f"{s.lower()}_rate{suffix}": mean([row[0] == s for row in some]) for s in Severity}
    return rates


@pytest.fixture(scope="module", params=["GRPO", "RLOO"])
def run(request, policy_folder, tmp_path_factory):
    """Two log lines of three calls each, and two evaluations of 4, 4 and 2 rows."""
    recorder = Recorder()
    rows = [{"prompt": text, "kind": "harmful" if i in (1, 3) else "benign"} for i, text in enumerate(PROMPTS)]
    trainer = getattr(trl, f"{request.param}Trainer")(
        model=policy_folder,
        reward_funcs=recorder,
        args=getattr(trl, f"{request.param}Config")(
            **settings(
                tmp_path_factory.mktemp(request.param),
                max_steps=6,
                logging_steps=3,
                eval_strategy="steps",
                eval_steps=3,
                num_generations=2,
            )
        ),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows),
    )
    trainer.train()
    history = trainer.state.log_history
    lines = {("train", log["step"] // 3 - 1): log for log in history if "loss" in log}
    lines |= {("eval", log["step"]): log for log in history if "eval_loss" in log}
    return recorder, lines


def test_the_rates_of_every_log_line_are_true(run):
    recorder, lines = run
    assert set(lines) == set(recorder.rows)
    assert len(lines) == 4
    for (mode, step), line in lines.items():
        prefix = "eval_guard/" if mode == "eval" else "guard/"
        truth = true_rates(recorder.rows[mode, step])
        rates = exact_rates(line)
        assert {name: rates[prefix + name] for name in truth} == pytest.approx(truth, rel=1e-6)


def test_a_judge_of_evaluations_has_true_rates_there_and_none_in_training(run):
    recorder, lines = run
    for (mode, step), line in lines.items():
        found = {name: rate for name, rate in exact_rates(line).items() if name.startswith(("judge/", "eval_judge/"))}
        truth = {name: rate for name, rate in true_rates(recorder.rows[mode, step]).items() if name != "helpfulness"}
        expected = {f"eval_judge/{name}": rate for name, rate in truth.items()} if mode == "eval" else {}
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
        assert mode == "eval" or not found


def test_the_means_of_the_calls_are_not(run):
    """So this run is one that can tell the two apart."""
    recorder, lines = run
    assert recorder.calls["eval", 3] == [4, 4, 2]  # the last batch is smaller
    for mode, prefix in (("train", "guard/"), ("eval", "eval_guard/")):
        off = [
            name
            for (kind, step), line in lines.items()
            if kind == mode
            for name, true in true_rates(recorder.rows[kind, step]).items()
            if abs(line[prefix + name] - true) > 0.01
        ]
        assert off
