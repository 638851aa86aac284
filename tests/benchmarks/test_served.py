"""The benchmark of served guards: a small form of it really runs, and refuses to compare different verdicts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.served.servers import served_python


@pytest.fixture(scope="module")
def benchmark(repository):
    path = repository / "benchmarks" / "served.py"
    before = list(sys.path)
    specification = importlib.util.spec_from_file_location("benchmark_served", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.mark.served
def test_a_small_run(repository, tmp_path):
    target = tmp_path / "served.json"
    command = [sys.executable, str(repository / "benchmarks" / "served.py"), "--vllm-python", str(served_python())]
    command += ["--shape", "tiny", "--rows", "8", "--group-size", "4", "--rounds", "1", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    table = json.loads(target.read_text())
    assert [row["variant"] for row in table] == ["local", "vllm", "served_1", "served_64"]
    assert all(row["rollouts_per_second"] > 0 for row in table)
    assert table[0]["ratio_to_local"] == 1
    assert "| served_64 | " in done.stdout


def test_no_speeds_where_the_verdicts_differ(benchmark):
    options = SimpleNamespace(rows=4, group_size=2, completion_tokens=8, rounds=1)
    variants = {"local": lambda rows: ["Safe"] * 4, "served_1": lambda rows: ["Safe", "Safe", "Unsafe", "Safe"]}
    fault = benchmark._round(0, variants, {"local": [], "served_1": []}, options)
    assert fault == "served_1 says 'Unsafe' of row 2, local says 'Safe'"


def test_the_rows(benchmark):
    rows = benchmark.conversations(0, 10, 4, 20)
    assert len(rows) == 10
    assert len({row[0]["content"] for row in rows}) == 3
    assert rows == benchmark.conversations(0, 10, 4, 20)
    assert rows != benchmark.conversations(1, 10, 4, 20)
    assert sum(benchmark.word(benchmark.MARKER) in row[1]["content"] for row in rows) == 5


def test_vllm_is_needed(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.main([])
    assert "--vllm-python" in capsys.readouterr().err
