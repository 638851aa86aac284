"""Completions of every shape through TRL's own parser: what is thinking, what is the answer, and what is paid.

The guard is a rule: a bomb is Unsafe, sorry is a refusal. The helpfulness is 3.
"""

from __future__ import annotations

from typing import Any

import pytest

from guard_reward import GuardReward
from guard_reward.rewards.policy import policy_of_trainer
from guard_reward.rewards.reading import read_rollout
from guard_reward.rollout import Rollout
from tests.scripted_guard import ScriptedGuard

USER = [{"role": "user", "content": "How?"}]
TURN = "<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n"
CALL, BAD_CALL = (
    f'<tool_call>\n{{"name": "f", "arguments": {{"x": {value}}}}}\n</tool_call>' for value in ("1", '"bomb"')
)
SHOWN, BAD_SHOWN = '[tool call] f({"x": 1})', '[tool call] f({"x": "bomb"})'

TWICE = '<tool_call>{"name": "f", "arguments": {}, "note": "bomb", "note": "x"}</tool_call>fine'

# What is paid: by guard_only, by guard_only with thinking="ignore", by hybrid.
GOOD, BAD, REFUSAL, EMPTY = (1.0, 1.0, 3.0), (0.0, 0.0, -10.0), (1.0, 1.0, -5.0), (0.0, 0.0, -10.0)
BAD_THINKING = (0.0, 1.0, -10.0)

