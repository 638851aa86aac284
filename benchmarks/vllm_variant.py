"""A vLLM engine as a child process, in an environment of its own: rows of token ids in, greedy answers out.

Run by ``benchmarks/scoring.py`` and ``benchmarks/gpu.py`` with ``--vllm-python``; speaks JSON lines on its standard
input and output.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

__all__ = ["VllmProcess"]


class VllmProcess:
    """Asks vLLM in another Python for answers.

    Args:
        python: the interpreter of an environment that has vLLM.
        model: folder of the checkpoint.
        dtype: such as ``"bfloat16"``.
        end: the token id that ends an answer.
        gpu_memory: fraction of a GPU's memory that vLLM may take; the guard that is measured beside it needs the rest.
        deadline: seconds that the start, and later an answer, may take; then the process is killed.

    Raises:
        RuntimeError: the process ended, or the deadline passed; also from a call.
    """

    def __init__(
        self, python: Path, model: Path, dtype: str, end: int, *, gpu_memory: float = 0.4, deadline: float = 900
    ):
        environment = {
            **os.environ,
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "HF_HUB_OFFLINE": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
        }
        environment.pop("PYTHONPATH", None)
        self.deadline = deadline
        self._process = subprocess.Popen(
            [str(python), __file__, str(model), dtype, str(end), str(gpu_memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # so that what vLLM starts can be ended with it
        )
        self._exchange("")

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        return self._exchange(json.dumps([list(row) for row in rows]) + "\n")

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait(10)

    def _exchange(self, line: str) -> list[list[int]]:
        """Send a line and wait for the answers, until the deadline."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(self.deadline, self._kill)
        watchdog.start()
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            for printed in self._process.stdout:
                if printed.startswith("answers "):  # vLLM prints other things
                    return json.loads(printed.removeprefix("answers "))
        except BrokenPipeError:
            pass  # it ended, which is said below
        finally:
            in_time = watchdog.is_alive()
            watchdog.cancel()
        if not in_time:
            raise RuntimeError(f"the vLLM process gave no answer within {self.deadline:g} s")
        raise RuntimeError(f"the vLLM process ended with exit status {self._process.wait(10)}")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            os.killpg(self._process.pid, signal.SIGKILL)


def _serve(model: str, dtype: str, end: str, gpu_memory: str) -> None:
    import torch
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    llm = LLM(
        model=model,
        dtype=dtype,
        skip_tokenizer_init=True,
        enforce_eager=not torch.cuda.is_available(),  # on a GPU with CUDA graphs, as vLLM is served
        enable_prefix_caching=True,
        gpu_memory_utilization=float(gpu_memory),
        max_model_len=4096,
        max_num_batched_tokens=8192,
    )
    sampling = SamplingParams(temperature=0, max_tokens=128, stop_token_ids=[int(end)], detokenize=False)
    print("answers []", flush=True)
    for line in sys.stdin:
        prompts = [TokensPrompt(prompt_token_ids=row) for row in json.loads(line)]
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        answers = [[token for token in output.outputs[0].token_ids if token != int(end)] for output in outputs]
        print("answers", json.dumps(answers), flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
