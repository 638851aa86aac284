"""The vLLM process, played by a shell script: answers come back, and nothing waits for ever."""

from __future__ import annotations

import importlib.util
import time

import pytest


@pytest.fixture(scope="module")
def vllm_variant(repository):
    path = repository / "benchmarks" / "vllm_variant.py"
    specification = importlib.util.spec_from_file_location("benchmark_vllm_variant", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def start(vllm_variant, tmp_path):
    """Start a process that runs these lines of shell instead of vLLM."""

    def start(*lines, deadline=20):
        script = tmp_path / "python"
        script.write_text("\n".join(["#!/bin/sh", *lines]))
        script.chmod(0o755)
        return vllm_variant.VllmProcess(script, tmp_path, "float32", 7, deadline=deadline)

    return start


def test_answers_come_back_and_what_else_is_printed_is_skipped(start):
    process = start("echo noise", "echo 'answers []'", "read rows", "echo noise", 'echo "answers $rows"', "sleep 60")
    assert process([[1, 2], (3,)]) == [[1, 2], [3]]
    process.close()


@pytest.mark.parametrize("before", ["true", "echo 'answers []'"], ids=["at the start", "at an answer"])
def test_it_is_killed_at_its_deadline(start, before):
    started = time.monotonic()
    with pytest.raises(RuntimeError, match=r"gave no answer within 0\.5 s"):
        start(before, "sleep 60 & wait", deadline=0.5)([[1]])
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("before", ["true", "echo 'answers []'"], ids=["at the start", "at an answer"])
def test_an_end_is_told_with_its_status(start, before):
    with pytest.raises(RuntimeError, match="ended with exit status 3"):
        start(before, "exit 3")([[1]])
