"""The public sets that `guard-reward grade --preset` knows: where they are, and their label convention.

The conventions follow the sets' own cards, and for Aegis, HarmBench and XSTest-Response the choices that WildGuard's
evaluation made (Han et al., 2024), which the Qwen3Guard report follows. No set is part of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError, one_line, shortened
from guard_reward.evaluation.grading import label_conventions as conventions
from guard_reward.evaluation.grading.labelled import Labelled, read_rows
from guard_reward.evaluation.grading.row_files import file_rows

__all__ = ["PUBLIC_SETS", "PublicSet", "read_labelled"]


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One public set.

    Attributes:
        title: its usual name, and the source of its rows.
        convention: from its rows to ours.
        hub: its id on the Hugging Face hub; empty if it is not there.
        config: its configuration on the hub.
        splits: which of its splits are graded; with several, each is a source.
        where: where its file is, if it is not on the hub.
        is_gated: the hub asks you to accept conditions, and needs a token.
    """

    title: str
    convention: conventions.Convention
    hub: str = ""
    config: str | None = None
    splits: tuple[str, ...] = ("test",)
    where: str = ""
    is_gated: bool = False

    def hub_rows(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Source, place and fields of each row on the hub.

        Raises:
            UserError: it is not on the hub, or cannot be loaded.
        """
        if not self.hub:
            raise UserError(f"{self.title} is not on the hub: give its file ({self.where})")
        from datasets import load_dataset

        for split in self.splits:
            try:
                rows = load_dataset(self.hub, self.config, split=split)
            except Exception as error:  # a hub can fail in any way
                gated = "; accept its conditions on the hub and log in" if self.is_gated else ""
                raise UserError(f"{self.hub} could not be loaded: {one_line(error)}{gated}") from error
            source = self.title if len(self.splits) == 1 else f"{self.title}: {split}"
            for number, row in enumerate(rows, 1):
                yield source, f"{self.hub}: {split}: row {number}", row


_XSTEST_MODELS = ("gpt4", "llama2new", "llama2orig", "mistralguard", "mistralinstruct")
_QWEN_SPLITS = ("thinking", "thinking_loc", "response_loc")

PUBLIC_SETS: dict[str, PublicSet] = {
    "aegis": PublicSet("Aegis", conventions.aegis, "nvidia/Aegis-AI-Content-Safety-Dataset-1.0"),
    "aegis2": PublicSet("Aegis2.0", conventions.aegis2, "nvidia/Aegis-AI-Content-Safety-Dataset-2.0"),
    "beavertails": PublicSet("BeaverTails", conventions.beavertails, "PKU-Alignment/BeaverTails", splits=("30k_test",)),
    "harmbench": PublicSet(
        "HarmBench", conventions.harmbench, "walledai/HarmBench", "standard", ("train",), is_gated=True
    ),
    "harmbench-responses": PublicSet(
        "HarmBench responses",
        conventions.harmbench_responses,
        where="harmbench_text_behaviors_val_set.json of HarmBench's repository",
    ),
    "openai-moderation": PublicSet(
        "OpenAIModeration",
        conventions.openai_moderation,
        "mmathys/openai-moderation-api-evaluation",
        splits=("train",),
    ),
    "qwen3guardtest": PublicSet(
        "Qwen3GuardTest", conventions.qwen3guardtest, "Qwen/Qwen3GuardTest", splits=_QWEN_SPLITS
    ),
    "saferlhf": PublicSet("SafeRLHF", conventions.saferlhf, "PKU-Alignment/PKU-SafeRLHF", "default"),
    "simple-safety-tests": PublicSet(
        "SimpleSafetyTests", conventions.simple_safety_tests, "Bertievidgen/SimpleSafetyTests"
    ),
    "toxicchat": PublicSet("ToxicChat", conventions.toxicchat, "lmsys/toxic-chat", "toxicchat0124"),
    "wildguardtest": PublicSet(
        "WildGuardTest", conventions.wildguardtest, "allenai/wildguardmix", "wildguardtest", is_gated=True
    ),
    "xstest": PublicSet("XSTest", conventions.xstest, "natolambert/xstest-v2-copy", splits=_XSTEST_MODELS),
    "xstest-response": PublicSet(
        "XSTest-Response",
        conventions.xstest_response,
        "allenai/xstest-response",
        splits=("response_harmfulness", "response_refusal"),
        is_gated=True,
    ),
}


def read_labelled(*paths: Path, preset: str | None = None) -> Labelled:
    """The labelled rows of files, or of a public set.

    Args:
        paths: files; without one, the set comes from the hub.
        preset: one of `PUBLIC_SETS`, in whose own columns the files are; by default they have the columns of
            `guard_reward.evaluation.grading.labelled`. A row without ``source`` gets the name of its set or file.

    Raises:
        UserError: names the place and the field that is wrong, or the preset.
        OSError: the file cannot be read.
    """
    if preset is None:
        if not paths:
            raise UserError("give a FILE with labelled rows, or --preset with the name of a public set")
        return read_rows((place, _with_source(row, path)) for path in paths for place, row in file_rows(path))
    if preset not in PUBLIC_SETS:
        raise UserError(f"there is no preset {preset!r}; there are {', '.join(PUBLIC_SETS)}")
    chosen = PUBLIC_SETS[preset]
    placed: Iterable[tuple[str, str, Mapping[str, Any]]] = (
        ((chosen.title, place, row) for path in paths for place, row in file_rows(path)) if paths else chosen.hub_rows()
    )
    left_out: list[str] = []
    found = read_rows(_converted(chosen, placed, left_out))
    skipped = {**found.skipped, **({f"not graded by {preset}": len(left_out)} if left_out else {})}
    return Labelled(found.rows, skipped)


# What reading a value that a convention does not know can raise; a text that is nested too deep, the last two.
_WRONG_VALUES = (AttributeError, OverflowError, SyntaxError, TypeError, ValueError, MemoryError, RecursionError)


def _with_source(row: dict[str, Any], path: Path) -> dict[str, Any]:
    return row if row.get("source") else row | {"source": path.name.partition(".")[0]}


def _converted(
    chosen: PublicSet, placed: Iterable[tuple[str, str, Mapping[str, Any]]], left_out: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for source, place, row in placed:
        try:
            converted = list(chosen.convention(row))
        except KeyError as error:
            have = shortened(", ".join(map(str, row)))
            raise UserError(f"{place} has no column {error} of {chosen.title}; it has {have}") from error
        except _WRONG_VALUES as error:
            raise UserError(f"{place} is not in {chosen.title}'s convention: {one_line(error)}") from error
        left_out.extend([] if converted else [place])
        yield from ((place, {"source": source, **fields}) for fields in converted)
