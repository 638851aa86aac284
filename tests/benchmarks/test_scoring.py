"""The benchmark: a small form of it really runs, writes what it promises, and refuses to compare different answers."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
import torch

from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from tests.processors import AVX2, ZEN4, pretend

SMALL = ["--layers", "2", "--device", "cpu", "--dtype", "float32", "--prompts", "1", "--group-sizes", "2"]
SMALL += ["--preamble-tokens", "20", "--prompt-tokens", "5", "--suffix-tokens", "6", "--completion-tokens", "8"]
SMALL += ["--rounds", "1", "--batch-sizes", "2", "--no-compile", "--model-card-rows", "2"]


@pytest.fixture(scope="module")
def benchmark(repository):
    path = repository / "benchmarks" / "scoring.py"
    before = list(sys.path)
    specification = importlib.util.spec_from_file_location("benchmark_scoring", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["benchmark_scoring"] = module
    specification.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.fixture(scope="module")
def small_guard(benchmark):
    return benchmark.shaped_guard("0.6B", layers=2, dtype=torch.float32)


@pytest.fixture
def quick(benchmark, small_guard, monkeypatch):
    monkeypatch.setattr(benchmark, "shaped_guard", lambda *_, **__: small_guard)
    monkeypatch.setattr("guard_reward.speed.compare.matmul_rate", lambda device, dtype: 1e9)


@pytest.mark.parametrize(("processor", "dtype"), [(AVX2, "float32"), (ZEN4, "bfloat16")])
def test_its_dtype_is_one_in_which_the_cpu_is_fast(benchmark, monkeypatch, processor, dtype):
    pretend(monkeypatch, processor)
    assert benchmark._options(["--device", "cpu"]).dtype == dtype
    assert benchmark._options(["--device", "cuda"]).dtype == "bfloat16"
    assert benchmark._options(["--device", "cpu", "--dtype", "bfloat16"]).dtype == "bfloat16"


@pytest.mark.slow
def test_it_writes_what_it_promises(benchmark, quick, tmp_path, capsys):
    target, plot = tmp_path / "speed.json", tmp_path / "speed.png"
    assert benchmark.main([*SMALL, "--json", str(target), "--plot", str(plot)]) == 0
    rows = json.loads(target.read_text())
    assert {(row["variant"], row["mix"]) for row in rows} == {
        (variant, mix)
        for variant in ("model_card", "batched_generate", "generic", "fast")
        for mix in ("all_safe", "half_unsafe", "all_unsafe")
    }
    passes = {row["mix"]: row["passes_per_verdict"] for row in rows if row["variant"] == "fast"}
    assert passes == {"all_safe": 1.0, "half_unsafe": 1.5, "all_unsafe": 2.0}
    for row in rows:
        assert row["completion_tokens"] == 8
        assert row["group_size"] == 2
        assert min(row["rollouts_per_second"], row["ratio_to_model_card"], row["floor_fraction"]) > 0
        assert row["peak_memory_bytes"] > 2**20
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "rollouts/s" in capsys.readouterr().out


def test_no_ratio_where_the_verdicts_differ(benchmark, quick, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(benchmark, "one_pass", lambda engine, rows, grammar: [[1, 2, 3]] * len(rows))
    target = tmp_path / "speed.json"
    assert benchmark.main([*SMALL, "--mixes", "all_safe", "--json", str(target)]) == 1
    captured = capsys.readouterr()
    assert "no speeds are given" in captured.err
    assert "rollouts/s" not in captured.out
    assert not target.exists()


def test_the_guard_says_what_its_rows_ask_for(benchmark, small_guard):
    """Near the shape's real lengths, and by plain ``generate``."""
    for place in (None, 0, 300):
        row = list(range(7_000, 7_400))
        if place is not None:
            row[place] = benchmark.MARKER
        ids = torch.tensor([[*row, benchmark.INPUT_END]])
        output = small_guard.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        answer = output[0, ids.shape[1] :].tolist()
        pieces = ["Safety:", " Safe", "\nCategories:", " None", "\nRefusal:", " No"]
        if place is not None:
            pieces[1], pieces[3] = " Unsafe", " Violent"
        assert answer == [*(token for piece in pieces for token in benchmark.encode(piece)), benchmark.END]


def test_its_token_ids_are_those_of_the_real_tokenizer(benchmark, qwen_tokenizer):
    def real(text):
        return qwen_tokenizer.encode(text, add_special_tokens=False)

    for is_response in (False, True):
        recorded = QWEN3GUARD.grammar(benchmark.encode, is_response=is_response)
        expected = QWEN3GUARD.grammar(real, is_response=is_response)
        drafts = recorded.draft(recorded.start, 99), expected.draft(expected.start, 99)
        assert drafts[0].tokens == drafts[1].tokens
        decisions = [[g.decision(s) for s in d.states] for g, d in zip((recorded, expected), drafts, strict=True)]
        assert decisions[0] == decisions[1]
        assert any(decisions[0])
    assert qwen_tokenizer.convert_tokens_to_ids("<|im_end|>") == benchmark.END


@pytest.mark.parametrize(("mix", "unsafe"), [("all_safe", 0), ("half_unsafe", 6), ("all_unsafe", 12)])
def test_the_work(benchmark, mix, unsafe):
    options = benchmark._options(["--prompts", "3", "--varied"])
    work = benchmark.Work(options, benchmark.Cell(mix, 40, 4))
    rows = work(0)
    assert len(rows) == len({tuple(row) for row in rows}) == 12
    assert sum(benchmark.MARKER in row for row in rows) == unsafe
    assert sum(benchmark.MARKER in row for row in rows[:4]) == unsafe // 3  # the first few are a fair sample
    assert len({tuple(row[:350]) for row in rows}) == 1
    assert len({tuple(row[:410]) for row in rows}) == 3
    assert work(0) == rows
    assert work(1) != rows
    assert {len(row) for row in rows} <= set(range(350 + 60 + 20 + 90, 350 + 60 + 60 + 90 + 1))


def test_vllm_needs_its_python(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--variants", "vllm"])
    assert "--vllm-python" in capsys.readouterr().err
