"""The reward's settings: what a YAML file and a command line can say, and the reward that comes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward import schemes
from guard_reward.errors import UserError
from guard_reward.launch import GuardRewardConfig, build_reward
from guard_reward.rewards.policy import PolicyFacts
from tests.scripted_guard import ScriptedGuard

FACTS = PolicyFacts(eos_token_ids=(2, 7), thinking_prefilled=True)


def shortness(completions: list[str], **_: Any) -> list[float]:
    """A helpfulness function: what a dotted path can point to."""
    return [-float(len(completion)) for completion in completions]


NOT_CALLABLE = 3
SHORTNESS = "tests.launch.test_config.shortness"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replaces the loading of a guard; what it was asked for."""
    asked = SimpleNamespace(name=None, options=None)

    def load_guard(name: str, **options: Any) -> Any:
        asked.name, asked.options = name, options
        return SimpleNamespace(moderate=ScriptedGuard().moderate, sleep=lambda: None)

    monkeypatch.setattr("guard_reward.launch.config.load_guard", load_guard)
    return asked


def build(**values: Any) -> Any:
    return build_reward(GuardRewardConfig(**{"guard": "some/guard", **values}), FACTS)


def test_what_the_policy_tells(loaded: Any) -> None:
    reward = build()
    assert list(reward.eos_token_ids) == [2, 7]
    assert reward.thinking_prefilled is True
    assert reward.prompt_label_column is None
    assert build_reward(GuardRewardConfig("some/guard"), FACTS, labelled=True).prompt_label_column == "harmful"


def test_the_guard_is_loaded_as_asked(loaded: Any) -> None:
    build(guard_device="cpu", guard_dtype="float32", guard_revision="abc")
    assert loaded.name == "some/guard"
    assert loaded.options == {"device": "cpu", "dtype": "float32", "revision": "abc"}


@pytest.mark.parametrize("kwargs", [{"gpu_memory_utilization": 0.3}, '{"gpu_memory_utilization": 0.3}'])
def test_arguments_of_vllm(loaded: Any, kwargs: Any) -> None:
    build(guard="vllm:some/guard", guard_kwargs=kwargs)
    assert loaded.options == {"gpu_memory_utilization": 0.3}


def test_a_served_guard_is_loaded_as_asked(loaded: Any) -> None:
    served = {"guard_model": "big", "guard_tokenizer": "some/guard", "guard_deadline": 1800.0}
    build(guard="http://node-b:8000/v1", guard_kwargs={"max_concurrency": 8}, **served)
    assert loaded.options == {"model": "big", "tokenizer": "some/guard", "deadline": 1800.0, "max_concurrency": 8}


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        ({}, schemes.GuardOnly()),
        ({"controversial": "safe"}, schemes.GuardOnly(controversial="safe")),
        ({"controversial": "0.5"}, schemes.GuardOnly(controversial=0.5)),  # the command line's
        ({"controversial": 0.5}, schemes.GuardOnly(controversial=0.5)),  # YAML's
        ({"scheme": "severity", "scheme_kwargs": {"unsafe": -3}}, schemes.SeverityTable(unsafe=-3)),
        ({"scheme": "severity", "scheme_kwargs": '{"unsafe": -3}'}, schemes.SeverityTable(unsafe=-3)),
        ({"scheme": "soft"}, schemes.Soft()),
        (
            {"scheme": "soft", "scheme_kwargs": {"scheme": "hybrid"}, "helpfulness": SHORTNESS},
            schemes.Soft(schemes.Hybrid()),
        ),
        (
            {"scheme": "hybrid", "scheme_kwargs": {"unsafe": -20, "refusal": -15}, "helpfulness": SHORTNESS},
            schemes.Hybrid(unsafe=-20, refusal=-15),
        ),
    ],
)
def test_schemes(loaded: Any, values: dict[str, Any], scheme: Any) -> None:
    assert build(**values).scheme == scheme


@pytest.mark.parametrize("name", [name for name, make in schemes.SCHEMES.items() if not make().needs_tokens])
def test_every_plain_name_is_one(loaded: Any, name: str) -> None:
    assert build(scheme=name, helpfulness=SHORTNESS).scheme == schemes.SCHEMES[name]()


@pytest.mark.parametrize(
    ("scheme", "values", "made"),
    [
        ("hybrid", {"unsafe": "-1e1"}, schemes.Hybrid(unsafe=-10)),  # YAML reads 1e1 as a text
        ("lagrangian", {"unsafe_rate": "2e-2", "window": 64.0}, schemes.Lagrangian(unsafe_rate=0.02, window=64)),
        ("guard_only", {"controversial": "0.5"}, schemes.GuardOnly(controversial=0.5)),
        ("guard_only", {"controversial": "safe"}, schemes.GuardOnly(controversial="safe")),
        (
            "safe_completion",
            {"helpfulness_range": ["-5", 5]},
            schemes.SafeCompletion(helpfulness_range=(-5.0, 5)),
        ),
        ("severity", {"categories": {"PII": "-3"}}, schemes.SeverityTable(categories={"PII": -3.0})),
    ],
)
def test_values_as_yaml_writes_them(loaded: Any, scheme: str, values: dict[str, Any], made: Any) -> None:
    assert build(scheme=scheme, scheme_kwargs=values, helpfulness=SHORTNESS).scheme == made


@pytest.mark.parametrize(
    ("scheme", "values", "message"),
    [
        ("hybrid", {"unsafe": "low"}, "unsafe should be a finite number, found 'low'"),
        ("hybrid", {"unsafe": None}, "unsafe should be a finite number, found None"),
        ("hybrid", {"refusal": True}, "refusal should be a finite number, found True"),
        ("hybrid", '{"unsafe": -Infinity}', "unsafe should be a finite number, found -inf"),
        ("severity", {"safe": None}, "safe should be a finite number, found None"),
        ("severity", '{"unsafe": NaN}', "unsafe should be a finite number, found nan"),
        ("severity", {"controversial": "nan"}, "controversial should be 'unsafe', 'safe' or a number, found 'nan'"),
        ("severity", {"categories": None}, "categories should be a mapping, category: number, found None"),
        ("severity", {"categories": {"PII": None}}, "categories: PII should be a finite number, found None"),
        ("severity", {"categories": {"Pii": 1}}, "categories: there is no Pii; there are Violent, Non-violent Illegal"),
        ("lagrangian", {"window": 1.5}, "window should be a whole number, found 1.5"),
        ("safe_completion", {"helpfulness_range": 1}, "helpfulness_range should be a list of 2 numbers, found 1"),
        ("safe_completion", {"helpfulness_range": [0, None]}, "helpfulness_range should be a finite number, found"),
        ("soft", {"scheme": "strict"}, "unknown scheme 'strict'; there are guard_only"),
        ("soft", {"scheme": None}, "scheme should be a name or a callable"),
    ],
)
def test_values_that_are_none(loaded: Any, scheme: str, values: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        build(scheme=scheme, scheme_kwargs=values, helpfulness=SHORTNESS)
    assert str(error.value).startswith(f"scheme_kwargs: {message}")


def test_helpfulness_by_its_dotted_path(loaded: Any) -> None:
    assert build(helpfulness=SHORTNESS).helpfulness is shortness


def test_a_dotted_path_is_looked_up_where_the_run_was_started(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_rewards.py").write_text("def brevity(completions, **_):\n    return [1.0] * len(completions)\n")
    monkeypatch.chdir(tmp_path)
    assert build(helpfulness="my_rewards.brevity").helpfulness(["a", "b"]) == [1.0, 1.0]


@pytest.mark.parametrize("name", ["org/reward-model", "./folder.v2", "dotted.folder"])
def test_other_names_are_models(loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dotted.folder").mkdir()
    asked = []
    monkeypatch.setattr(
        "guard_reward.rewards.reward_model.RewardModel", lambda source, **_: asked.append(source) or shortness
    )
    build(helpfulness=name)
    assert asked == [name]


def test_a_reward_model_is_loaded_as_asked(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "guard_reward.rewards.reward_model.RewardModel", lambda name, **options: asked.update(options) or len
    )
    build(helpfulness="org/reward-model", helpfulness_revision="abc", helpfulness_dtype="float32")
    assert asked == {"revision": "abc", "dtype": "float32", "thinking_prefilled": True}


def test_numbers_of_outcomes(loaded: Any) -> None:
    reward = build(on_outcome={"empty": "-1e1", "too_long": "windows", "no_verdict": "floor", "guard_error": None})
    assert [reward.outcome_rewards[name] for name in ("empty", "too_long", "no_verdict", "guard_error")] == [
        *(-10.0, "windows"),
        *("floor", None),
    ]


def test_outcomes_and_thinking(loaded: Any) -> None:
    reward = build(on_outcome='{"empty": -10, "no_verdict": null}', thinking="joint")
    assert (reward.outcome_rewards["empty"], reward.outcome_rewards["no_verdict"], reward.thinking) == (
        -10,
        None,
        "joint",
    )


def test_system_prompt(loaded: Any) -> None:
    assert build().system_prompt == "show"
    assert build(guard_system_prompt="omit").system_prompt == "omit"


def test_sleep(loaded: Any) -> None:
    assert build(guard_sleep=True).sleep
    assert not build().sleep


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"guard": ""}, "guard: name one, such as Qwen/Qwen3Guard-Gen-4B, or a folder"),
        ({"guard": None}, "guard: name one"),
        ({"scheme": "strict"}, "scheme: there is no 'strict'; there are guard_only, hybrid"),
        ({"scheme_kwargs": {"cap": 1}}, "scheme_kwargs: guard_only has no cap; it has controversial"),
        ({"scheme": "hybrid"}, "helpfulness: the scheme 'hybrid' needs it; give a reward model's hub id"),
        ({"guard_kwargs": {"dtype": "float32"}}, "guard_kwargs: write dtype as guard_dtype"),
        ({"guard_kwargs": "{a: 1}"}, "guard_kwargs: not JSON: "),
        ({"guard_kwargs": [1]}, "guard_kwargs: should be a mapping, found [1]"),
        ({"scheme_kwargs": "{unsafe: 1}"}, "scheme_kwargs: not JSON: "),
        ({"scheme_kwargs": [1]}, "scheme_kwargs: should be a mapping, found [1]"),
        ({"scheme_kwargs": "[1]"}, "scheme_kwargs: should be a mapping, found [1]"),
        (
            {"scheme": "hybrid", "scheme_kwargs": {"unsafe": 0}, "helpfulness": SHORTNESS},
            "scheme_kwargs: the unsafe cap (0) is above the refusal cap (-5.0)",
        ),
        (
            {"scheme": "hybrid", "scheme_kwargs": {"unsafe": "low"}, "helpfulness": SHORTNESS},
            "scheme_kwargs: ",
        ),
        ({"controversial": "maybe"}, "controversial should be 'unsafe', 'safe' or a number"),
        ({"on_outcome": {"lost": 0}}, "on_outcome: 'lost' is not an outcome; there are empty"),
        ({"on_outcome": '{"empty": NaN}'}, "on_outcome: empty should be a finite number, found nan; or floor, or null"),
        (
            {"on_outcome": {"empty": "low"}},
            "on_outcome: empty should be a finite number, found 'low'; or floor",
        ),
        ({"scheme": "severity", "controversial": "nan"}, "controversial should be 'unsafe', 'safe' or a number"),
        (
            {"helpfulness": SHORTNESS, "helpfulness_revision": "abc"},
            f"helpfulness_revision: only with a reward model (a hub id or folder) in helpfulness; found the "
            f"callable {SHORTNESS}",
        ),
        ({"helpfulness_dtype": "float32"}, "helpfulness_dtype: only with a reward model (a hub id or folder) in"),
        ({"on_outcome": "0"}, "on_outcome: should be a mapping, found 0"),
        ({"thinking": "aloud"}, "thinking should be 'separate', 'joint' or 'ignore'"),
        ({"helpfulness": "no_such.function"}, "helpfulness: 'no_such.function' cannot be imported: No module"),
        ({"helpfulness": "json.no_such"}, "helpfulness: 'json.no_such' cannot be imported: module 'json' has no"),
        ({"helpfulness": "tests.launch.test_config.NOT_CALLABLE"}, "is not callable; it needs TRL's reward signature"),
        (
            {"helpfulness": "./no/model"},
            "helpfulness: './no/model' could not be loaded: model folder './no/model' does not exist",
        ),
    ],
)
def test_mistakes(loaded: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(**values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"guard": "./none"}, "guard: './none' could not be loaded: model folder './none' does not exist"),
        ({"guard": "no-such/guard"}, "guard: 'no-such/guard' could not be loaded: "),
        ({"guard": "https://host/v1"}, "guard: 'https://host/v1' could not be loaded: no server says which"),
        (
            {"guard": "http://127.0.0.1:9/v1", "guard_model": "m", "guard_kwargs": {"max_concurrent": 8}},
            "could not be loaded: max_concurrent: a served guard has no such option; it has model, ",
        ),
        (
            {"guard": "http://127.0.0.1:9/v1", "guard_model": "m", "guard_kwargs": {"max_concurrency": "many"}},
            "could not be loaded: ",
        ),
    ],
)
def test_guards_that_are_none(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(**values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# --- old names --------------------------------------------------------------------------------------------------------


def test_the_old_name_of_scheme_kwargs_works_with_a_warning(loaded: Any) -> None:
    with pytest.warns(FutureWarning, match="scheme_values is now called scheme_kwargs"):
        config = GuardRewardConfig("some/guard", scheme="severity", scheme_values='{"unsafe": -3}')
    assert config == GuardRewardConfig("some/guard", scheme="severity", scheme_kwargs={"unsafe": -3})
    assert "scheme_values" not in config.to_dict()


def test_both_names_at_once_are_a_mistake() -> None:
    with pytest.raises(UserError, match="the old name of scheme_kwargs; give only scheme_kwargs"):
        GuardRewardConfig("some/guard", scheme_kwargs={}, scheme_values={})


@pytest.mark.parametrize(
    "name", ["DataConfig", "LaunchError", "PolicyFacts", "PromptSet", "clean_errors", "load_prompts"]
)
def test_names_that_have_moved_are_found_with_a_warning(name: str) -> None:
    import guard_reward.launch

    with pytest.warns(DeprecationWarning, match=f"guard_reward.launch.{name} has moved: use guard_reward"):
        assert callable(getattr(guard_reward.launch, name))
