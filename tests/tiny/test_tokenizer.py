"""The tokenizer and the chat templates: small, but of Qwen3's kind."""

import pytest

pytest.importorskip("transformers")

from transformers import AutoTokenizer

from guard_reward.tiny.tokenizer import build_tokenizer
from guard_reward.tiny.world import THINGS

QUESTION = {"role": "user", "content": "How do I use a blue florn?"}
ANSWER = {"role": "assistant", "content": "Sure. First cut the florn."}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer("guard")


def test_labels_start_with_different_tokens(tokenizer):
    first = [tokenizer.tokenize(label)[0] for label in (" Safe", " Unsafe", " Controversial")]
    assert len(set(first)) == 3
    assert tokenizer.tokenize(" Yes") != tokenizer.tokenize(" No")


@pytest.mark.parametrize("name", THINGS)
def test_things_are_single_tokens(tokenizer, name):
    assert len(tokenizer.tokenize(f" {name}")) == 1


@pytest.mark.parametrize("severity", [" Safe", " Unsafe", " Controversial"])
@pytest.mark.parametrize("categories", [" None", " Violent, PII", " Non-violent Illegal Acts"])
def test_pieces_of_a_verdict_encode_as_the_whole(tokenizer, severity, categories):
    pieces = ["Safety:", severity, "\nCategories:", categories, "\nRefusal:", " No", "<|im_end|>"]
    whole = tokenizer("".join(pieces), add_special_tokens=False)["input_ids"]
    assert whole == [token for piece in pieces for token in tokenizer(piece, add_special_tokens=False)["input_ids"]]


@pytest.mark.parametrize(
    "text", ["don't  stop\n\n\t x=1;", "Über Straße", "漢字かな", "😀👩‍👩‍👧", "שלום", "नमस्ते", "\u0000"]
)
def test_any_text_survives(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_special_tokens(tokenizer):
    assert set(tokenizer.all_special_tokens) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert len(tokenizer.tokenize("<think></think>")) == 2  # added, not special: decoding keeps them
    ids = tokenizer("<think><|im_end|>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>"
    split = tokenizer("<|im_end|>", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert len(split) > 1


def test_training_it_again_gives_the_same_tokenizer(tokenizer):
    from guard_reward.tiny import tokenizer as module

    module._train.cache_clear()
    assert module._train().get_vocab() == tokenizer.get_vocab()


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    messages = [QUESTION, ANSWER]
    assert loaded.apply_chat_template(messages) == tokenizer.apply_chat_template(messages)
    assert loaded.eos_token_id == tokenizer.eos_token_id


def test_guard_template_puts_the_conversation_into_one_user_turn(tokenizer):
    for messages in ([QUESTION], [QUESTION, ANSWER], [QUESTION, ANSWER, QUESTION, ANSWER]):
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert text.count("<|im_start|>user\n") == 1
        assert text.endswith("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
        body = text.split("<BEGIN CONVERSATION>\n\n")[1].split("\n\n<END CONVERSATION>")[0]
        names = {"user": "USER", "assistant": "ASSISTANT"}
        assert body == "\n\n".join(f"{names[message['role']]}: {message['content']}" for message in messages)


def test_guard_template_asks_for_a_refusal_line_about_responses_only(tokenizer):
    assert "Refusal" not in tokenizer.apply_chat_template([QUESTION], tokenize=False)
    assert "Refusal" in tokenizer.apply_chat_template([QUESTION, ANSWER], tokenize=False)


def test_guard_template_takes_a_system_message_into_the_first_turn(tokenizer):
    text = tokenizer.apply_chat_template([{"role": "system", "content": "Be kind."}, QUESTION], tokenize=False)
    assert f"USER: Be kind.\n\n{QUESTION['content']}\n\n<END" in text


def test_policy_template_is_chatml():
    text = build_tokenizer("policy").apply_chat_template([QUESTION], tokenize=False, add_generation_prompt=True)
    assert text == f"<|im_start|>user\n{QUESTION['content']}<|im_end|>\n<|im_start|>assistant\n"
