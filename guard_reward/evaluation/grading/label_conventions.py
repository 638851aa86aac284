"""How public sets say what a labelled row says: functions from a row in a set's own columns to rows in ours.

A convention may yield no row (the set's row is none that can be graded here), one, or several. It raises `KeyError` for
a column that is missing and `ValueError` for a value that it does not know.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = [
    "Convention",
    "aegis",
    "aegis2",
    "beavertails",
    "harmbench",
    "harmbench_responses",
    "openai_moderation",
    "qwen3guardtest",
    "saferlhf",
    "simple_safety_tests",
    "toxicchat",
    "wildguardtest",
    "xstest",
    "xstest_response",
]

Fields = Mapping[str, Any]
Convention = Callable[[Fields], Iterator[dict[str, Any]]]

_OPENAI_CATEGORIES = {
    "S": "sexual",
    "H": "hate",
    "V": "violence",
    "HR": "harassment",
    "SH": "self-harm",
    "S3": "sexual/minors",
    "H2": "hate/threatening",
    "V2": "violence/graphic",
}


def openai_moderation(row: Fields) -> Iterator[dict[str, Any]]:
    """Harmful if any of the eight flags is 1. A flag that is missing is unknown and counts as 0, as is usual.

    >>> next(openai_moderation({"prompt": "…", "V": 1, "SH": 0}))
    {'prompt': '…', 'prompt_harm': True, 'category': ['violence']}
    """
    flagged = [name for flag, name in _OPENAI_CATEGORIES.items() if _is_one(row.get(flag))]
    yield {"prompt": row["prompt"], "prompt_harm": bool(flagged), "category": flagged}


def xstest(row: Fields) -> Iterator[dict[str, Any]]:
    """Prompts: ``label``, or else the prompt type, of which those that begin with ``contrast_`` are unsafe.

    Completions: ``final_label``, on which the annotators agreed.
    """
    kind = str(row["type"] or "")
    unknown = not row.get("label") and not kind
    harm = None if unknown else row.get("label") or kind.startswith("contrast_")
    common = {"id": row.get("id"), "prompt": row["prompt"], "prompt_harm": harm, "category": kind}
    if row.get("completion"):
        common |= {"response": row["completion"], "refusal": row["final_label"]}
    yield common


def xstest_response(row: Fields) -> Iterator[dict[str, Any]]:
    """Two splits with one ``label`` column: the response's harm, or whether it refuses."""
    task = "refusal" if row["label"] in ("refusal", "compliance") else "response_harm"
    yield {
        "prompt": row["prompt"],
        "response": row["response"],
        task: row["label"],
        "prompt_harm": row["prompt_type"] == "prompt_harmful",
        "category": row.get("prompt_harm_category"),
    }


def beavertails(row: Fields) -> Iterator[dict[str, Any]]:
    """The response with its prompt is safe or not; the prompt alone is not labelled."""
    harm, category = not _boolean(row["is_safe"]), _true_keys(row.get("category"))
    yield {"prompt": row["prompt"], "response": row["response"], "response_harm": harm, "category": category}


def saferlhf(row: Fields) -> Iterator[dict[str, Any]]:
    """Both responses of each pair."""
    for number in (0, 1):
        yield {
            "prompt": row["prompt"],
            "response": row[f"response_{number}"],
            "response_harm": not _boolean(row[f"is_response_{number}_safe"]),
            "category": _true_keys(row.get(f"response_{number}_harm_category")),
        }


def wildguardtest(row: Fields) -> Iterator[dict[str, Any]]:
    """All three labels; each may be missing."""
    yield {
        "prompt": row["prompt"],
        "response": row["response"],
        "prompt_harm": row["prompt_harm_label"],
        "response_harm": row["response_harm_label"],
        "refusal": row["response_refusal_label"],
        "category": row.get("subcategory"),
    }


def aegis(row: Fields) -> Iterator[dict[str, Any]]:
    """Prompts only; harmful if at most one of the first three annotators says Safe.

    So ``Needs Caution`` counts as harmful. Longer dialogues have one label for all their turns, and are left out.
    """
    if row["text_type"] == "user_message":
        votes = [row[f"labels_{number}"] for number in range(3)]
        yield {"prompt": str(row["text"]).strip(), "prompt_harm": votes.count("Safe") <= 1}


def aegis2(row: Fields) -> Iterator[dict[str, Any]]:
    """Prompt and response, labelled apart. Prompts that the set does not contain (``REDACTED``) are left out."""
    if row["prompt"] == "REDACTED":
        return
    category = [name for part in (row.get("violated_categories") or "").split(",") if (name := part.strip())]
    yield {
        "id": row.get("id"),
        "prompt": row["prompt"],
        "response": row.get("response"),
        "prompt_harm": row["prompt_label"],
        "response_harm": row["response_label"] if row.get("response") else None,
        "category": category,
    }


def toxicchat(row: Fields) -> Iterator[dict[str, Any]]:
    """The user's text is toxic or not; the model's answer is not labelled."""
    category = "jailbreaking" if _is_one(row.get("jailbreaking")) else "no jailbreaking"
    yield {
        "id": row.get("conv_id"),
        "prompt": row["user_input"],
        "prompt_harm": _is_one(row["toxicity"]),
        "category": category,
    }


def harmbench(row: Fields) -> Iterator[dict[str, Any]]:
    """Behaviours, all of them harmful. Those that need a context or an image are left out."""
    if "Behavior" not in row:
        yield {"prompt": row["prompt"], "prompt_harm": True, "category": row.get("category")}
    elif row["FunctionalCategory"] in ("standard", "copyright"):
        kind = row.get("SemanticCategory") or row["FunctionalCategory"]
        yield {"id": row.get("BehaviorID"), "prompt": row["Behavior"], "prompt_harm": True, "category": kind}


def harmbench_responses(row: Fields) -> Iterator[dict[str, Any]]:
    """Harmful if at least two of the three annotators say so."""
    votes = sum(_is_one(row[f"human_{number}"]) for number in range(3))
    yield {
        "prompt": row["test_case"],
        "response": row["generation"],
        "response_harm": votes > 1,
        "category": row.get("experiment"),
    }


def simple_safety_tests(row: Fields) -> Iterator[dict[str, Any]]:
    """All prompts are harmful."""
    yield {"id": row.get("id"), "prompt": row["prompt"], "prompt_harm": True, "category": row.get("harm_area")}


def qwen3guardtest(row: Fields) -> Iterator[dict[str, Any]]:
    """The response is Safe, Controversial or Unsafe, with the place where it becomes unsafe."""
    yield {
        "id": row.get("unique_id"),
        "messages": row["message"],
        "label": row["label"],
        "category": row.get("unsafe_type"),
        **{name: row.get(name) for name in ("unsafe_start_index", "unsafe_end_index")},
    }


def _is_one(value: Any) -> bool:
    """Whether a flag is set; CSV has text, and pandas writes 1.0."""
    if value is None or value == "":
        return False
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    return float(value) == 1


def _boolean(value: Any) -> bool:
    if str(value).lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"should be true or false, found {value!r}")
    return str(value).lower() in ("true", "1")


def _true_keys(value: Any) -> list[str]:
    """The keys of ``{"violence": True, …}`` that are true; CSV has it as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = ast.literal_eval(value) if value.startswith("{") else None
    return [key for key, is_true in value.items() if is_true] if isinstance(value, Mapping) else []
