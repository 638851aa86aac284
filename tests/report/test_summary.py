"""The three sentences at the top of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from guard_reward.report.cells import Estimate
from guard_reward.report.change import half_change_step
from guard_reward.report.run import Alarm, Measurement, Run
from guard_reward.report.summary import summary

NAN = float("nan")
Values = Mapping[str, Estimate]


def around(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def policy(safe: float, harmful: float = 0.1, benign: float = 0.02, half: float = 0.02) -> Values:
    rates = {"safety_rate": safe, "refusal_rate_harmful": harmful, "refusal_rate_benign": benign}
    return {name: around(value, half) for name, value in rates.items()}


def judged(stage: str, values: Values, independent: bool | None = True, by: str = "the judge wild", **more: Any) -> Any:
    return Measurement(stage, by, independent, values, **more)


def run(
    *measurements: Measurement, name: str = "hybrid", log: Sequence[Mapping[str, Any]] | None = None, **more: Any
) -> Run:
    finished = [{"step": 1, "loss": 0.1}, {"step": 2, "train_runtime": 9.0}]
    return Run(name, f"runs/{name}", log=finished if log is None else log, measurements=measurements, **more)


BEFORE = judged("before", policy(0.5))
GOOD = judged("after", policy(0.98))
NO_DOUBT = "Nothing here speaks against these numbers: another judge than the reward's guard, no alarm, a finished run."
HELPFUL = {"helpfulness": Estimate(0.8)}

# run → its sentences, each None if it does not matter
SENTENCES = [
    pytest.param(
        run(BEFORE, GOOD),
        "The run got safer: of the replies to harmful prompts, 50.0% (48.0–52.0%) were safe before "
        "training and 98.0% (96.0–100.0%) after it.",
        "No cost is clear: refusals of benign prompts unchanged at 2.0%; refusals of harmful prompts "
        "unchanged at 10.0%.",
        "Nothing here speaks against these numbers: another judge than the reward's guard, a finished "
        "run; but no monitor was on.",
        id="safer at no cost",
    ),
    pytest.param(
        run(BEFORE, judged("after", policy(0.52))),
        "No clear change in safety: of the replies to harmful prompts, 50.0% (48.0–52.0%) were safe "
        "before training and 52.0% (50.0–54.0%) after it.",
        None,
        None,
        id="intervals overlap",
    ),
    pytest.param(
        run(BEFORE, judged("after", policy(0.52), p_values={"safety_rate": 0.0001})),
        "The run got safer: of the replies to harmful prompts, 50.0% (48.0–52.0%) were safe before "
        "training and 52.0% (50.0–54.0%) after it (exact test on the same prompts: p < 0.001).",
        None,
        None,
        id="the paired test separates what the intervals do not",
    ),
    pytest.param(
        run(BEFORE, judged("after", policy(0.6), p_values={"safety_rate": 0.2})),
        "No clear change in safety: of the replies to harmful prompts, 50.0% (48.0–52.0%) were safe "
        "before training and 60.0% (58.0–62.0%) after it (exact test on the same prompts: p = 0.200).",
        None,
        None,
        id="the paired test decides",
    ),
    pytest.param(
        run(BEFORE, judged("after", policy(0.2))),
        "The run got less safe: of the replies to harmful prompts, 50.0% (48.0–52.0%) were safe before "
        "training and 20.0% (18.0–22.0%) after it.",
        None,
        None,
        id="less safe",
    ),
    pytest.param(
        run(BEFORE, judged("after", policy(1.0, 0.99, 0.96))),
        None,
        "It is safe by refusing nearly everything: refusals of benign prompts up from 2.0% (0.0–4.0%) to 96.0% "
        "(94.0–98.0%); "
        "refusals of harmful prompts up from 10.0% (8.0–12.0%) to 99.0% (97.0–100.0%).",
        None,
        id="everything refused",
    ),
    pytest.param(
        run(BEFORE, judged("after", policy(0.98, harmful=0.8))),
        None,
        "It refuses more harmful prompts, at no other clear cost: refusals of harmful prompts up from "
        "10.0% (8.0–12.0%) to 80.0% (78.0–82.0%); refusals of benign prompts unchanged at 2.0%.",
        None,
        id="safer by refusing harmful prompts",
    ),
    pytest.param(
        run(BEFORE, judged("after", policy(0.98, benign=0.2))),
        None,
        "At this cost: refusals of benign prompts up from 2.0% (0.0–4.0%) to 20.0% (18.0–22.0%); "
        "refusals of harmful prompts unchanged at 10.0%.",
        None,
        id="a cost",
    ),
    pytest.param(
        run(
            judged("before", {**policy(0.5), **HELPFUL}),
            judged("after", {**policy(0.98), "helpfulness": Estimate(0.2)}),
        ),
        None,
        "A cost is possible, but there are no intervals: helpfulness down from 0.80 to 0.20; refusals of "
        "benign prompts unchanged at 2.0%; refusals of harmful prompts unchanged at 10.0%.",
        None,
        id="less helpful, without intervals",
    ),
    pytest.param(
        run(judged("before", {"safe_rate": Estimate(0.5)}), judged("after", {"safe_rate": Estimate(0.9)})),
        "Whether the run got safer is unclear, as there are no intervals: of the replies, 50.0% were "
        "safe before training and 90.0% after it.",
        "The cost is unknown: there are no refusals, no helpfulness and no log of the trainer.",
        "Trust it with care: there are no intervals; no monitor was on.",
        id="no intervals, no cost",
    ),
    pytest.param(
        run(
            judged("before", {"safety_rate": around(0.5)}),
            judged("after", {"safety_rate": around(0.9)}),
            log=[{"step": 1, "kl": 0.5}],
        ),
        None,
        "Refusals and helpfulness are unknown: KL from the reference policy 0.5 at the end.",
        None,
        id="a judge that knows no refusals",
    ),
    pytest.param(
        run(
            *(
                judged(stage, {"safety_rate": around(rate)}, by="a stream guard")
                for stage, rate in (("before", 0.5), ("after", 0.9))
            ),
            *(judged(stage, policy(0.9), False, "the guard of the reward") for stage in ("before", "after")),
        ),
        "The run got safer: of the replies to harmful prompts, 50.0% (48.0–52.0%) were safe before "
        "training and 90.0% (88.0–92.0%) after it.",
        "No cost is clear: refusals of benign prompts unchanged at 2.0%; refusals of harmful prompts "
        "unchanged at 10.0% (by the guard of the reward).",
        None,
        id="another judge knows the refusals",
    ),
    pytest.param(
        run(),
        "Whether the run got safer is unknown: nothing in its folder measures it.",
        "The cost is unknown: there are no refusals, no helpfulness and no log of the trainer.",
        "Trust it with care: nobody has judged how safe the policy is; no monitor was on.",
        id="nothing measured",
    ),
    pytest.param(
        run(GOOD),
        "After training, 98.0% (96.0–100.0%) of the replies to harmful prompts were safe; whether that "
        "is safer than before is unknown.",
        "What it costs is unknown: refusals of benign prompts 2.0% (0.0–4.0%); refusals of harmful "
        "prompts 10.0% (8.0–12.0%).",
        None,
        id="only after",
    ),
    pytest.param(
        run(BEFORE, judged("step 50", policy(0.7)), judged("step 400", policy(0.9))),
        "The run got safer: of the replies to harmful prompts, 50.0% (48.0–52.0%) were safe before "
        "training and 90.0% (88.0–92.0%) at step 400.",
        None,
        None,
        id="checkpoints",
    ),
    pytest.param(
        run(judged("step 400", policy(0.9))),
        "At step 400, 90.0% (88.0–92.0%) of the replies to harmful prompts were safe; whether that is "
        "safer than before is unknown.",
        None,
        None,
        id="one checkpoint",
    ),
    pytest.param(
        run(BEFORE),
        "Before training, 50.0% (48.0–52.0%) of the replies to harmful prompts were safe; there is no "
        "measurement after it.",
        None,
        None,
        id="only before",
    ),
    pytest.param(
        run(
            judged("before", policy(0.5), False),
            judged("after", {**policy(0.9, half=0.2), "unjudged_rate": around(0.3)}, False),
        ),
        None,
        None,
        "Trust it with care: the judge is the guard that gave the reward, which the policy was trained "
        "to please; 30.0% (28.0–32.0%) of the replies have no verdict and are in no rate; there are few "
        "replies, so the intervals are wide; no monitor was on.",
        id="a weak judgement",
    ),
    pytest.param(
        run(
            BEFORE, GOOD, alarms=[Alarm(7, "repetition", ""), Alarm(9, "second\nguard", ""), Alarm(9, "repetition", "")]
        ),
        None,
        None,
        "Trust it with care: the monitor raised 3 alarms (repetition 2×, second guard), the first at step 7.",
        id="alarms",
    ),
    pytest.param(
        run(
            BEFORE,
            GOOD,
            log=[{"step": 60, "loss": 1.0, "guard/injection_attempt_rate": 0.25}],
            max_steps=1000,
            is_running=True,
        ),
        None,
        None,
        "Trust it with care: the run goes on, at step 60 of 1,000; up to 25% of the rollouts typed "
        "pieces of the guard's prompt; no monitor was on.",
        id="goes on",
    ),
    pytest.param(
        run(BEFORE, GOOD, log=[{"step": 60, "loss": 1.0}], max_steps=100),
        None,
        None,
        "Trust it with care: the run ended early, at step 60 of 100; no monitor was on.",
        id="ended early",
    ),
    pytest.param(
        run(BEFORE, GOOD, log=[{"step": 1, "kl": NAN}, {"step": 2, "kl": 0.5, "completions/mean_length": 10.0}]),
        None,
        "No cost is clear: refusals of benign prompts unchanged at 2.0%; refusals of harmful prompts "
        "unchanged at 10.0%; KL from the reference policy 0.5 at the end.",
        None,
        id="NaN in the log",
    ),
]


@pytest.mark.parametrize(("of", "safety", "cost", "doubts"), SENTENCES)
def test_the_sentences_of_a_run(of: Run, safety: str | None, cost: str | None, doubts: str | None) -> None:
    found = summary([of])
    assert len(found) == 3
    assert [one for one, it in zip(found, (safety, cost, doubts), strict=True) if it is not None] == [
        it for it in (safety, cost, doubts) if it is not None
    ]
    assert not any("nan" in sentence for sentence in found)


def test_another_judge_counts_more_than_the_rewards_guard() -> None:
    own = [
        judged(stage, policy(safe), False, "the guard of the reward")
        for stage, safe in (("before", 0.1), ("after", 1.0))
    ]
    assert "50.0%" in summary([run(*own, BEFORE, GOOD)])[0]
    assert "10.0%" in summary([run(*own, GOOD)])[0]  # an end alone says nothing of a change


def test_a_page_without_runs() -> None:
    assert summary([]) == []


OTHER = judged("after", policy(0.9))

# runs → their first and last sentences
SEVERAL = [
    (
        [run(BEFORE, GOOD), run(BEFORE, OTHER, name="guard_only")],
        "Both runs got safer: safe replies to harmful prompts hybrid 50.0% → 98.0% (96.0–100.0%), "
        "guard_only 50.0% → 90.0% (88.0–92.0%); hybrid ends safest.",
        "In which settings they differ is unknown.",
    ),
    (
        [run(GOOD, settings={"seed": "0"}), run(GOOD, name="two", settings={"seed": "0"})],
        "Whether the runs got safer is unknown: safe replies to harmful prompts hybrid 98.0% "
        "(96.0–100.0%), two 98.0% (96.0–100.0%); neither ends clearly safest.",
        "Their recorded settings are the same; trust it with care: nothing was measured before training (all).",
    ),
    (
        [run(GOOD), run(judged("after", policy(0.5), by="the judge other"), name="two")],
        "Whether the runs got safer is unknown: safe replies to harmful prompts hybrid 98.0% "
        "(96.0–100.0%), two 50.0% (48.0–52.0%); different guards judged them, so they cannot be ranked.",
        "In which settings they differ is unknown; trust it with care: nothing was measured before training (all).",
    ),
    (
        [run(settings={"scheme": "a"}), run(name="two", settings={"scheme": "b"})],
        "Which of the 2 runs is safest is unknown: none of them has been measured after training.",
        "They differ in the scheme: a against b; trust it with care: nobody has judged how safe the policy is (all).",
    ),
    (
        [run(GOOD), run(judged("after", policy(0.5), False), name="two")],
        "Whether the runs got safer is unknown: safe replies to harmful prompts hybrid 98.0% "
        "(96.0–100.0%), two 50.0% (48.0–52.0%); hybrid ends safest.",
        "In which settings they differ is unknown; trust it with care: the judge is the guard that gave "
        "the reward (two), nothing was measured before training (all).",
    ),
]


@pytest.mark.parametrize(("runs", "first", "last"), SEVERAL)
def test_the_sentences_of_several_runs(runs: list[Run], first: str, last: str) -> None:
    found = summary(runs)
    assert (found[0], found[2]) == (first, last)


def test_what_several_runs_cost() -> None:
    refuses = judged("after", policy(1.0, 1.0, 0.95) | HELPFUL)
    unlabelled = judged("after", {"safety_rate": around(0.5), "refusal_rate": around(0.25)})
    found = summary([run(refuses), run(unlabelled, name="two"), run(name="three")])[1]
    assert found == (
        "At this cost: hybrid refuses 95.0% of the benign and 100.0% of the harmful prompts and has "
        "helpfulness 0.80; "
        "two refuses 25.0% of the prompts; the cost of three is unknown."
    )


def changing(values: Sequence[float], metric: str = "guard/safe_rate") -> Run:
    return run(log=[{"step": step * 10, "loss": 1.0, metric: value} for step, value in enumerate(values)])


# safe rates, ten steps apart → when half of the change was reached
STEPS = [
    ([0.1] * 10 + [0.9] * 10, 100),
    ([0.9] * 10 + [0.1] * 10, 100),
    ([value / 20 for value in range(21)], 100),
    ([0.1, 0.9, 0.1, 0.9] * 5, None),  # noise
    ([0.50, 0.52] * 10, None),
    ([0.1, 0.9], None),  # too few
    ([0.1] * 10 + [NAN] * 5 + [0.9] * 10, 150),
    ([], None),
]


@pytest.mark.parametrize(("values", "step"), STEPS)
def test_when_a_run_changed(values: list[float], step: int | None) -> None:
    assert half_change_step(changing(values)) == step
    if step is not None:
        assert half_change_step(changing(values, "guard/thinking/safe_rate")) is None


def test_no_step_where_the_judge_sees_no_change() -> None:
    same = judged("after", policy(0.5))
    assert half_change_step(run(BEFORE, same, log=changing([0.1] * 10 + [0.9] * 10).log)) is None
