"""The GPU benchmark: on a CPU and a guard of two layers it really runs, and its table says what it promises."""

from __future__ import annotations

import doctest
import importlib.util
import sys
from argparse import Namespace
from random import Random
from types import SimpleNamespace

import pytest
import torch

from guard_reward.models.precision import is_slow

TINY = ["--device", "cpu", "--dtype", "float32", "--shapes", "tiny", "--layers", "2"]
TINY += ["--completions", "8", "--groups", "2", "--round-tokens", "16", "--batch-sizes", "2", "--rounds", "1"]
TINY += ["--exactness-rows", "2", "--trained-rows", "4", "--step-rollouts", "2", "--policy-tokens", "4"]


@pytest.fixture(scope="module")
def gpu(repository):
    before = list(sys.path)
    path = repository / "benchmarks" / "gpu.py"
    specification = importlib.util.spec_from_file_location("benchmark_gpu", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.fixture(scope="module")
def parts(gpu):
    """The modules of the benchmark."""
    import shaped_tokenizer
    from gpu_parts import bench, measures, peaks, precisions, registry, rows, speed, text, training

    found = (bench, measures, peaks, precisions, registry, rows, speed, text, training)
    modules = {module.__name__.removeprefix("gpu_parts."): module for module in found}
    return SimpleNamespace(**modules, tokenizer=shaped_tokenizer)


@pytest.fixture(scope="module")
def trial(gpu, parts, tmp_path_factory):
    """One run of all parts: its exit status and its report, read back from the file."""
    pytest.importorskip("trl")
    out = tmp_path_factory.mktemp("gpu")
    status = gpu.main([*TINY, "--out", str(out)])
    return SimpleNamespace(status=status, out=out, report=parts.rows.Report.read(out))


def part(trial, name):
    return [row for row in trial.report.rows if row.part == name]


# ---- one run of everything


@pytest.mark.slow
def test_every_part_is_in_the_table(parts, trial):
    assert trial.status == 0
    assert {row.part for row in trial.report.rows} == {part.name for part in parts.registry.PARTS}
    assert [row for row in trial.report.rows if row.status == "failed"] == []
    table = (trial.out / "report.md").read_text()
    headings = ["part", "guard", "setting", "variant", "rollouts/s", "× model card", "of the roofline", "MFU"]
    assert f"| {' | '.join([*headings, 'GPU idle', 'peak GiB', 'passes', 'result'])} |" in table
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(trial.report.rows)
    assert {line.count(" | ") for line in lines} == {11}


@pytest.mark.slow
def test_float32_is_exact(trial):
    rows = part(trial, "exactness") + part(trial, "trained")
    exact = [row for row in rows if row.variant.startswith("float32")]
    assert len(exact) == 6  # two kinds of answers and the trained guard, two runners
    assert all(row.numbers["equal"] for row in exact)
    if is_slow(torch.bfloat16, torch.device("cpu")):
        assert sum(row.status == "n/a" for row in rows) == 3
        return
    rates = {row.setting: row.numbers["verdict_flips"] for row in rows if row.variant.startswith("bfloat16 engine")}
    assert rates == {"chosen verdicts, 128 tokens": 0, "random head, 128 tokens": None, "tiny guard, tiny world": 0}


@pytest.mark.slow
def test_speed_has_every_variant_and_its_arithmetic_fits(trial):
    rows = [row for row in part(trial, "speed") if row.status == "measured"]
    assert {row.variant for row in rows} == {"model_card", "batched_generate", "generic", "fast"}
    assert {row.setting for row in rows} == {"8 tokens, G = 2, half unsafe", "8 tokens, G = 2, all safe"}
    assert {row.passes_per_verdict for row in rows if row.variant == "fast"} == {1.0, 1.5}
    for row in rows:
        assert min(row.rollouts_per_second, row.ratio_to_model_card, row.peak_memory_bytes) > 0
        assert row.mfu == pytest.approx(row.roofline_fraction)  # on a CPU the peak is the measured rate
    [vllm] = [row for row in part(trial, "speed") if row.variant == "vllm"]
    assert (vllm.status, vllm.result) == ("not run", "no --vllm-python")


@pytest.mark.slow
def test_the_guards_share_of_a_step(trial):
    for name in ("grpo", "ppo"):
        [row] = part(trial, name)
        numbers = row.numbers
        assert len(numbers["step_seconds"]) == len(numbers["guard_seconds"]) == 3
        assert 0 < numbers["guard_share"] < 1
        guard, step = sum(numbers["guard_seconds"][1:]), sum(numbers["step_seconds"][1:])  # the first one warms up
        assert numbers["guard_share"] == pytest.approx(guard / step)
        assert min(numbers["reward_std"]) > 0  # so that the advantages are not all 0


@pytest.mark.slow
def test_without_a_gpu_its_own_numbers_are_not_available(trial):
    [sleep], [idle] = part(trial, "sleep"), part(trial, "idle")
    assert (sleep.status, sleep.result) == ("n/a", "on a CPU the weights stay where they are")
    assert idle.idle_share is None
    assert idle.rollouts_per_second > 0
    assert idle.passes_per_verdict == 1.5
    assert "GPU idle n/a" in idle.result


# ---- what fails, and time


@pytest.fixture
def run(parts, tmp_path):
    """Run made-up parts for one shape; the rows as they were written."""

    def run(*made_up, seconds=60.0, shapes=("4B",)):
        now = iter(range(10_000))
        clock = parts.bench.Clock(seconds / 60, now=lambda: float(next(now)))  # every look takes a second
        released = []
        bench = SimpleNamespace(
            options=Namespace(shapes=list(shapes)), clock=clock, release=lambda: released.append(True)
        )
        report = parts.rows.Report({"device": "none"}, {})
        chosen = [parts.registry.Part(name, lambda o, s, n=n: list(n), m, last) for name, n, m, last in made_up]
        parts.registry.run_parts(bench, chosen, report, tmp_path)
        assert released
        return parts.rows.Report.read(tmp_path).rows

    return run


@pytest.fixture
def works(parts):
    def measure(bench, shape, setting):
        yield parts.rows.Row(part="good", shape=shape, setting=setting, result="done")

    return measure


def test_a_failing_part_is_named_and_the_others_go_on(parts, run, works):
    def fails(bench, shape, setting):
        yield parts.rows.Row(part="bad", shape=shape, setting=setting, variant="before", result="kept")
        raise MemoryError("out of\nmemory | card")

    rows = run(("bad", ["a"], fails, False), ("good", ["b"], works, False))
    assert [(row.part, row.variant, row.status) for row in rows] == [
        ("bad", "before", "measured"),
        ("bad", "–", "failed"),
        ("good", "–", "measured"),
    ]
    assert rows[1].result == "MemoryError: out of\nmemory | card"
    assert r"failed: MemoryError: out of memory \| card |" in parts.rows.Report({}, {}, rows).markdown()


def test_long_parts_come_after_the_others_of_all_shapes(run, works):
    rows = run(("long", ["x"], works, True), ("good", ["y"], works, False), shapes=("4B", "8B"))
    assert [(row.shape, row.setting) for row in rows] == [("4B", "y"), ("8B", "y"), ("4B", "x"), ("8B", "x")]


def test_what_does_not_fit_into_the_time_is_not_run(run, works):
    rows = run(("good", ["a", "b", "c", "d"], works, False), seconds=4.0)  # two looks for each that runs
    assert [(row.setting, row.status) for row in rows] == [
        ("a", "measured"),
        ("b", "measured"),
        ("c", "not run"),
        ("d", "not run"),
    ]
    assert {row.result for row in rows if row.status == "not run"} == {"time"}


def test_the_report_is_there_after_every_setting(parts, run, tmp_path):
    seen = []

    def looks(bench, shape, setting):
        seen.append([row.setting for row in parts.rows.Report.read(tmp_path).rows] if setting != "a" else [])
        yield parts.rows.Row(part="good", shape=shape, setting=setting)

    run(("good", ["a", "b", "c"], looks, False))
    assert seen == [[], ["a"], ["a", "b"]]


def test_an_answer_that_is_not_generates_ends_with_1(gpu, parts, tmp_path, monkeypatch):
    monkeypatch.setattr("gpu_parts.bench.matmul_rate", lambda device, dtype: 1e9)

    def differs(bench, shape, setting):
        yield parts.rows.Row(part="exactness", shape=shape, setting=setting, numbers={"equal": False})

    made_up = parts.registry.Part("exactness", lambda options, shape: ["x"], differs)
    assert gpu.main([*TINY, "--out", str(tmp_path)], parts=[made_up]) == 1
    assert gpu.main([*TINY, "--out", str(tmp_path), "--skip", "exactness"], parts=[made_up]) == 0


def test_a_vllm_that_failed_is_not_started_again(parts, tmp_path):
    bench = SimpleNamespace(vllm_error="", options=Namespace(vllm_python=tmp_path / "python"))
    contest = object.__new__(parts.speed._Contest)
    contest.bench, contest.absent = bench, {}

    def fails(rows):
        raise RuntimeError("the vLLM process gave no answer within 120 s")

    contest._vllm = fails
    with pytest.raises(RuntimeError, match="no answer"):
        contest._ask_vllm([[1]])
    assert contest._started("vllm", contest._start_vllm) is None
    reason = "RuntimeError: in an earlier setting: the vLLM process gave no answer within 120 s"
    assert contest.absent == {"vllm": ("failed", reason)}


# ---- the table and its arithmetic


def test_a_report_survives_its_file(parts, tmp_path):
    row = parts.rows.Row(
        part="speed", shape="8B", setting="x", mfu=0.5, peak_memory_bytes=2**31, numbers={"seconds": [1.0, 2.5]}
    )
    report = parts.rows.Report({"device": "H100"}, {"quick": "True"}, [row])
    report.write(tmp_path)
    assert parts.rows.Report.read(tmp_path) == report
    assert "| speed | 8B | x | – | – | – | – | 50.0% | – | 2.00 | – |  |" in (tmp_path / "report.md").read_text()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_second_row_for_the_same_takes_the_firsts_place(parts):
    report = parts.rows.Report({}, {})
    rows = [parts.rows.Row(part="p", shape="s", setting=s, result=r) for s, r in (("a", "1"), ("b", "2"), ("a", "3"))]
    report.add(rows)
    assert [(row.setting, row.result) for row in report.rows] == [("a", "3"), ("b", "2")]


def test_mfu_counts_against_the_peak(parts):
    assert parts.measures.mfu(operations=989.4e12, seconds=4.0, peak=989.4e12) == 0.25


@pytest.mark.parametrize(
    ("intervals", "busy"),
    [
        ([], 0.0),
        ([(0, 1), (1, 2)], 2.0),
        ([(0, 4), (1, 2), (3, 5)], 5.0),  # two streams: what overlaps counts once
        ([(10, 11), (0, 1)], 2.0),  # in any order
    ],
)
def test_the_gpu_is_busy_while_any_kernel_runs(parts, intervals, busy):
    assert parts.measures.busy_seconds(intervals) == busy
    assert parts.measures.idle_share(busy, wall=10.0) == pytest.approx(1 - busy / 10)


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA L40S", 362.1),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A10G", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("Some new card", None),
    ],
)
def test_the_peak_of_a_card(parts, name, teraflops):
    assert parts.peaks.published_peak(name) == (None if teraflops is None else teraflops * 1e12)