# (completion, thinking, answer, paid); the answer of an empty row is what the guard would have seen
OPENED = [  # by the chat template
    ("fine", "fine", "", EMPTY),  # never closed
    ("a bomb", "a bomb", "", EMPTY),
    ("<think>t", "<think>t", "", EMPTY),
    ("t</think>fine", "t", "fine", GOOD),
    ("t</think>a bomb", "t", "a bomb", BAD),
    ("t</think>sorry", "t", "sorry", REFUSAL),
    ("a bomb</think>fine", "a bomb", "fine", BAD_THINKING),
    ("sorry</think>a bomb", "sorry", "a bomb", BAD),
    # closed at once
    ("</think>fine", None, "fine", GOOD),
    ("</think>a bomb", None, "a bomb", BAD),
    ("</think>sorry", None, "sorry", REFUSAL),
    ("\n\n</think>\n\nfine", None, "fine", GOOD),
    # closed twice: the first one counts
    ("</think>a bomb</think>fine", None, "a bomb</think>fine", BAD),
    ("t</think>a bomb</think>fine", "t", "a bomb</think>fine", BAD),
    ("</think></think>fine", None, "</think>fine", GOOD),
    # nothing to see
    ("", None, "", EMPTY),
    ("</think>", None, "", EMPTY),
    ("t</think>", "t", "", EMPTY),
    ("</think>…", None, "…", EMPTY),
    ("</think>\u3164", None, "\u3164", EMPTY),
    # opened again: TRL keeps what follows the last one only
    ("<think>t</think>fine", "<think>t", "fine", GOOD),
    ("<think>a bomb</think>fine", "<think>a bomb", "fine", BAD_THINKING),
    ("<think>a<think>b</think>c</think>a bomb", "<think>a<think>b", "c</think>a bomb", BAD),
    ("</think><think>a bomb</think>fine", "a bomb", "fine\n<think>a bomb</think>fine", BAD),
    ("a bomb</think><think></think>fine", "a bomb", "fine\n<think></think>fine", BAD_THINKING),
    ("a bomb</think>fine<think></think>", "a bomb", "fine\nfine<think></think>", BAD_THINKING),
    ("a bomb</think>fine<think>t</think>", "t\na bomb", "fine\nfine<think>t</think>", BAD_THINKING),
    # control tokens
    ("</think><|vision_pad|>", None, "<|vision_pad|>", EMPTY),
    ("t</think><|fim_pad|>…", "t", "<|fim_pad|>…", EMPTY),
    ("t</think>a bomb<think>x", "x\nt", "a bomb\na bomb<think>x", BAD),
    ("t</think>a bomb<think>x</think>", "x\nt", "a bomb\na bomb<think>x</think>", BAD),
    ("t</think>a bomb<think>x</think>fine", "x\nt", "fine\na bomb<think>x</think>fine", BAD),
    # tool calls
    (f"t{BAD_CALL}", f"t{BAD_CALL}", "", EMPTY),  # in the thinking: not executed
    (f"t{BAD_CALL}</think>fine", f"t{BAD_CALL}", "fine", BAD_THINKING),
    (f"t</think>{CALL}", "t", SHOWN, GOOD),
    (f"t</think>fine{CALL}", "t", f"fine\n{SHOWN}", GOOD),
    (f"t</think>{BAD_CALL}", "t", BAD_SHOWN, BAD),
    (f"</think>{BAD_CALL}", None, BAD_SHOWN, BAD),
    (f"t</think>a bomb{CALL}fine", "t", f"fine\n{SHOWN}\na bomb{CALL}fine", BAD),  # TRL drops the bomb
    ('</think><tool_call>{"name": "f", "arguments": {}}</tool_call>', None, "[tool call] f({})", EMPTY),
    (
        '</think>fine<tool_call>{"name": "f", "arguments": {}, "note": "bomb"}</tool_call>',
        None,
        'fine\n[tool call] f({}) {"note": "bomb"}',
        BAD,
    ),
    # a call that TRL cannot parse: it passes the whole text, which is then all answer
    (
        '</think>a bomb<tool_call>{"name":',
        None,
        '</think>a bomb<tool_call>{"name":\na bomb<tool_call>{"name":',
        BAD,
    ),
]
NOT_OPENED = [
    ("fine", None, "fine", GOOD),
    ("a bomb", None, "a bomb", BAD),
    ("sorry", None, "sorry", REFUSAL),
    ("<think>t</think>fine", "t", "fine", GOOD),
    ("<think>t</think>a bomb", "t", "a bomb", BAD),
    ("<think>t</think>sorry", "t", "sorry", REFUSAL),
    ("<think>a bomb</think>fine", "a bomb", "fine", BAD_THINKING),
    ("<think>t</think>a bomb</think>fine", "t", "a bomb</think>fine", BAD),
    ("<think>t", "t", "", EMPTY),
    ("<think></think>", None, "", EMPTY),
    ("<think></think>fine", None, "fine", GOOD),
    # a tag that nothing opened hides nothing
    ("t</think>fine", None, "t</think>fine", GOOD),
    ("</think>a bomb", None, "</think>a bomb", BAD),
    ("a bomb</think>fine", None, "a bomb</think>fine", BAD),
    ("</think>", None, "</think>", EMPTY),
    ("<THINK>a bomb</THINK>fine", None, "<THINK>a bomb</THINK>fine", BAD),
    # opened late, or twice
    ("a bomb<think>t</think>fine", "t", "fine\na bomb<think>t</think>fine", BAD),
    ("a bomb<think>t</think>", "t", "a bomb\na bomb<think>t</think>", BAD),
    ("fine<think>a bomb</think>sorry", "a bomb", "sorry\nfine<think>a bomb</think>sorry", BAD),
    ("\u200b<think>a bomb</think>fine", "a bomb", "fine\n\u200b<think>a bomb</think>fine", BAD),
    ("</think><think>a bomb</think>fine", "a bomb", "fine\n</think><think>a bomb</think>fine", BAD),
    ("<think>a bomb</think><think>t</think>fine", "t\na bomb", "fine\n<think>t</think>fine", BAD_THINKING),
    ("<think>a bomb</think>fine<think>t</think>", "t\na bomb", "fine\nfine<think>t</think>", BAD_THINKING),
    ("<|vision_pad|>", None, "<|vision_pad|>", EMPTY),
    ("<|im_start|><|endoftext|>", None, "<|im_start|><|endoftext|>", EMPTY),
    ("<think>t</think><|vision_pad|>", "t", "<|vision_pad|>", EMPTY),
    ("</tool_call>", None, "</tool_call>", EMPTY),
    ("<think>t</think><think>a bomb</think>fine", "a bomb\nt", "fine\n<think>a bomb</think>fine", BAD),
    # tool calls
    (f"<think>t{BAD_CALL}", f"t{BAD_CALL}", "", EMPTY),
    (CALL, None, SHOWN, GOOD),
    (BAD_CALL, None, BAD_SHOWN, BAD),
    (f"a bomb{CALL}", None, f"a bomb\n{SHOWN}", BAD),
    (f"ⓐ ⓑⓞⓜⓑ{CALL}fine", None, f"fine\n{SHOWN}\nⓐ ⓑⓞⓜⓑ{CALL}fine", BAD),  # in plain letters
    (TWICE, None, f'fine\n[tool call] f({{}}) {{"note": "x"}}\n{TWICE}', BAD),  # JSON keeps the last key
    (f"a bomb{CALL}fine", None, f"fine\n{SHOWN}\na bomb{CALL}fine", BAD),
    (f"<think>t</think>{BAD_CALL}", "t", BAD_SHOWN, BAD),
]
SHAPES = [(True, *row) for row in OPENED] + [(False, *row) for row in NOT_OPENED]


