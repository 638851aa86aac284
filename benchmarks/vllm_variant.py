"""A vLLM engine as a child process, in an environment of its own: rows of token ids in, greedy answers out.

Run by ``benchmarks/scoring.py --vllm-python``; speaks JSON lines on its standard input and output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    """

    def __init__(self, python: Path, model: Path, dtype: str, end: int):
        environment = {
            **os.environ,
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "HF_HUB_OFFLINE": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
        }
        environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [str(python), __file__, str(model), dtype, str(end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._read()

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([list(row) for row in rows]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()

    def _read(self) -> list[list[int]]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("answers "):  # vLLM prints other things
                return json.loads(line.removeprefix("answers "))
        raise RuntimeError(f"the vLLM process ended with exit status {self._process.wait()}")


def _serve(model: str, dtype: str, end: str) -> None:
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    llm = LLM(
        model=model,
        dtype=dtype,
        skip_tokenizer_init=True,
        enforce_eager=True,
        enable_prefix_caching=True,
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