@pytest.mark.parametrize(
    ("others", "differing", "tokens", "verdicts"),
    [
        ([[1, 2, 3], [4, 5]], (), 7, 0),  # the end token counts
        ([[1, 9, 9], [4, 5]], (0,), 5, 0),  # same verdict; behind the first difference nothing is compared
        ([[8, 2, 3], [4]], (0, 1), 3, 1),  # an answer that ends early differs where it ends
    ],
)
def test_flips(parts, others, differing, tokens, verdicts):
    found = parts.precisions.flips([[1, 2, 3], [4, 5]], others, verdict=lambda answer: answer[0])
    assert (found.differing, found.tokens, found.verdicts) == (differing, tokens, verdicts)


def test_a_wrong_answer_is_told_from_a_tie(parts, monkeypatch):
    case = SimpleNamespace(row=lambda variant, **fields: SimpleNamespace(**fields), verdict=None)
    for margin, equal in ((1e-6, True), (1e-2, False)):
        monkeypatch.setattr(parts.precisions, "_margin", lambda *_, margin=margin: margin)
        row = parts.precisions._exactness(case, "float32", [[1, 2]], [[1, 3]])
        assert row.numbers["equal"] is equal
        assert "1 of 1 answers differ" in row.result


def test_the_examples_in_the_docstrings(parts):
    for module in (parts.measures, parts.peaks, parts.precisions, parts.training, parts.tokenizer):
        found = doctest.testmod(module)
        assert (found.failed, found.attempted > 0) == (0, True)


