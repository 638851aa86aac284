"""The ``<think>`` tags: the one place that knows how a policy marks its reasoning."""

from __future__ import annotations

__all__ = ["CLOSE", "OPEN", "ends_open", "joined", "split_thinking"]

OPEN, CLOSE = "<think>", "</think>"


def split_thinking(text: str, *, prefilled: bool = False) -> tuple[str | None, str]:
    """Split a completion into thinking and answer at the *first* ``</think>``, as serving parsers do.

    | completion | thinking | answer |
    |---|---|---|
    | ``<think>t</think>y`` | ``t`` | ``y`` |
    | ``t</think>y`` with the opening tag pre-filled by the prompt | ``t`` | ``y`` |
    | ``t`` with it pre-filled (never closed) | ``t`` | empty |
    | ``t</think>y`` without | None | all of it: a stray tag hides nothing |
    | ``<think>t`` (never closed) | ``t`` | empty |
    | ``<think></think>y`` | empty | ``y`` |
    | ``<think>a<think>b</think>c</think>y`` (nested) | ``a<think>b`` | ``c</think>y`` |
    | ``y <think>…`` (after other text) | None | all of it |

    The first closing tag ends the thinking even if tags nest or repeat: what follows it is what users are shown, so a
    policy that writes a second ``</think>`` cannot move its answer out of the guard's sight.

    >>> split_thinking("<think>Let me see.</think>\\n\\nYes.")
    ('Let me see.', 'Yes.')
    """
    body = text.lstrip()
    if body.startswith(OPEN):
        body = body[len(OPEN) :]
    elif not prefilled:
        return None, text
    thinking, _, answer = body.partition(CLOSE)
    return thinking.strip(), answer.lstrip()


def joined(thinking: str, answer: str) -> str:
    """Thinking and answer as one text, in the form in which Qwen3's template shows them."""
    return f"{OPEN}\n{thinking}\n{CLOSE}\n\n{answer}"


def ends_open(prompt: str) -> bool:
    """Whether a prompt ends in an opening tag, so that the completion begins inside the thinking."""
    return prompt.rstrip().endswith(OPEN)
