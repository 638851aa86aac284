"""A checkpoint from a stranger: its files are data. What would run code of its own is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from guard_reward import Unjudged, load_guard
from guard_reward.tiny.shipped import shipped

CONVERSATION = [{"role": "user", "content": "Hello?"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A guard's checkpoint that may be changed."""
    return Path(shutil.copytree(shipped("guard"), tmp_path / "guard"))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A file that is there if foreign code has run."""
    return tmp_path / "trace"


class Exploit:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _python_file(folder: Path, trace: Path) -> None:
    (folder / "modeling_own.py").write_text(
        f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass Own: pass\n"
    )
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    config["auto_map"] = {"AutoConfig": "modeling_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))


def _pickled_weights(folder: Path, trace: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Exploit(trace)))


@pytest.mark.parametrize(
    ("poison", "fault"),
    [(_python_file, "pass the argument `trust_remote_code=True`"), (_pickled_weights, "Weights only load failed")],
)
def test_code_in_its_files_is_refused(
    folder: Path, trace: Path, poison: Callable[[Path, Path], None], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is at the terminal of a training run"))
    poison(folder, trace)
    with pytest.raises(Exception, match=fault):  # transformers' and torch's own words
        load_guard(folder).moderate([CONVERSATION])
    assert not trace.exists()


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__[-1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch TRACE') }}",
        "{% for i in range(10 ** 12) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_code_in_its_template_is_refused(folder: Path, trace: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template.replace("TRACE", str(trace)))
    (verdict,) = load_guard(folder).moderate([CONVERSATION])
    assert isinstance(verdict, Unjudged)
    assert not trace.exists()


def test_missing_weights_are_not_replaced_by_random_ones(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.self_attn.q_norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights .*layers\.0\.self_attn\.q_norm.* which would be random"):
        load_guard(folder).moderate([CONVERSATION])


def test_the_exploits_are_real(trace: Path) -> None:
    pickle.loads(pickle.dumps(Exploit(trace)))
    assert trace.exists()
