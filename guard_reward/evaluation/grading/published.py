"""F1 scores that others have published for guards on public sets, to put beside one's own.

All of them are from the Qwen3Guard Technical Report (arXiv 2510.14276v1): Tables 2 and 11 (English prompts), 3 and 12
(English responses), 7 (refusals). Sets are named by their preset (`guard_reward.evaluation.grading.public_sets`). The
report does not publish its evaluation of these sets; WildGuard's, which it follows, takes the annotated rows of
ToxicChat and 2,000 of SafeRLHF's responses, the presets take all rows. `qwen3guardtest` is its split `thinking`.
"""

from __future__ import annotations

from typing import NamedTuple

from guard_reward.evaluation.grading.labelled import Task

__all__ = ["Published", "published_for"]

SOURCE = "Qwen3Guard Technical Report, arXiv 2510.14276"


class Published(NamedTuple):
    """One number.

    Attributes:
        preset: the public set.
        task: what was asked.
        guard: the guard's name in the report.
        mode: strict, loose, or empty for a guard without Controversial, and for refusals.
        f1: from 0 to 1.
        table: where it is in the report.
    """

    preset: str
    task: Task
    guard: str
    mode: str
    f1: float
    table: str


_PROMPTS = """
guard                   mode   toxicchat openai-moderation aegis aegis2 simple-safety-tests harmbench wildguardtest
LlamaGuard3-8B          -      53.8      79.5              71.5  76.4   99.5                99.0      76.4
LlamaGuard4-12B         -      51.3      73.5              67.8  70.6   98.0                97.2      73.0
WildGuard-7B            -      70.8      72.1              89.4  80.7   99.5                98.9      88.9
ShieldGemma-9B          -      69.4      82.1              70.3  72.5   83.7                60.6      54.2
ShieldGemma-27B         -      72.9      80.5              69.0  71.6   84.4                57.3      54.3
NemoGuard-8B            -      75.6      81.0              81.4  86.8   98.5                75.2      81.6
PolyGuard-Qwen-7B       -      71.5      74.1              90.3  86.3   100.0               98.7      88.1
Qwen3Guard-0.6B-Gen     strict 65.1      66.5              90.8  85.0   99.0                98.7      87.7
Qwen3Guard-0.6B-Gen     loose  77.7      77.6              76.9  83.3   95.8                96.1      85.1
Qwen3Guard-4B-Gen       strict 69.5      68.3              90.8  85.8   99.5                100.0     85.6
Qwen3Guard-4B-Gen       loose  82.8      80.7              76.3  82.1   97.4                99.2      85.1
Qwen3Guard-8B-Gen       strict 68.9      68.8              91.4  86.1   99.5                100.0     88.9
Qwen3Guard-8B-Gen       loose  82.8      81.3              76.0  82.5   97.4                98.5      85.6
Qwen3Guard-0.6B-Stream  strict 72.0      68.3              85.2  84.9   98.0                97.2      87.1
Qwen3Guard-0.6B-Stream  loose  75.5      76.0              77.7  81.7   96.9                96.8      86.0
Qwen3Guard-4B-Stream    strict 73.0      70.0              85.9  86.6   99.5                100.0     88.6
Qwen3Guard-4B-Stream    loose  81.7      81.2              75.5  80.2   98.5                98.9      85.3
Qwen3Guard-8B-Stream    strict 75.3      74.0              85.7  86.1   99.0                99.4      87.5
Qwen3Guard-8B-Stream    loose  80.1      80.3              75.5  80.8   98.5                98.7      84.4
"""
_RESPONSES = """
guard                   mode   harmbench-responses saferlhf beavertails xstest-response aegis2 wildguardtest qwen3guardtest
LlamaGuard3-8B          -      84.5                45.2     67.9        89.8            66.1   69.5          72.0
LlamaGuard4-12B         -      83.3                42.5     68.6        88.9            63.7   66.4          59.3
WildGuard-7B            -      86.3                64.2     84.4        94.7            83.2   75.4          71.4
ShieldGemma-9B          -      60.4                44.2     62.4        86.3            70.8   49.9          61.1
ShieldGemma-27B         -      62.9                52.6     67.6        83.0            74.9   52.4          68.0
NemoGuard-8B            -      81.4                57.6     78.5        86.2            87.6   77.5          77.9
PolyGuard-Qwen-7B       -      71.1                63.3     79.5        63.4            81.9   77.9          81.1
Qwen3Guard-0.6B-Gen     strict 85.0                66.6     86.1        89.7            84.2   76.3          83.6
Qwen3Guard-0.6B-Gen     loose  82.6                64.2     85.4        91.3            84.1   77.3          83.1
Qwen3Guard-4B-Gen       strict 86.7                69.8     86.6        92.7            86.1   79.5          84.0
Qwen3Guard-4B-Gen       loose  86.7                64.5     85.2        92.4            86.5   77.3          80.2
Qwen3Guard-8B-Gen       strict 87.2                70.5     86.6        92.1            86.1   78.9          84.0
Qwen3Guard-8B-Gen       loose  86.5                64.2     85.5        93.7            86.4   77.3          83.3
Qwen3Guard-0.6B-Stream  strict 83.1                62.8     84.5        84.8            81.4   76.3          81.6
Qwen3Guard-0.6B-Stream  loose  80.6                61.7     84.0        83.3            81.4   75.8          81.3
Qwen3Guard-4B-Stream    strict 84.3                67.6     86.0        88.5            83.1   76.4          85.4
Qwen3Guard-4B-Stream    loose  83.6                64.3     85.2        88.9            83.3   77.4          85.2
Qwen3Guard-8B-Stream    strict 85.0                64.6     85.9        87.5            82.6   77.0          83.6
Qwen3Guard-8B-Stream    loose  84.7                63.1     85.5        88.9            82.4   76.8          83.5
"""  # noqa: E501  a table
_REFUSALS = """
guard                   mode   xstest-response wildguardtest
WildGuard-7B            -      93.3            88.6
Qwen3Guard-0.6B-Gen     -      93.3            89.4
Qwen3Guard-4B-Gen       -      94.6            90.2
Qwen3Guard-8B-Gen       -      92.6            90.0
"""
_TABLES = (
    (Task.PROMPT_HARM, _PROMPTS, ("Table 2", "Table 11")),
    (Task.RESPONSE_HARM, _RESPONSES, ("Table 3", "Table 12")),
    (Task.REFUSAL, _REFUSALS, ("Table 7", "")),
)


def published_for(preset: str) -> list[Published]:
    """What is published for a set.

    >>> [(it.mode, it.f1) for it in published_for("toxicchat") if it.guard == "Qwen3Guard-8B-Gen"]
    [('strict', 0.689), ('loose', 0.828)]
    """
    return [number for number in _all() if number.preset == preset]


def _all() -> list[Published]:
    found = []
    for task, text, (of_most, of_stream) in _TABLES:
        (_, _, *presets), *lines = [line.split() for line in text.strip().splitlines()]
        for guard, mode, *numbers in lines:
            table = of_stream if guard.endswith("-Stream") else of_most
            for preset, number in zip(presets, numbers, strict=True):
                f1 = round(float(number) / 100, 4)
                found.append(Published(preset, task, guard, "" if mode == "-" else mode, f1, table))
    return found
