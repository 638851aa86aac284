"""Secrets in settings, commands and messages → ``HIDDEN``. Standard library only.

Two rules: what a name says (``api_key``, ``Authorization``), and what a text looks like (a token of a known form, the
user part of a URL, ``password=…``). Neither rule is complete: a secret without a telling name or form stays.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["HIDDEN", "is_secret_name", "redacted", "redacted_command", "redacted_text"]

HIDDEN = "HIDDEN"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # of snake_case, kebab-case and camelCase


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SECRET_WORDS = _words(
    "apikey apikeys accesskey accesstoken apitoken auth authorization authtoken bearer cookie cookies credential "
    "credentials creds hftoken passphrase passwd password passwords privatekey pwd secret secretkey secrets"
)
# "key" is a secret only behind one of these: there are label keys, sort keys and key columns.
_BEFORE_KEY = _words(
    "access account anthropic api azure comet deploy encryption hf huggingface license neptune openai private service "
    "ssh signing subscription wandb"
)
# "token" is one except beside these, where it is a piece of text; "tokens" only behind one of the second set.
_TEXT_TOKEN = _words(
    "audio bos budget class classification cls count embedding end eos id ids image index length level limit mask max "
    "min num pad per prob probability rate ratio sep size special start stop type types unk video"
)
_BEFORE_TOKENS = _words("access api gh github gitlab hf hub huggingface refresh session")

_RANDOM = r"(?=\w*[A-Z0-9])"  # letters alone are an ordinary name: hf_datasets
_TOKEN_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    rf"hf_(?:{_RANDOM}[A-Za-z0-9]{{8,}}|[a-z]{{16,}})"
    rf"|api_org_{_RANDOM}[A-Za-z0-9]{{8,}}"
    r"|gh[oprsu]_[A-Za-z0-9]{6,}|github_pat_\w{6,}|glpat-[\w-]{6,}"
    rf"|sk[-_](?:[a-z0-9]+[-_]){{0,3}}{_RANDOM}[A-Za-z0-9_-]{{12,}}|sk-[A-Za-z0-9]{{16,}}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{8,}|AIza[\w-]{20,}|ya29\.[\w-]{8,}"
    r"|xox[a-z]-[\w-]{6,}|xapp-[\w-]{6,}|npm_[A-Za-z0-9]{20,}|pypi-[\w-]{20,}|wandb_v\d+_\w{8,}"
    r"|eyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)*"  # a JSON web token
    r")"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
# user:password up to the last "@", since a password may have "@" and "/" (a ":" that begins a port is none); else what
# stands before the last "@" of the host.
_URL_USER = re.compile(r"""//(?:[^\s/@:"'<>]*:(?!\d*(?:[/?#\s]|\Z))[^\s"'<>]+|[^\s/?#"'<>]+)@""")
_HEADER = re.compile(
    r"""(\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?|\b(?:set-)?cookie["']?\s*:\s*["']?)[^"'\r\n]+""", re.IGNORECASE
)
_BEARER = re.compile(r"\b(bearer\s+)(?!of\b|tokens?\b|auth)[\w.~+/=-]+", re.IGNORECASE)
_BASIC = re.compile(r"\b(basic\s+)([A-Za-z0-9+/]{4,}={0,2})(?![A-Za-z0-9+/=])", re.IGNORECASE)
_NAME = re.compile(r"""(?<![\w-])(?:--?)?(?P<quote>["']?)(?P<name>[A-Za-z][\w.-]*)(?P=quote)\s*(?P<sign>[=:])\s*""")
_VALUE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"'&;,{}\[\]()]+""")
_COMPOUND = re.compile(r"[a-z][A-Z]|[_-]")
_INNOCENT_VALUES = frozenset(("none", "null", "true", "false", HIDDEN.lower()))


