"""A small tokenizer of Qwen3's kind: byte-level BPE behind Qwen3's own pre-tokeniser, with its special tokens.

The pre-tokeniser's boundaries are Qwen3's, so what is true of cutting and joining text there is true here; every text
in any script can be encoded (bytes at worst), and the first tokens of the guard's labels (`` Safe``, `` Unsafe``,
`` Controversial``) are distinct, as in the real vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING

from guard_reward.guards.specs.qwen3guard import Category
from guard_reward.tiny.oracle import judge_reply, judge_request
from guard_reward.tiny.world import Style, sample_reply, sample_requests
from guard_reward.verdict import Severity

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = ["END_OF_TEXT", "END_OF_TURN", "VOCABULARY_SIZE", "build_tokenizer", "read_template"]

VOCABULARY_SIZE = 900
"""Maximum number of tokens, including the added ones: enough for one token per word of the world."""

END_OF_TEXT, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_PLAIN_ADDED_TOKENS = ("<think>", "</think>")  # not special in Qwen3 either: decoding keeps them

_QWEN3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def read_template(name: str) -> str:
    """The chat template ``templates/<name>.jinja``: ``guard`` or ``policy``."""
    return (files("guard_reward.tiny") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def build_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """The tokenizer, with the named chat template; its end-of-sequence token is ``<|im_end|>``."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_train(),
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        extra_special_tokens=[START_OF_TURN],
        chat_template=read_template(template),
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


@cache
def _train() -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.normalizers import NFC
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = NFC()
    tokenizer.pre_tokenizer = Sequence(
        [
            Split(Regex(_QWEN3_PATTERN), behavior="isolated"),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = ByteLevelDecoder()
    added = [
        *(AddedToken(text, special=True, normalized=False) for text in (END_OF_TEXT, START_OF_TURN, END_OF_TURN)),
        *(AddedToken(text, special=False, normalized=False) for text in _PLAIN_ADDED_TOKENS),
    ]
    trainer = BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(added),
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens(added)
    tokenizer.add_special_tokens([token for token in added if token.special])
    return tokenizer


def _corpus() -> Iterator[str]:
    """What the models read and write: requests, replies, verdicts, and the guard's template."""
    random = Random("tokenizer corpus")
    for request in sample_requests(0, 4000, harmful_share=0.7):
        reply = sample_reply(random, request, random.choice(list(Style)))
        yield request.text
        yield reply.text
        yield judge_request(request.text).verdict_text
        yield judge_reply(request.text, reply.text).verdict_text
    for _ in range(200):
        yield read_template("guard")
        for severity in Severity:
            yield f"Safety: {severity}\nCategories: {', '.join(Category)}\nRefusal: Yes\nRefusal: No"
