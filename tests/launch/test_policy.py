"""What the reward has to know of the policy: its end ids, and whether its template opens the thinking."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward.errors import UserError
from guard_reward.launch import model_init_kwargs, policy_source, read_policy
from guard_reward.launch.policy import opens_thinking
from tests.local_modelscope import Hub, files_of

TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


@pytest.fixture
def policy(tmp_path: Path) -> SimpleNamespace:
    """A policy's tokenizer and configuration, without weights; `folder` names it."""
    from transformers import Qwen3Config

    from guard_reward.tiny.tokenizer import build_tokenizer

    tokenizer = build_tokenizer("policy")
    tokenizer.save_pretrained(tmp_path)
    Qwen3Config(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id).save_pretrained(tmp_path)
    return SimpleNamespace(folder=tmp_path, tokenizer=tokenizer)


def model(folder: Any, **changes: Any) -> Any:
    return SimpleNamespace(
        **{
            "model_name_or_path": None if folder is None else str(folder),
            "model_revision": "main",
            "dtype": "bfloat16",
            "attn_implementation": None,
            **changes,
        }
    )


def args(**changes: Any) -> Any:
    return SimpleNamespace(
        **{"trust_remote_code": False, "chat_template_kwargs": None, "model_init_kwargs": None, **changes}
    )


def test_the_tokenizers_end(policy: Any) -> None:
    facts = read_policy(model(policy.folder), args())
    assert facts.eos_token_ids == (policy.tokenizer.eos_token_id,)
    assert facts.thinking_prefilled is False


@pytest.mark.parametrize(("declared", "added"), [(3, (3,)), ([3, 5], (3, 5)), (None, ())])
def test_every_end_that_generation_declares(policy: Any, declared: Any, added: tuple[int, ...]) -> None:
    (policy.folder / "generation_config.json").write_text(json.dumps({"eos_token_id": declared}))
    facts = read_policy(model(policy.folder), args())
    assert facts.eos_token_ids == (*added, policy.tokenizer.eos_token_id)


@pytest.mark.parametrize(
    ("generation_prompt", "opens"),
    [
        ("", False),
        ("<think>\n", True),
        ("<think>\n\n</think>\n\n", False),
        ("{% if enable_thinking %}<think>\n{% endif %}", True),
    ],
)
def test_an_open_thinking_block(policy: Any, generation_prompt: str, opens: bool) -> None:
    policy.tokenizer.chat_template = TURN + generation_prompt
    assert opens_thinking(policy.tokenizer, {"enable_thinking": True}) is opens


def test_the_runs_own_template_settings_decide(policy: Any) -> None:
    policy.tokenizer.chat_template = TURN + "{% if enable_thinking %}<think>{% endif %}"
    policy.tokenizer.save_pretrained(policy.folder)
    for thinks in (True, False):
        facts = read_policy(model(policy.folder), args(chat_template_kwargs={"enable_thinking": thinks}))
        assert facts.thinking_prefilled is thinks


def test_qwens_own_templates(qwen_tokenizer: Any) -> None:
    """The guard's template closes the block that it opens."""
    assert not opens_thinking(qwen_tokenizer, {})


def test_the_trainers_kwargs_stand_over_the_models(policy: Any) -> None:
    kwargs = model_init_kwargs(model("x"), args(model_init_kwargs={"dtype": "float32", "use_kernels": True}))
    assert kwargs == {"revision": "main", "dtype": "float32", "attn_implementation": None, "use_kernels": True}


def test_mistakes(policy: Any) -> None:
    for folder, message in (
        (None, "model_name_or_path: name the policy"),
        ("no-such/policy", "model_name_or_path: "),
        (policy.folder / "none", "model_name_or_path: "),
    ):
        with pytest.raises(UserError, match=message):
            read_policy(model(folder), args())
    policy.tokenizer.chat_template = None
    for file in policy.folder.glob("*.jinja"):
        file.unlink()
    policy.tokenizer.save_pretrained(policy.folder)
    with pytest.raises(UserError, match="has no chat template, but prompts are chat messages; use the instruct"):
        read_policy(model(policy.folder), args())


@pytest.mark.parametrize(
    ("asked", "found"),
    [("main", "master"), ("v1", "v1")],  # TRL's default is no revision on ModelScope
)
def test_a_policy_from_modelscope(policy: Any, modelscope: Hub, asked: str, found: str) -> None:
    from transformers import AutoConfig, AutoTokenizer

    modelscope.add("Qwen/Qwen3-4B", files_of(policy.folder), "master", "v1")
    named = model("modelscope:Qwen/Qwen3-4B", model_revision=asked)
    assert read_policy(named, args()) == read_policy(model(policy.folder), args())
    folder = policy_source(named)
    assert folder == str(modelscope.cache / "models" / "Qwen--Qwen3-4B" / "snapshots" / found)
    loaded = AutoTokenizer.from_pretrained(folder, **model_init_kwargs(named, args()))  # as the trainer does
    assert loaded.get_vocab() == policy.tokenizer.get_vocab()
    assert AutoConfig.from_pretrained(folder).vocab_size == len(policy.tokenizer)
    assert named.model_name_or_path == "modelscope:Qwen/Qwen3-4B"  # for the run's record


def test_other_policies_come_from_where_they_are(policy: Any) -> None:
    assert policy_source(model("Qwen/Qwen3-4B")) == "Qwen/Qwen3-4B"
    assert policy_source(model(policy.folder)) == str(policy.folder)


def test_mistakes_with_modelscope(modelscope: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, message in (
        ("modelscope:Qwen", "'modelscope:Qwen' is not a model on ModelScope"),
        ("modelscope:Qwen/No", "modelscope:Qwen/No, revision 'master': .*Model does not exist"),
    ):
        with pytest.raises(UserError, match=f"^model_name_or_path: {message}"):
            read_policy(model(name), args())
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    with pytest.raises(UserError, match=r"^model_name_or_path: .*pip install 'guard-reward\[modelscope\]'"):
        read_policy(model("modelscope:Qwen/No"), args())
