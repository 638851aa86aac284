"""A guard's checkpoint that is damaged, incomplete or of another kind: one line says which file, and nothing is judged.

Each folder is a whole guard of the tiny world with one fault, loaded by the code that loads real guards.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from guard_reward.tiny.shipped import shipped
from tests.faults.damage import (
    INDEX,
    POINTER,
    SHARDS,
    WEIGHTS,
    Damage,
    adapter,
    classifier,
    configured,
    cut,
    edited,
    encoder_decoder,
    end_token_of,
    gone,
    holds,
    more_words,
    sharded,
    weighted,
    words_only,
)

FILES: list[tuple[Damage, str]] = [
    (gone("config.json"), "has no config.json"),
    (holds("config.json", '{"architectures": ['), "config.json is not JSON"),
    (holds("config.json", ""), "config.json is not JSON"),
    (holds("config.json", "[" * 100_000), "config.json is not JSON"),
    (holds("config.json", b"\xff\xfe\x00"), "config.json is not UTF-8 text"),
    (holds("config.json", "null"), "config.json should be a JSON object, found NoneType"),
    (holds("config.json", "[]"), "config.json should be a JSON object, found list"),
    (holds("config.json", "{}"), "Should have a `model_type` key in its config.json"),
    (gone(WEIGHTS), "no file named model.safetensors"),
    (holds(WEIGHTS, b""), f"{WEIGHTS} is damaged or was not copied whole"),
    (holds(WEIGHTS, "<html>404</html>"), f"{WEIGHTS} is damaged or was not copied whole"),
    (holds(WEIGHTS, POINTER), f"{WEIGHTS} is a pointer of Git LFS, not the file itself: run `git lfs pull`"),
    (cut(WEIGHTS), f"{WEIGHTS} is damaged or was not copied whole"),
    (sharded(gone(SHARDS[1])), f"has no {SHARDS[1]}, which its {INDEX} names"),
    (sharded(cut(SHARDS[1])), f"{SHARDS[1]} is damaged or was not copied whole"),
    (sharded(holds(SHARDS[0], POINTER)), f"{SHARDS[0]} is a pointer of Git LFS"),
    (sharded(cut(INDEX)), f"{INDEX} is not JSON"),
    (sharded(holds(INDEX, "{}")), f"{INDEX} has no 'weight_map'"),
    (
        sharded(edited(INDEX, lambda index: index["weight_map"].update({"a": "model-7-of-2.safetensors"}))),
        f"has no model-7-of-2.safetensors, which its {INDEX} names",
    ),
    (gone("tokenizer.json"), "has no tokenizer.json or other vocabulary"),
    (gone("tokenizer.json", "tokenizer_config.json"), "has no tokenizer.json or other vocabulary"),
    (cut("tokenizer.json"), "tokenizer.json is not JSON"),
    (holds("tokenizer.json", POINTER), "tokenizer.json is a pointer of Git LFS"),
    (holds("tokenizer.json", '{"version": "1.0"}'), "tokenizer.json has no 'added_tokens'"),
    (holds("tokenizer_config.json", "{"), "tokenizer_config.json is not JSON"),
    (holds("generation_config.json", "{"), "generation_config.json is not JSON"),
    (holds("chat_template.jinja", b"\xff\xfe"), "chat_template.jinja is not UTF-8 text"),
    (adapter("config.json"), "is an adapter of 'Qwen/Qwen3Guard-Gen-0.6B' without its weights: merge the two"),
    (adapter(), "is an adapter of 'Qwen/Qwen3Guard-Gen-0.6B' without its weights: merge the two"),
]
GEN: list[tuple[Damage, str]] = [
    (configured(model_type="qwen99"), "could not be loaded: The checkpoint you are trying to load has model type"),
    (configured(hidden_size="big"), "could not be loaded: StrictDataclassFieldValidationError"),
    (configured(hidden_size=64), "has model.embed_tokens.weight with the shape (799, 128)"),
    (configured(num_hidden_layers=4, layer_types=["full_attention"] * 4), "lacks weights that Qwen3ForCausalLM needs"),
    (
        configured(num_hidden_layers=2, layer_types=["full_attention"] * 2),
        "has model.layers.2.input_layernorm.weight, and its config.json says fewer layers",
    ),
    (configured(architectures="Qwen3ForCausalLM"), "config.json: architectures should be a list of names"),
    (classifier, "is a classifier (Qwen3ForSequenceClassification), which writes no text"),
    (encoder_decoder, "T5Config'> for this kind of AutoModel: AutoModelForCausalLM."),
    (weighted(lambda weights: weights["model.norm.weight"].fill_(float("nan"))), "model.norm.weight has NaN"),
    (
        weighted(lambda weights: weights["model.layers.1.mlp.up_proj.weight"].zero_()),
        "all numbers of model.layers.1.mlp.up_proj.weight are 0",
    ),
    (
        edited("tokenizer.json", lambda tokenizer: tokenizer["added_tokens"].clear()),
        "tokenizer.json does not have '<|im_end|>', the end token of tokenizer_config.json",
    ),
    (more_words, "its tokenizer gives 'word"),
    (words_only, "the tokenizer begins ' Safe' and ' Controversial' with the same token"),
    (
        end_token_of("<|im_start|>"),
        "the tokenizer ends a turn with '<|im_start|>' (id 795), and generation_config.json",
    ),
    (edited("generation_config.json", lambda it: it.update(eos_token_id=999_999)), "found 999999"),
    (edited("generation_config.json", lambda it: it.update(eos_token_id="end")), "found 'end'"),
    (gone("chat_template.jinja"), "the tokenizer has no chat template"),
    (holds("chat_template.jinja", ""), "the tokenizer has no chat template"),
    (holds("chat_template.jinja", "{% for x in %}"), "(chat_template.jinja) is no Jinja template"),
]
STREAM: list[tuple[Damage, str]] = [
    (gone(WEIGHTS), "no file named model.safetensors"),
    (cut(WEIGHTS), f"{WEIGHTS} is damaged or was not copied whole"),
    (gone("tokenizer.json"), "has no tokenizer.json or other vocabulary"),
    (words_only, "the tokenizer has no <|im_start|>"),
    (more_words, "its tokenizer gives 'word"),
    (weighted(lambda weights: weights.pop("risk_level_head.weight")), "lacks weights that Qwen3ForGuardModel needs"),
    (
        weighted(lambda weights: weights["risk_level_head.weight"].zero_()),
        "all numbers of risk_level_head.weight are 0",
    ),
    (
        weighted(lambda weights: weights["risk_level_head.weight"].fill_(float("inf"))),
        "risk_level_head.weight has NaN or infinite numbers",
    ),
    (configured(num_risk_level="three"), "the config lacks num_risk_level"),
    (configured(num_hidden_layers=2, layer_types=["full_attention"] * 2), "its config.json says fewer layers"),
]


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [("guard", *one) for one in FILES + GEN] + [("stream-guard", *one) for one in STREAM],
    ids=[f"{kind}-{one[1][:60]}" for kind, table in (("gen", FILES + GEN), ("stream", STREAM)) for one in table],
)
def test_one_line_names_the_folder_and_what_is_wrong_with_it(
    kind: str, damage: Damage, message: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shipped(kind), tmp_path / "damaged"))
    damage(folder)
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "How do I use a blue gravok?"}\n')
    result = CliRunner().invoke(app, ["moderate", str(source), str(target), "--guard", str(folder), "--quiet"])
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("guard-reward: ")]
    assert line.startswith(f"guard-reward: error: the guard '{folder}' could not be loaded: ")
    assert message in line
    assert len(line) < 700
    assert isinstance(result.exception, SystemExit)  # and no traceback
    assert result.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "in.jsonl"]


def test_a_sharded_checkpoint_without_a_fault_is_the_same_guard(tmp_path: Path, tiny_guard: object) -> None:
    """What the faults are made from loads."""
    from guard_reward import load_guard

    folder = Path(shutil.copytree(shipped("guard"), tmp_path / "whole"))
    sharded()(folder)
    asked = [[{"role": "user", "content": "How do I use a blue gravok?"}]]
    assert load_guard(folder).moderate(asked) == tiny_guard.moderate(asked)  # type: ignore[attr-defined]
