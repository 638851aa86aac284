"""A tokenizer for a guard of a chosen shape (`shaped_guard`), where the real one cannot be downloaded.

Its ids are Qwen3's for the pieces of a verdict and for the special tokens. Every other id of the vocabulary is one
made-up word with a blank in front of it, such as `` zubab``, so that text has exactly as many tokens as it has words,
and what a policy with random weights samples can be read back to the same ids. Its chat template for a guard has the
lengths of Qwen3Guard's: 267 tokens in front of the first message, 124 behind the last.

It looks words up, where the real one merges pairs of bytes. Measured on a CPU, both take about 3 µs per token.
"""

from __future__ import annotations

import re
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from shaped_guard import END, INPUT_END

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = ["PREFIX_TOKENS", "SUFFIX_TOKENS", "sample_text", "shaped_tokenizer", "word"]

PREFIX_TOKENS, SUFFIX_TOKENS = 267, 124  # of Qwen3Guard's template for responses
_VOCABULARY_SIZE = 151936
_UNKNOWN = "\ufffd"
# Qwen3's tokens of which verdicts are made.
_PIECES = {
    **{"Safety": 73037, ":": 25, "\n": 198, "Categories": 20970, "Ref": 3945, "usal": 35414, ",": 11, " None": 2240},
    **{" Yes": 7414, " No": 2308, " Safe": 22291, " Cont": 2093, "rovers": 12563, "ial": 530, " Unsafe": 73067},
    **{" Viol": 29455, "ent": 306, " Non": 11581, "-viol": 75727, " Illegal": 15038, " Acts": 48818, " Sexual": 38667},
    **{" Content": 8883, " or": 476, " P": 393, "II": 5543, " Suicide": 64800, " &": 609, " Self": 10115, "-H": 11278},
    **{"arm": 2178, " Un": 1230, "ethical": 74842, " Polit": 15928, "ically": 2673, " S": 328, "ensitive": 18723},
    **{" Topics": 40894, " Copyright": 2955, "ation": 367, " Jail": 56146, "break": 8960},
}
# What templates are made of, and single characters; their ids are free.
_OTHERS = {
    **{"\n\n": INPUT_END, "USER": 1, "ASSISTANT": 2, "user": 3, "assistant": 4, "PROMPT": 5, "RESPONSE": 6},
    **{_UNKNOWN: 7, "<think>": 151667, "</think>": 151668},
    **{character: 1_000 + ord(character) for character in map(chr, range(32, 127)) if character not in _PIECES},
}
_SPECIAL = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": END}
_GUARD_TEMPLATE = r"""
{{- '<|im_start|>user\n' -}}
{{- 'PROMPT' if messages[-1].role == 'user' else 'RESPONSE' -}}
{{- prefix -}}
{%- for message in messages -%}
    {{- '\n\nUSER:' if message.role == 'user' else '\n\nASSISTANT:' -}}{{- message.content -}}
{%- endfor -%}
{{- suffix -}}
{{- '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n' -}}
"""
_POLICY_TEMPLATE = r"""
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


def word(token_id: int) -> str:
    """The word of a token id, with its blank.

    >>> word(0), word(6000)
    (' babab', ' babob')
    """
    consonants, vowels = "bcdfghjklmnpqrstvwxz", "aeiou"
    letters, rest = "", token_id
    for alphabet in (consonants, vowels, consonants, vowels, consonants):
        rest, place = divmod(rest, len(alphabet))
        letters += alphabet[place]
    return " " + letters


def sample_text(rng: Random, tokens: int) -> str:
    """Made-up words, one token each."""
    return "".join(map(word, rng.choices(_words(), k=tokens)))


def shaped_tokenizer(*, is_guard: bool) -> PreTrainedTokenizerFast:
    """The tokenizer, with the guard's chat template or with a policy's (ChatML)."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(),
        unk_token=_UNKNOWN,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=["<|im_start|>"],
        chat_template=_guard_template() if is_guard else _POLICY_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _guard_template() -> str:
    """Filled with words to Qwen3Guard's lengths; the tokens that the template has itself count."""
    rng = Random("template")
    # In front: <|im_start|> user \n RESPONSE … \n\n USER :   Behind: … <|im_end|> \n and eight more
    lengths = {"prefix": PREFIX_TOKENS - 7, "suffix": SUFFIX_TOKENS - 9}
    texts = {name: sample_text(rng, count) for name, count in lengths.items()}
    return "".join(f"{{%- set {name} = '{text}' -%}}\n" for name, text in texts.items()) + _GUARD_TEMPLATE.lstrip()


@cache
def _words() -> list[int]:
    """Ids of ordinary words; neither the marker nor a verdict's pieces are among them."""
    pieces = set(_PIECES.values())
    return [token for token in range(6_000, 60_000) if token not in pieces]


@cache
def _tokenizer() -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    named = {**_PIECES, **_OTHERS, **_SPECIAL}
    taken = set(named.values())
    vocabulary = {word(token): token for token in range(_VOCABULARY_SIZE) if token not in taken} | named
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    longest_first = sorted({**_PIECES, **_OTHERS}, key=len, reverse=True)
    pattern = "|".join([r" [a-z]{5}(?![a-z])", *map(re.escape, longest_first), r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer
