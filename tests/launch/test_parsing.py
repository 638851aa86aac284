"""YAML file and command line: who has the last word, what is said about mistakes, what the help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from trl import GRPOConfig, ModelConfig, TrlParser

from guard_reward.errors import UserError, clean_errors
from guard_reward.launch import GuardRewardConfig, parse
from guard_reward.launch.parsing import make_parser
from guard_reward.prompts import DataConfig, PromptSet
from guard_reward.redaction import HIDDEN, is_secret_name, redacted_command

CLASSES = (GuardRewardConfig, DataConfig, GRPOConfig, ModelConfig)
YAML = """
model_name_or_path: some/policy
guard: some/guard
scheme: severity
scheme_kwargs: {unsafe: -3}
datasets:
  - {path: a.jsonl, harmful: true}
learning_rate: 1.0e-5
bf16: false
output_dir: out
chat_template_kwargs: {enable_thinking: false}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    path = tmp_path / "run.yaml"
    path.write_text(YAML)
    return path


def read(file: Path, *arguments: str) -> Any:
    return parse(CLASSES, "A recipe.\n\nexamples:\n  one", ["--config", str(file), *arguments])


def test_a_file(file: Path) -> None:
    guard, data, args, model = read(file)
    assert (guard.guard, guard.scheme, guard.scheme_kwargs) == ("some/guard", "severity", {"unsafe": -3})
    assert data.datasets == [PromptSet("a.jsonl", harmful=True)]
    assert (args.learning_rate, args.bf16, args.chat_template_kwargs) == (1e-5, False, {"enable_thinking": False})
    assert model.model_name_or_path == "some/policy"


def test_the_command_line_has_the_last_word(file: Path) -> None:
    guard, data, args, _ = read(
        file,
        *("--scheme_kwargs", '{"unsafe": -5}', "--learning_rate", "3e-6", "--guard_sleep", "true"),
        *("--datasets", "b.jsonl", "c.jsonl", "--guard-revision", "abc"),
    )
    assert (guard.scheme_kwargs, guard.guard_sleep, guard.guard_revision) == ({"unsafe": -5}, True, "abc")
    assert data.datasets == [PromptSet("b.jsonl"), PromptSet("c.jsonl")]
    assert args.learning_rate == 3e-6


def test_one_set_in_its_short_form(file: Path) -> None:
    _, data, _, _ = read(file, "--dataset_name", "b.jsonl", "--prompt_column", "text", "--harmful", "is_harmful")
    assert data.datasets == [PromptSet("b.jsonl", prompt_column="text", harmful="is_harmful")]