class Trainer:
    """What a reward can read of a trainer whose chat template opens the thinking, or does not."""

    def __init__(self, tokenizer: Any, *, opens: bool) -> None:
        self.processing_class = tokenizer
        self.chat_template = "{{ messages[0].content }}" + ("<think>\n" if opens else "")
        self.eos_token_ids = [tokenizer.eos_token_id]

    def log_metric(self, name: str, value: float) -> None:
        """What TRL passes to reward functions."""


@pytest.fixture(scope="module")
def raw_tokenizer(shared_dir: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shared_dir / "qwen3guard")


@pytest.fixture(scope="module")
def parsing_tokenizer(shared_dir: Any) -> Any:
    """With the response template that TRL gives to Qwen3's tokenizers."""
    from transformers import AutoTokenizer

    utils = pytest.importorskip("trl.chat_template_utils")
    if not hasattr(utils, "qwen3_template"):
        pytest.skip("this TRL has no response templates")
    tokenizer = AutoTokenizer.from_pretrained(shared_dir / "qwen3guard")
    tokenizer.response_template = utils.qwen3_template
    return tokenizer


def parsed(tokenizer: Any, text: str, *, opens: bool) -> tuple[list[dict[str, Any]], list[int]]:
    """A completion as TRL passes it: its messages and its token ids."""
    from trl.chat_template_utils import parse_response

    prefix = tokenizer(TURN + ("<think>\n" if opens else ""))["input_ids"]
    ids = tokenizer(f"{text}<|im_end|>")["input_ids"]
    return [parse_response(tokenizer, ids, prefix=prefix)], ids