def is_secret_name(name: str) -> bool:
    """Whether a setting, header or option with this name holds a secret.

    >>> [is_secret_name(name) for name in ("hub_token", "--wandb-api-key", "X-Auth-Token", "accessKey", "passwd")]
    [True, True, True, True, True]
    >>> [is_secret_name(name) for name in ("eos_token_ids", "max_new_tokens", "token_budget", "tokenizer", "author")]
    [False, False, False, False, False]
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    around = zip(["", *words], words, [*words[1:], ""], strict=False)
    return any(_is_secret_word(*three) for three in around)


def _is_secret_word(before: str, word: str, after: str) -> bool:
    if word in ("key", "keys"):
        return before in _BEFORE_KEY
    if word == "token":
        return not {before, after} & _TEXT_TOKEN
    if word == "tokens":
        return before in _BEFORE_TOKENS
    return word in _SECRET_WORDS


def redacted_text(text: str) -> str:
    """`text` with everything that looks like a secret replaced.

    >>> redacted_text("https://me:abc@host/x?token=abc, Authorization: Bearer abc, key hf_0123456789")
    'https://HIDDEN@host/x?token=HIDDEN, Authorization: HIDDEN'
    """
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _URL_USER.sub(f"//{HIDDEN}@", text)
    text = _HEADER.sub(rf"\g<1>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<1>{HIDDEN}", text)
    text = _BASIC.sub(_redacted_basic, text)
    return _TOKEN_FORMS.sub(HIDDEN, _without_pairs(text))


def _redacted_basic(match: re.Match[str]) -> str:
    """``Basic`` and user:password in base64; "Basic English" is something else."""
    try:
        is_login = b":" in base64.b64decode(match[2], validate=True)
    except (binascii.Error, ValueError):
        is_login = False
    return f"{match[1]}{HIDDEN}" if is_login else match[0]


def _without_pairs(text: str) -> str:
    """`text` without the values of ``name=value`` and ``name: value`` whose name is a secret's."""
    kept, place = [], 0
    while name := _NAME.search(text, place):
        kept.append(text[place : name.end()])
        place = name.end()
        value = _VALUE.match(text, place)
        if value and _is_secret_pair(name, value[0]):
            mark = value[0][0] if value[0][0] in "\"'" else ""
            kept.append(f"{mark}{HIDDEN}{mark}")
            place = value.end()
    return "".join((*kept, text[place:]))


def _is_secret_pair(name: re.Match[str], value: str) -> bool:
    if not is_secret_name(name["name"]) or value.strip("\"'").lower() in _INNOCENT_VALUES:
        return False
    # Prose has colons too ("the password: never tell it"), but seldom behind such a name or before such a value.
    is_prose = name["sign"] == ":" and not name["quote"] and not _COMPOUND.search(name["name"])
    return not is_prose or any(character.isdigit() for character in value)


def redacted(value: Any) -> Any:
    """JSON values without secrets, at any depth: by the names of keys, and by what texts look like.

    Under a secret key all texts and numbers are hidden. Null, true and false stay: they say whether there is a secret.

    >>> redacted({"api_key": "abc", "auth": {"user": "me"}, "eos_token": "<end>", "urls": ["http://me:abc@host"]})
    {'api_key': 'HIDDEN', 'auth': {'user': 'HIDDEN'}, 'eos_token': '<end>', 'urls': ['http://HIDDEN@host']}
    """
    return _redacted(value, is_secret=False)


def _redacted(value: Any, *, is_secret: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            redacted_text(key) if isinstance(key, str) else key: _redacted(
                found, is_secret=is_secret or is_secret_name(str(key))
            )
            for key, found in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redacted(entry, is_secret=is_secret) for entry in value]
    if value is None or isinstance(value, bool):
        return value
    if is_secret:
        return HIDDEN
    return redacted_text(value) if isinstance(value, str) else value


def redacted_command(arguments: Sequence[str], options: Collection[str] = ()) -> list[str]:
    """A command line without its secrets.

    Args:
        arguments: the program's words.
        options: names of all options, as far as known. A word behind a secret option is its value, even if it begins
            with ``--``, unless it is a known option or has a secret's name itself: then the first one was a flag.

    >>> redacted_command(["grpo.py", "--hub_token", "abc", "--seed=1", "--model_init_kwargs", '{"token": "abc"}'])
    ['grpo.py', '--hub_token', 'HIDDEN', '--seed=1', '--model_init_kwargs', '{"token": "HIDDEN"}']
    >>> redacted_command(["grpo.py", "--use_token", "--wandb_api_key", "abc"])
    ['grpo.py', '--use_token', '--wandb_api_key', 'HIDDEN']
    """
    kept: list[str] = []
    is_first = is_value = False  # whether this word is the first, or any, value of a secret option
    for argument in arguments:
        name, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
        if is_value and not _is_option(name, options, or_unknown=not is_first):
            kept.append(HIDDEN)
            is_first = False
            continue
        is_secret = is_secret_name(name)
        is_first = is_value = is_secret and not equals
        shown = HIDDEN if is_secret and equals else _redacted_value(value)
        kept.append(f"{redacted_text(name)}{equals}{shown}")  # the name too: a key in PEM form begins with dashes
    return kept


def _is_option(name: str, options: Collection[str], *, or_unknown: bool) -> bool:
    known = name.lstrip("-").replace("-", "_") in options
    return known or (name.startswith("--") and (or_unknown or is_secret_name(name)))


def _redacted_value(text: str) -> str:
    """`text`; if it is JSON with a secret in it, as JSON without."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return redacted_text(text)
    hidden = redacted(value)
    return redacted_text(text if hidden == value else json.dumps(hidden, ensure_ascii=False))
