"""The GPU benchmark, tried on a CPU with a guard of two layers: every part runs, and what fails is named."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

PARTS = ("exactness", "trained", "sleep", "idle", "grpo", "ppo", "speed")
SMALL = ["--device", "cpu", "--dtype", "float32", "--shapes", "tiny", "--layers", "2", "--no-compile"]
SMALL += ["--completions", "8", "--groups", "2", "--rounds", "1", "--round-tokens", "32", "--batch-sizes", "2"]
SMALL += ["--model-card-rows", "1", "--exactness-rows", "2", "--trained-rows", "4", "--policy-tokens", "4"]
SMALL += ["--step-rollouts", "4", "--micro-batch", "2"]


@pytest.fixture(scope="module")
def gpu(repository):
    before = list(sys.path)
    specification = importlib.util.spec_from_file_location("benchmark_gpu", repository / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["benchmark_gpu"] = module
    specification.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpu_parts.bench.matmul_rate", lambda device, dtype: 1e9)  # it takes seconds
        yield module
    sys.path[:] = before


@pytest.fixture(scope="module")
def out(gpu, tmp_path_factory):
    """One small run of everything."""
    folder = tmp_path_factory.mktemp("gpu")
    assert gpu.main([*SMALL, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def report(gpu, out):
    return gpu.Report.read(out)


def test_every_part_was_measured(report):
    assert tuple(dict.fromkeys(row.part for row in report.rows)) == PARTS
    unmeasured = {(row.part, row.variant): row.result for row in report.rows if row.status in ("failed", "not run")}
    assert unmeasured.keys() <= {("speed", "vllm")}


def test_float32_answers_are_those_of_generate(report):
    rows = [row for row in report.rows if row.part in ("exactness", "trained") and "equal" in row.numbers]
    assert {row.part for row in rows} == {"exactness", "trained"}
    assert all(row.numbers["equal"] for row in rows)


def test_the_guards_share_of_a_step(report):
    for name in ("grpo", "ppo"):
        [row] = [row for row in report.rows if row.part == name]
        assert len(row.numbers["step_seconds"]) == len(row.numbers["guard_seconds"]) == 3
        assert 0 < row.numbers["guard_share"] < 1
        assert all(value > 0 for value in row.numbers["reward_std"])  # so the advantages are not all zero


def test_speed_compares_the_engine_with_others(report):
    rows = {row.variant: row for row in report.rows if row.part == "speed" and row.status == "measured"}
    assert {"model_card", "batched_generate", "generic", "fast"} <= rows.keys()
    assert rows["model_card"].ratio_to_model_card == 1
    assert all(row.rollouts_per_second > 0 and row.roofline_fraction > 0 and row.mfu > 0 for row in rows.values())


def test_the_table_has_every_row(gpu, report, out):
    text = (out / "report.md").read_text()
    assert text == report.markdown()
    headings = [heading for heading, _ in sys.modules["gpu_parts.rows"].COLUMNS.values()]
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert table[0] == "| " + " | ".join(headings) + " |"
    assert len(table) == 1 + len(report.rows)
    assert json.loads((out / "results.json").read_text())["machine"]["dtype"] == "float32"


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.fixture
def part(gpu):
    """A part that does as a function says."""

    def make(name, measure):
        return gpu.Part(name, lambda options, shape: ["setting"], lambda bench, shape, setting: measure(shape))

    return make


def row_of(gpu, name):
    return sys.modules["gpu_parts.rows"].Row(part=name, shape="tiny", setting="setting")


def run(gpu, tmp_path, *parts, limit="5"):
    options = [*SMALL, "--limit-minutes", limit, "--out", str(tmp_path), "--parts", *(part.name for part in parts)]
    code = gpu.main(options, parts)
    return code, {row.part: row for row in gpu.Report.read(tmp_path).rows}


def test_a_part_that_fails_is_named_and_the_others_go_on(gpu, part, tmp_path):
    def fails(shape):
        yield row_of(gpu, "sleep")
        raise MemoryError("CUDA out of memory")

    parts = part("idle", fails), part("ppo", lambda shape: iter([row_of(gpu, "ppo")]))
    code, rows = run(gpu, tmp_path, *parts)
    assert code == 0
    assert (rows["idle"].status, rows["idle"].result) == ("failed", "MemoryError: CUDA out of memory")
    assert rows["sleep"].status == rows["ppo"].status == "measured"  # what came before the failure stays
    assert "failed: MemoryError: CUDA out of memory" in (tmp_path / "report.md").read_text()


def test_what_the_time_does_not_allow_is_said(gpu, part, tmp_path):
    never = part("idle", lambda shape: pytest.fail("there is no time left"))
    code, rows = run(gpu, tmp_path, never, limit="0")
    assert (code, rows["idle"].status, rows["idle"].result) == (0, "not run", "time")


def test_the_report_is_written_after_every_setting(gpu, part, tmp_path):
    def killed(shape):
        raise KeyboardInterrupt

    parts = part("idle", lambda shape: iter([row_of(gpu, "idle")])), part("ppo", killed)
    with pytest.raises(KeyboardInterrupt):
        run(gpu, tmp_path, *parts)
    assert [row.part for row in gpu.Report.read(tmp_path).rows] == ["idle"]


def test_an_answer_that_is_not_generates_fails_the_run(gpu, part, tmp_path):
    wrong = sys.modules["gpu_parts.rows"].Row(part="idle", shape="tiny", setting="s", numbers={"equal": False})
    code, _ = run(gpu, tmp_path, part("idle", lambda shape: iter([wrong])))
    assert code == 1


def test_rollouts_that_do_not_fill_groups_are_refused(gpu, capsys):
    with pytest.raises(SystemExit):
        gpu.parse(["--device", "cpu", "--groups", "3", "--step-rollouts", "4"])
    assert "--step-rollouts must be a multiple" in capsys.readouterr().err


# --- arithmetic -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("Some new card", None),
    ],
)
def test_published_peaks(gpu, name, teraflops):
    found = sys.modules["gpu_parts.peaks"].published_peak(name)
    assert found == (None if teraflops is None else pytest.approx(teraflops * 1e12))


def test_shares_by_hand(gpu):
    measures = sys.modules["gpu_parts.measures"]
    assert measures.mfu(operations=3e14, seconds=2.0, peak=1e15) == pytest.approx(0.15)
    assert measures.busy_seconds([]) == 0
    assert measures.busy_seconds([(1.0, 2.0), (1.5, 1.75), (4.0, 5.0)]) == pytest.approx(2.0)
    assert measures.idle_share(busy=0.5, wall=2.0) == pytest.approx(0.75)
    assert measures.idle_share(busy=2.1, wall=2.0) == 0


def test_a_quick_run_is_smaller(gpu):
    whole, quick = gpu.parse(["--device", "cuda"]), gpu.parse(["--device", "cuda", "--quick"])
    assert (whole.limit_minutes, quick.limit_minutes) == (24, 5.5)
    assert set(quick.shapes) < set(whole.shapes)
    assert set(quick.completions) < set(whole.completions)