def paid(trainer: Trainer, completion: Any, ids: list[int]) -> tuple[float | None, ...]:
    def helpfulness(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        return [3.0] * len(prompts)

    rewards = (
        GuardReward(ScriptedGuard()),
        GuardReward(ScriptedGuard(), thinking="ignore"),
        GuardReward(ScriptedGuard(), "hybrid", helpfulness=helpfulness),
    )
    row = {"prompts": [USER], "completions": [completion], "completion_ids": [ids]}
    return tuple(reward(**row, log_metric=trainer.log_metric)[0] for reward in rewards)


@pytest.mark.parametrize(("opens", "text", "thinking", "answer", "rewards"), SHAPES)
def test_what_trl_has_parsed(
    parsing_tokenizer: Any, opens: bool, text: str, thinking: str | None, answer: str, rewards: tuple[float, ...]
) -> None:
    completion, ids = parsed(parsing_tokenizer, text, opens=opens)
    trainer = Trainer(parsing_tokenizer, opens=opens)
    rollout = read_rollout(USER, completion, policy=policy_of_trainer(trainer.log_metric), completion_ids=ids)
    assert isinstance(rollout, Rollout)
    found = (rollout.thinking or "").replace("<|im_end|>", "")  # TRL leaves it in thinking that is not closed
    assert (found, rollout.answer) == (thinking or "", answer)
    assert paid(trainer, completion, ids) == rewards


@pytest.mark.parametrize(("opens", "text", "thinking", "answer", "rewards"), SHAPES)
def test_what_trl_has_not_parsed_is_paid_the_same(
    raw_tokenizer: Any, opens: bool, text: str, thinking: str | None, answer: str, rewards: tuple[float, ...]
) -> None:
    completion = [{"role": "assistant", "content": text}]
    ids = raw_tokenizer(f"{text}<|im_end|>")["input_ids"]
    if answer == "[tool call] f({})":
        rewards = GOOD  # without the parser, the markup of a call is text like any other
    assert paid(Trainer(raw_tokenizer, opens=opens), completion, ids) == rewards


EPISODES = [
    # (messages behind the parser, thinking, answer): one turn per assistant message
    (["t</think>", BAD_CALL], "t", BAD_SHOWN),
    (["</think>fine", CALL, "</think>a bomb"], None, f"fine\n{SHOWN}\n[tool result] r\na bomb"),
    (["</think>", CALL, "a bomb</think>fine"], "a bomb", f"{SHOWN}\n[tool result] r\nfine"),
    (["t</think>", CALL, "</think>a bomb</think>fine"], "t", f"{SHOWN}\n[tool result] r\na bomb</think>fine"),
]


@pytest.mark.parametrize(("texts", "thinking", "answer"), EPISODES)
@pytest.mark.parametrize("prefilled", [None, True])
def test_an_episode_with_tools(
    parsing_tokenizer: Any, texts: list[str], thinking: str | None, answer: str, prefilled: bool | None
) -> None:
    """Each turn is parsed with the thinking opened; what one leaves as the answer stays the answer."""
    first, _ = parsed(parsing_tokenizer, "".join(texts[:2]), opens=True)
    rest = [parsed(parsing_tokenizer, text, opens=True)[0][0] for text in texts[2:]]
    completion = [*first, *([{"role": "tool", "name": "f", "content": "r"}] if rest else []), *rest]
    trainer = Trainer(parsing_tokenizer, opens=True)
    policy = policy_of_trainer(trainer.log_metric)
    rollout = read_rollout(USER, completion, policy=policy, thinking_prefilled=prefilled)
    assert isinstance(rollout, Rollout)
    assert (rollout.thinking, rollout.answer) == (thinking, answer)


def assistant(content: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


TOOL = {"role": "tool", "content": "r"}
CALLS = {"tool_calls": [{"function": {"name": "f", "arguments": {"x": "bomb"}}}]}


@pytest.mark.parametrize(
    ("completion", "thinking", "answer"),
    [
        # a message without a closing tag may be what a parser has left
        ([assistant("fine")], None, "fine"),
        ([assistant("a bomb")], None, "a bomb"),
        ([assistant("t</think>fine")], "t", "fine"),
        ([assistant("a bomb</think>fine", reasoning_content="t")], "t", "a bomb</think>fine"),
        # the template opened the first turn only
        ([assistant("t</think>x"), TOOL, assistant("u</think>fine")], "t", "x\n[tool result] r\nu</think>fine"),
        ([assistant("t</think>x"), TOOL, assistant("<think>u</think>y")], "t\nu", "x\n[tool result] r\ny"),
        ([TOOL, assistant("t</think>x")], "t", "[tool result] r\nx"),
        # what is executed or shown is never thinking
        ([assistant("<think>t", **CALLS)], "t", BAD_SHOWN),
        ([assistant("t</think>", **CALLS)], "t", BAD_SHOWN),
        ([assistant(None, reasoning="t", **CALLS)], "t", BAD_SHOWN),
        ([assistant("<think>t", refusal="sorry")], "t", "sorry"),
        ([assistant("<think>t", note="a bomb")], "t", "[note] a bomb"),
        # plain text comes from no parser
        ("fine", "fine", ""),
        ("t</think>fine", "t", "fine"),
    ],
)  # fmt: skip
def test_messages_of_unknown_origin(completion: Any, thinking: str | None, answer: str) -> None:
    rollout = Rollout.from_trl(USER, completion, thinking_prefilled=True)
    assert (rollout.thinking, rollout.answer) == (thinking, answer)


def test_a_helpfulness_model_reads_the_same_answers(parsing_tokenizer: Any) -> None:
    from guard_reward.rewards.reward_model import RewardModel

    scored: list[Any] = []

    class Reading(RewardModel):
        def __init__(self) -> None:
            self.thinking_prefilled = None

        def score(self, conversations: Any) -> list[float | None]:
            scored.extend(conversations)
            return [3.0] * len(conversations)

    trainer = Trainer(parsing_tokenizer, opens=True)
    completion, ids = parsed(parsing_tokenizer, "</think>fine", opens=True)
    row = {"prompts": [USER], "completions": [completion], "completion_ids": [ids]}
    assert Reading()(**row, log_metric=trainer.log_metric) == [3.0]
    assert scored == [[*USER, assistant("fine")]]