# ---- the options, the tokenizer and the conversations


def test_a_quick_run_is_smaller_and_what_is_given_counts(gpu):
    full, quick = gpu.parse(["--device", "cuda"]), gpu.parse(["--device", "cuda", "--quick"])
    assert (full.shapes, full.completions, full.groups) == (["0.6B", "4B", "8B"], [128, 512, 2048], [8, 16])
    assert (quick.shapes, quick.completions, quick.groups) == (["0.6B", "4B"], [512], [8])
    assert (full.limit_minutes, quick.limit_minutes) == (24.0, 5.5)
    assert gpu.parse(["--device", "cuda", "--quick", "--shapes", "8B", "--limit-minutes", "9"]).shapes == ["8B"]
    with pytest.raises(SystemExit):
        gpu.parse(["--groups", "8", "--step-rollouts", "12"])


def test_the_tokenizer_has_the_guards_ids_and_lengths(parts, gpu):
    import shaped_guard

    from guard_reward.models.chat_template import Prompter

    tokenizer = parts.tokenizer.shaped_tokenizer(is_guard=True)
    for text, ids in shaped_guard._PIECES.items():
        assert tokenizer.encode(text, add_special_tokens=False) == ids
    text = parts.tokenizer.sample_text(Random(0), 500)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert (len(ids), tokenizer.decode(ids)) == (500, text)
    assert shaped_guard.MARKER not in ids
    prompter = Prompter(tokenizer)
    [first, second] = parts.text.conversations(Random(0), prompts=1, group_size=2, tokens=20)
    rows = [prompter.encode(first), prompter.encode(second)]
    assert len(prompter.preamble(is_response=True)) == parts.tokenizer.PREFIX_TOKENS
    # 60 tokens of a prompt; a line break, ASSISTANT and a colon; 20 tokens.
    assert {len(row) for row in rows} == {parts.tokenizer.PREFIX_TOKENS + 60 + 3 + 20 + parts.tokenizer.SUFFIX_TOKENS}
    assert [shaped_guard.MARKER in row for row in rows] == [False, True]
    assert {row[-1] for row in rows} == {shaped_guard.INPUT_END}
