"""Taking turns: the same rows for all, new ones each round, and no number where the answers differ."""

from __future__ import annotations

import pytest
import torch

from guard_reward.speed import OutputMismatch, Roofline, Variant, compare_speeds


class Recorder:
    """Answers each row with its first token and remembers what it was given."""

    def __init__(self, wrong_in=None):
        self.asked, self.wrong_in = [], wrong_in

    def __call__(self, rows):
        self.asked.append([list(row) for row in rows])
        return [[row[0] + (len(self.asked) == self.wrong_in)] for row in rows]


def run(variants, rounds=3, **settings):
    return compare_speeds(
        variants,
        lambda number: [[number + 10, index] for index in range(4)],
        rounds=rounds,
        roofline=Roofline(1.0, 1.0, 1.0),
        preamble=0,
        device=torch.device("cpu"),
        dtype=torch.float32,
        **settings,
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("guard_reward.speed.compare.matmul_rate", lambda device, dtype: 1e9)


def test_each_round_has_new_rows_and_all_get_the_same():
    one, other = Recorder(), Recorder()
    results = run([Variant("one", one, most_rows=2), Variant("other", other)])
    assert [[row[0] for row in rows] for rows in other.asked] == [[n] * 4 for n in (9, 10, 11, 12)]  # a trial first
    assert one.asked == [rows[:2] for rows in other.asked]
    assert [len(result.seconds_per_row) for result in results] == [3, 3]  # the trial is not timed
    assert results[0].ratio_to(results[0]) == 1.0
    assert all(result.rollouts_per_second > 0 and result.roofline_fraction > 0 for result in results)
    assert all(result.peak_memory_bytes > 2**20 for result in results)


@pytest.mark.parametrize("turn", [1, 3], ids=["in the trial", "while timed"])
def test_different_answers_give_no_numbers(turn):
    right, wrong = Recorder(), Recorder(wrong_in=turn)
    with pytest.raises(OutputMismatch, match=r"wrong answers row 0 with \[1\d\], an earlier variant with"):
        run([Variant("right", right), Variant("wrong", wrong)])


def test_a_given_rate_is_not_measured_again(monkeypatch):
    monkeypatch.delattr("guard_reward.speed.compare.matmul_rate")
    [result] = run([Variant("one", Recorder())], rate=2e9)
    # Four rows of two tokens, answered with one: 3 tokens, 6 pairs, 2 answer tokens. Three share a token and its pair.
    operations = 4 * (3 + 6 + 2) - 3 * (1 + 1)
    expected = [operations / 2e9 / (seconds * 4) for seconds in result.seconds_per_row]
    assert result.roofline_fractions == pytest.approx(expected)


def test_memory_of_another_process_is_unknown_not_ours():
    [result] = run([Variant("elsewhere", Recorder(), is_elsewhere=True)])
    assert result.peak_memory_bytes is None


def test_passes_are_those_the_variant_reports():
    [result] = run([Variant("counting", Recorder(), passes=lambda: 1.25)])
    assert result.passes_per_verdict == 1.25
