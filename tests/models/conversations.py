"""Templates and conversations that the tests of prompting share."""

from __future__ import annotations

from hypothesis import strategies as st

SPECIAL = [  # every token that Qwen3's tokenizer marks special
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
]
ADDED = [  # its other added tokens
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>", "<|fim_prefix|>"),
    *("<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
]

# Templates of the same character: text in, all turns shown, nothing escaped.
TEMPLATES = {
    "qwen3guard": None,  # the tokenizer's own
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n"
    ),
    # Contents right beside each other: what one message begins the next could complete.
    "joined": "<|im_start|>{% for m in messages %}{{ m.content }}{% endfor %}<|im_end|>",
    "trimmed": "<|im_start|>{% for m in messages %}{{ m.content | trim }}|{% endfor %}<|im_end|>",
}

PIECES = st.sampled_from([*SPECIAL, *ADDED, "<|im_", "end|>", "<", "|", ">", "<|", "|>", " ", "\n", "\ue000", "a", "é"])
TEXTS = st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=6).map("".join))
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXTS), max_size=3)


def exchange(prompt, answer):
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def by_template(prompter, messages):
    return prompter.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