def test_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    guard, *_ = parse(CLASSES, "A recipe.", ["--guard", "g", "--output_dir", "out", "--bf16", "false"])
    assert guard.guard == "g"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hub_tok", "x"], "unknown option(s) on the command line: hub_tok (see --help)"),
        (["--hub-to=x"], "unknown option(s) on the command line: hub-to (see --help)"),
        (["-t", "x"], "unknown option(s) on the command line: ['-t', 'x'] (see --help)"),
        (["--gaurd", "x"], "unknown option(s) on the command line: gaurd (see --help)"),
        (["--learning_rate", "fast"], "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
        (["--thinking", "aloud"], "argument --thinking: invalid choice: 'aloud'"),
        (["--num_generations", "3"], "generation_batch_size (8) must be divisible by num_generations (3)."),
        (["--scheme_kwargs", "{"], "scheme_kwargs: not JSON"),
    ],
)
def test_mistakes_on_the_command_line(file: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        read(file, *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (YAML + "gaurd: x\nepsilonn: 3\n", "unknown option(s) in the config file: gaurd, epsilonn (see --help)"),
        (YAML.replace("guard: some/guard\n", ""), "the following arguments are required: --guard"),
        (YAML + "a: [1", "while parsing a flow sequence"),
        ("just words", "must contain a YAML mapping"),
    ],
)
def test_mistakes_in_the_file(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read(file)
    assert message in str(error.value)


def test_a_file_behind_an_equals_sign(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard, _, args, _ = parse(CLASSES, "A recipe.", [f"--config={file}", "--seed=3"])
    assert (guard.guard, args.seed) == ("some/guard", 3)
    monkeypatch.setattr("sys.argv", ["recipe.py", f"--config={file}"])
    assert parse(CLASSES, "A recipe.")[0].guard == "some/guard"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("datasets: {path: a.jsonl}", "datasets: should be a list, found a mapping; begin each prompt set with"),
        ("datasets: [{path: null}]", "datasets: each entry needs a path, found {'path': None}"),
        ("datasets: [{path: a.jsonl, limit: 1.5}]", "a.jsonl: limit should be a whole number of rows, found 1.5"),
        ("datasets: [{path: a.jsonl, split: null}]", "a.jsonl: split should be a text such as train, found None"),
    ],
)
def test_prompt_sets_that_are_none(file: Path, line: str, message: str) -> None:
    file.write_text(YAML.replace("datasets:\n  - {path: a.jsonl, harmful: true}", line))
    with pytest.raises(UserError) as error:
        read(file)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "sets"),
    [
        ("eval_datasets: null", []),
        ("eval_datasets: b.jsonl", [PromptSet("b.jsonl")]),
        ("eval_datasets: [{path: b.jsonl, harmful: 1}]", [PromptSet("b.jsonl", harmful=True)]),
    ],
)
def test_evaluation_prompts(file: Path, line: str, sets: list[PromptSet]) -> None:
    file.write_text(f"{YAML}\n{line}\n")
    assert read(file)[1].eval_datasets == sets


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"No such file or directory: 'none\.yaml'"):
        parse(CLASSES, "A recipe.", ["--config", "none.yaml"])
    with pytest.raises(UserError, match="--config needs the path of a YAML file"):
        parse(CLASSES, "A recipe.", ["--config"])


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({"WORLD_SIZE": "2"}, ["--use_cpu", "false"], "2 processes were launched, but each one counts 1"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, ["--use_cpu", "true"], "use_cpu: true switches DeepSpeed off"),
    ],
)
def test_processes_that_got_lost(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: list[str],
    message: str,
) -> None:
    read(file)  # accelerate reads the environment once
    monkeypatch.setattr("transformers.TrainingArguments.world_size", 1)
    if "ACCELERATE_USE_DEEPSPEED" in environment:
        pytest.importorskip("deepspeed")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        read(file, *arguments)


@pytest.mark.parametrize(
    ("deepspeed", "defaults"), [("false", {"use_cpu": True}), ("true", {"ddp_backend": "gloo", "use_cpu": False})]
)
def test_what_ranks_on_a_cpu_need(monkeypatch: pytest.MonkeyPatch, deepspeed: str, defaults: dict[str, Any]) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", deepspeed)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    parser = make_parser(CLASSES, "A recipe.")
    assert (parser.get_default("ddp_backend"), parser.get_default("use_cpu")) == (None, False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    parser = make_parser(CLASSES, "A recipe.")
    assert {name: parser.get_default(name) for name in defaults} == defaults
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    assert make_parser(CLASSES, "A recipe.").get_default("ddp_backend") is None


def test_help_has_our_options_first_and_the_examples_last() -> None:
    text = make_parser(CLASSES, "A recipe.\n\nexamples:\n  one\n  two").format_help()
    places = [text.index(part) for part in ("A recipe.", "the guard and its reward:", "prompts:", "--learning_rate")]
    assert places == sorted(places)
    assert text.rstrip().endswith("examples:\n  one\n  two")
    assert text.startswith("usage: ")
    assert "--config FILE.yaml" in text


def test_a_mistake_ends_the_program_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, clean_errors():
        raise UserError("guard: name one")
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: guard: name one\n"


@pytest.mark.parametrize(
    ("environment", "prefix"),
    [
        ({"RANK": "0", "LOCAL_RANK": "0"}, ""),
        ({"RANK": "5", "LOCAL_RANK": "5"}, "[rank 5] "),
        ({"RANK": "8", "LOCAL_RANK": "0"}, "[rank 8] "),  # the first of the second machine
        ({"LOCAL_RANK": "1"}, "[rank 1] "),
    ],
)
def test_every_rank_says_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], prefix: str
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit), clean_errors():
        raise UserError("guard: out of\nmemory")
    assert capsys.readouterr().err == f"{prefix}error: guard: out of memory\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="a bug"), clean_errors():
        raise ValueError("a bug")


NOTHING = [
    ("helpfulness", 0),
    ("scheme_kwargs", 0),
    ("on_outcome", 0),
    ("controversial", 0),
    ("guard_revision", 0),
    ("dataset_name", 1),
    ("eval_steps", 2),  # a number
    ("delta", 2),
    ("reward_weights", 2),  # a list
    ("chat_template_kwargs", 2),
    ("hub_private_repo", 2),  # true or false
    ("hub_model_id", 2),
    ("attn_implementation", 3),
    ("lora_target_modules", 3),
]


