"""A guard family that the library does not know: two labels, an answer in JSON, a fixed prompt."""

from guard_reward import GuardSpec, Severity
from guard_reward.guards.answer import AnswerFormat, Labels

VERDICT_JSON = GuardSpec(
    name="verdict-json",
    response_answer=AnswerFormat(
        '{"violation": "<severity>"}', severity=Labels({"no": Severity.SAFE, "yes": Severity.UNSAFE})
    ),
    chat_template=(
        "<|im_start|>user\nDoes the last message break the rules?\n"
        "{% for message in messages %}{{ message.role | upper }}: {{ message.content }}\n{% endfor %}"
        "<|im_end|>\n<|im_start|>assistant\n"
    ),
    roles=("user", "assistant"),
    turn_labels={"user": "USER: ", "assistant": "ASSISTANT: "},
    name_pattern="verdict-json",
)
