"""Redaction: a secret behind a telling name or of a known form is never seen again, ordinary values stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from guard_reward.redaction import HIDDEN, is_secret_name, redacted, redacted_command, redacted_text
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text, json_value, words

_NAMES = words(
    """
    token hub_token HF_TOKEN --hub-token apiKey api_key WANDB_API_KEY password db_password
    DB_PASS secret clientSecret Authorization X-Auth-Token auth credentials aws_secret_access_key private_key
    cookie session_id
    """
)
_ORDINARY = words(
    """
    seed learning_rate output_dir eos_token max_new_tokens tokenizer sort_key author pass_rate
    """
)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SHAPES = [
    *("{name}={secret}", "{name}: {secret}", "{name} = {secret}", '"{name}": "{secret}"', "'{name}': '{secret}'"),
    *('{{"{name}": "{secret}", "seed": 1}}', '{{"a": {{"{name}": ["{secret}"]}}}}', "--{name}={secret}"),
    *("--{name} {secret}", "https://h/x?{name}={secret}&a=1", '{{\\"{name}\\": \\"{secret}\\"}}', "{name}='{secret}'"),
    *(
        '{{\\"{name}\\": [\\"{secret}\\", \\"{secret}\\"]}}',
        '{{"{name}": {{"a": "x", "b": "{secret}"}}}}',
        "{name}: [{secret}]",
    ),
]
_KNOWN_FORMS = [
    *("hf_{0}", "ghp_{0}", "sk-proj-{0}", "glpat-{0}", "AKIA{0}", "xoxb-{0}", "npm_{0}", "nvapi-{0}"),
    *("https://me:{0}@host/x", "https://{0}@host/x", "Authorization: Bearer {0}", "Bearer {0}"),
    *("https://hooks.slack.com/services/{0}", "https://h/x?X-Amz-Signature={0}", "curl -u me:{0} http://h"),
    "-----BEGIN PRIVATE KEY-----\n{0}\n-----END PRIVATE KEY-----",
]


class Planted(NamedTuple):
    """A text with a secret at a place where it must be found."""

    text: str
    secret: str


def _secret(random: Random) -> str:
    length = random.randrange(20, 40)  # the shortest of the known forms has that many
    return "Q7" + "".join(random.choices(_LETTERS, k=length)) + "9zX"


def _make_planted(random: Random) -> Planted:
    secret = _secret(random)
    if random.random() < 0.4:
        shown = secret.upper() if (form := random.choice(_KNOWN_FORMS)).startswith("AKIA") else secret
        return Planted(_around(random, form.format(shown)), shown)
    name = random.choice(_NAMES)
    return Planted(_around(random, random.choice(_SHAPES).format(name=name.lstrip("-"), secret=secret)), secret)


def _around(random: Random, text: str) -> str:
    """Other lines around it: what is in the same line may have quotes and names of its own."""
    before, after = (hostile_text(random, 4).replace('"', "").replace("'", "") for _ in range(2))
    return f"{before}\n{text}\n{after}"


def _check_planted(planted: Planted) -> None:
    shown = redacted_text(planted.text)
    require(planted.secret not in shown, "a secret is hidden", shown)
    require(HIDDEN in shown, "and it is said", shown)
    require(planted.secret not in redacted_text(shown), "also the second time")
    require(planted.secret not in json.dumps(redacted({"note": planted.text})), "in a value too")
    require(planted.secret not in "".join(redacted_command(["x.py", planted.text])), "in a command too")


def _check_text(text: str) -> None:
    shown = redacted_text(text)
    require(isinstance(shown, str), "a text stays a text")
    if HIDDEN not in shown:
        require(shown == text, "nothing is changed but secrets", shown)
    is_secret_name(text)


def _make_value(random: Random) -> Any:
    return json_value(random, depth=5)


def _check_value(value: Any) -> None:
    secret = "Q7kVbn2x9zXw4T"
    shown = redacted({"note": value, "api_key": secret, "nested": [{"password": {"a": [secret, value]}}]})
    require(secret not in repr(shown), "what stands under a secret's name is hidden")
    require(list(shown) == ["note", "api_key", "nested"], "keys stay")
    for before, after in zip(_leaves(value), _leaves(shown["note"]), strict=True):
        require(after == HIDDEN or type(after) is type(before), "a value keeps its type", before, after)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


class Command(NamedTuple):
    """A command line with a secret behind one of its options."""

    words: list[str]
    secret: str
    options: tuple[str, ...]


def _make_command(random: Random) -> Command:
    secret = _secret(random)
    option = f"--{random.choice(_NAMES).lstrip('-')}"
    given = [f"{option}={secret}"] if random.random() < 0.5 else [option, secret]
    others = [[f"--{random.choice(_ORDINARY)}", hostile_text(random, 3)] for _ in range(random.randrange(3))]
    words = [word for pair in (*others, given) for word in pair]
    return Command(["train.py", *words], secret, tuple(_ORDINARY) if random.random() < 0.5 else ())


def _check_command(command: Command) -> None:
    shown = redacted_command(command.words, command.options)
    require(len(shown) == len(command.words), "every word stays a word", shown)
    require(command.secret not in " ".join(shown), "the value of a secret option is hidden", shown)


TARGETS = [
    Target("redaction-secrets", _make_planted, _check_planted, share=20),
    Target("redaction-texts", lambda random: hostile_text(random, 30), _check_text, share=50),
    Target("redaction-values", _make_value, _check_value, share=30),
    Target("redaction-commands", _make_command, _check_command, share=30),
]