@pytest.mark.parametrize("word", ["None", "none", "null"])
@pytest.mark.parametrize(("name", "place"), NOTHING)
def test_none_is_nothing_for_an_option_that_may_be_unset(file: Path, name: str, place: int, word: str) -> None:
    assert getattr(read(file, f"--{name}", word)[place], name) is None
    assert getattr(read(file, f"--{name}={word}")[place], name) is None
    file.write_text(f"{YAML}\n{name}: {word}\n")  # of two lines YAML takes the last
    assert getattr(read(file)[place], name) is None


def test_the_old_name_of_scheme_kwargs_may_be_nothing(file: Path) -> None:
    assert read(file, "--scheme_values", "null")[0].scheme_kwargs == {"unsafe": -3}


@pytest.mark.parametrize(
    ("name", "word", "kept"),
    [
        ("guard", "none", "none"),  # a folder of that name: a guard is needed
        ("guard", "None", "None"),
        ("scale_rewards", "none", "none"),
        *(("resume_from_checkpoint", word, "none") for word in ("none", "None", "null")),
        *(("report_to", word, []) for word in ("none", "None", "null")),  # transformers' own reading of none
    ],
)
def test_options_for_which_none_is_a_word_keep_it(file: Path, name: str, word: str, kept: Any) -> None:
    def found(*arguments: str) -> Any:
        guard, _, args, _ = read(file, *arguments)
        return getattr(guard if name == "guard" else args, name)

    assert found(f"--{name}", word) == kept
    file.write_text(f"{YAML}\n{name}: '{word}'\n")
    assert found() == kept
    if name in ("resume_from_checkpoint", "report_to"):
        file.write_text(f"{YAML}\n{name}: null\n")
        assert found() == kept


def test_a_word_in_a_longer_list_is_an_entry(file: Path) -> None:
    assert read(file, "--lora_target_modules", "null", "q_proj")[3].lora_target_modules == ["null", "q_proj"]


@pytest.mark.parametrize("name", ["guard_revision", "helpfulness"])
@pytest.mark.parametrize("word", ["Nonesuch", "nil", "./none"])
def test_other_words_are_read_as_before(file: Path, name: str, word: str) -> None:
    assert getattr(read(file, f"--{name}", word)[0], name) == word


@pytest.mark.parametrize(("name", "word"), [("eval_steps", "nine"), ("delta", "no")])
def test_other_words_are_no_numbers(file: Path, name: str, word: str) -> None:
    with pytest.raises(UserError, match=f"argument --{name}.*: invalid float value: '{word}'"):
        read(file, f"--{name}", word)


@pytest.fixture(scope="module")
def parser() -> TrlParser:
    return make_parser(CLASSES, "A recipe.")


def test_every_spelling_of_a_secret_option_is_one_that_the_record_hides(parser: TrlParser) -> None:
    """No abbreviation is read (see the mistakes above), and no option has a short form."""
    spellings = [
        spelling for action in make_parser(CLASSES, "A recipe.")._actions for spelling in action.option_strings
    ]
    assert [spelling for spelling in spellings if not spelling.startswith("--")] == ["-h"]
    assert [spelling for spelling in spellings if is_secret_name(spelling)] == ["--hub_token", "--hub-token"]


@pytest.mark.parametrize("before", [[], ["--push_to_hub"], ["--bf16", "false"], ["--lora_target_modules", "a", "b"]])
@pytest.mark.parametrize("after", [[], ["--push_to_hub"], ["--seed", "1"]])
@pytest.mark.parametrize("secret", ["key", "-5", "--a key", "", "none of=it"])
@pytest.mark.parametrize("form", ["--hub_token", "--hub-token", "--hub_token=", "--hub-token="])
def test_a_secret_that_the_parser_takes_is_hidden_and_nothing_else(
    parser: TrlParser, before: list[str], after: list[str], secret: str, form: str
) -> None:
    own = [f"{form}{secret}"] if form.endswith("=") else [form, secret]
    hidden = [f"{form}{HIDDEN}"] if form.endswith("=") else [form, HIDDEN]
    found, unknown = parser.parse_known_args(["--guard", "g", *before, *own, *after])
    assert (found.hub_token, unknown) == (secret, [])
    assert redacted_command([*before, *own, *after], options=vars(found)) == [*before, *hidden, *after]
