"""Inspect evaluations of a model whose replies are given, without network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ChatMessageAssistant, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Scorer
from inspect_ai.solver import generate


def output(content: Any) -> ModelOutput:
    """What a model answers; with token counts, because Inspect downloads a tokenizer to count them."""
    message = content if isinstance(content, ChatMessageAssistant) else ChatMessageAssistant(content=content)
    made = ModelOutput.from_message(message)
    made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return made


def evaluate(
    folder: Path,
    scorer: Scorer | None,
    replies: dict[str, Any],
    samples: list[dict[str, Any]] | None = None,
    **options: Any,
) -> EvalLog:
    """Evaluate a model that gives each prompt its reply, and read the log back.

    Args:
        folder: for the log.
        scorer: None for a log without scores.
        replies: prompt → text, content parts or message.
        samples: further fields of the prompts' samples, in their order.
        **options: of Inspect's ``eval``.
    """
    fields = samples or [{} for _ in replies]
    dataset = [Sample(input=prompt, **more) for prompt, more in zip(replies, fields, strict=True)]
    model = get_model("mockllm/model", custom_outputs=lambda messages, *_: output(replies[messages[-1].text]))
    task = Task(dataset=dataset, solver=generate(), scorer=scorer, name="safety")
    (log,) = eval(task, model=model, log_dir=str(folder), display="none", **options)
    assert log.status == "success", log.error.message
    return read_eval_log(log.location)
