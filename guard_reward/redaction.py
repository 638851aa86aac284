"""Secrets in settings, commands and messages → ``HIDDEN``. Standard library only.

Two rules: what a name says (``api_key``, ``Authorization``), and what a text looks like (a token of a known form, the
user part or the signature of a URL, ``password=…``). Neither rule is complete: a secret without a telling name or form
stays.

The time is linear in the text's length: no pattern starts again within a run that it has read, or only a bounded way.
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


_PASSWORD_WORDS = _words(
    "dbpass dbpassword passphrase passwd password passwords pgpassword pwd secret sshpass userpass"
)
_SECRET_WORDS = _PASSWORD_WORDS | _words(
    "apikey apikeys accesskey accesstoken apitoken auth authorization authtoken bearer cookie cookies credential "
    "credentials creds hftoken jsessionid jwt jwts oauth phpsessid privatekey secretkey secrets sessionid sig webhook "
    "webhooks"
)
# "key" is a secret only behind one of these: there are label keys, sort keys and key columns.
_BEFORE_KEY = _words(
    "access account anthropic api azure client comet deploy encryption functions gemini google groq hf huggingface "
    "license master mistral neptune nvidia openai private replicate service shared ssh signing storage stripe "
    "subscription together wandb"
)
# "token" is one except beside these, where it is a piece of text; "tokens" only behind one of the second set.
_TEXT_TOKEN = _words(
    "audio bos budget call class classification cls count embedding end entropy eos id ids image index length level "
    "limit mask max min num pad per prob probability rate ratio sep size special start stop thinking turn type types "
    "unk video"
)
_BEFORE_TOKENS = _words("access api gh github gitlab hf hub huggingface refresh session")
# "pass" and "signature" are secrets only behind one of these: there are pass rates, second passes and type signatures.
_BEFORE_PASS = _words(
    "admin api basic db database email ftp http https imap ldap login mail mongo my mysql pg postgres proxy redis root "
    "smtp sql ssh user"
)
_BEFORE_SIGNATURE = _words("access amz goog oss request")
# Parameters of a URL that are secrets only there.
_SECRET_PARAMETERS = _words("assertion code hmac key pass policy pw sas sid sign signature ticket")

_RANDOM = r"(?=[a-z_]{0,60}+[A-Z0-9])"  # letters alone are an ordinary name: hf_datasets
_TOKEN_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    rf"hf_(?:{_RANDOM}[A-Za-z0-9]{{8,}}+|[a-z]{{16,}}+)"
    rf"|api_org_{_RANDOM}[A-Za-z0-9]{{8,}}+"
    r"|gh[oprsu]_[A-Za-z0-9]{6,}+|github_pat_\w{6,}+|glpat-[\w-]{6,}+"
    rf"|sk[-_](?:[a-z0-9]++[-_]){{0,3}}{_RANDOM}[A-Za-z0-9_-]{{12,}}+|sk-[A-Za-z0-9]{{16,}}+"
    r"|[rp]k_(?:live|test)_[A-Za-z0-9]{6,}+|whsec_[A-Za-z0-9+/]{16,}+"  # Stripe
    rf"|(?:gsk|r8|dop_v1)_{_RANDOM}[A-Za-z0-9]{{8,}}+|nvapi-[\w-]{{8,}}+|xai-[A-Za-z0-9]{{16,}}+"
    r"|SG\.[\w-]{6,200}+\.[\w-]{6,}+"  # SendGrid
    r"|(?:AKIA|ASIA)[A-Z0-9]{8,}+|AIza[\w-]{20,}+|ya29\.[\w-]{8,}+"
    r"|xox[a-z]-[\w-]{6,}+|xapp-[\w-]{6,}+|npm_[A-Za-z0-9]{20,}+|pypi-[\w-]{20,}+|wandb_v\d++_\w{8,}+"
    r"|eyJ[\w-]{4,2000}+\.[\w-]{4,}+(?:\.[\w-]*+)*+"  # a JSON web token
    r")"
)
# Addresses that are secrets themselves: whoever knows them may post there.
_SECRET_PATH = re.compile(
    r"(//(?:hooks\.slack\.com/(?:services|workflows|triggers)/|(?:\w{1,20}\.)?discord(?:app)?\.com/api/(?:v\d{1,3}/)?webhooks/"
    r"|[\w.-]{0,80}webhook\.office\.com/|api\.telegram\.org/(?:file/)?bot))"
    r"""[^\s"'<>?#]+""",
    re.IGNORECASE,
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_URL = re.compile(r"""//[^\s"'<>]++""")  # up to the end of the word: a password may have "/" and "@"
_URL_LOGIN = re.compile(r"//[^/@:]*+:(?!\d*+(?:[/?#]|\Z)).")  # user:…; a ":" that begins a port is none
_URL_PORT = re.compile(r"//[^/@:.]++:\d++/")  # behind a name without a dot: a port, or the digits of a password
_AT_HOST = re.compile(r"@[\w-]++[./:]")
_URL_HOST = re.compile(r"//[^/?#]++")
_HEADER = re.compile(
    # A list or an object in JSON is read later, as one.
    r"""(\b(?:proxy-)?authorization["']?\s*+[:=]\s*+["']?|\b(?:set-)?cookie["']?\s*+:\s*+["']?)(?![\[{])[^"'\r\n]+""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer\s+)(?!of\b|tokens?\b|auth)[\w.~+/=-]+", re.IGNORECASE)
# Of curl; behind docker's -u are numbers.
_USER_OPTION = re.compile(r"(?<!\S)(-u[ \t]|--user[ =])(?!\d+:\d+(?!\S))[^\s:]{1,80}:\S+")
_BASIC = re.compile(r"\b(basic\s+)([A-Za-z0-9+/]{4,}={0,2})(?![A-Za-z0-9+/=])", re.IGNORECASE)
# name=value, "name": value, --name value; in JSON within JSON, with a backslash before each quote.
_NAME = re.compile(
    r"""(?<![\w.-])(?P<lead>[.-]*+)(?P<quote>\\{0,8}["']|)(?P<name>\w[\w.-]*+)(?P=quote)"""
    r"""(?:\s*+(?P<sign>[=:])\s*+|[ \t]++)"""
)
_WORD = r"""[^\s"'&;,{}\[\]()]++"""
_STRING = r""""(?:[^"\\]|\\.)*+(?:"|\Z)|'(?:[^'\\]|\\.)*+(?:'|\Z)"""
_QUOTED = rf"""{_STRING}|(?P<mark>\\{{1,8}}["'])(?:(?!(?<!\\)(?P=mark)).)*+(?:(?P=mark)|\Z)"""
_VALUE = re.compile(rf"{_QUOTED}|{_WORD}", re.DOTALL)
# A password may have blanks: it ends at a separator, at the end of the line, or where an option or a name begins.
_PASSPHRASE = re.compile(rf"{_QUOTED}|{_WORD}(?:[ \t]++(?!-|[\w.-]++\s*+[=:]){_WORD})*+", re.DOTALL)
_BRACKETS = re.compile(rf"{_STRING}|[\[{{]|[\]}}]", re.DOTALL)
_SCALAR = re.compile(rf"(?P<key>(?:{_STRING})\s*+:)|{_STRING}|{_WORD}", re.DOTALL)  # within brackets
_MARK = re.compile(r"""\\*["']""")
_DIGIT = re.compile(r"\d")
_PROSE_SEEN = 1000  # characters of a value that are looked at to tell prose from a secret
_COMPOUND = re.compile(r"[a-z][A-Z]|[_-]")
_INNOCENT_VALUES = frozenset(("", "none", "null", "true", "false", HIDDEN.lower()))
_LABEL = re.compile(r"-{0,2}[A-Za-z][\w.-]{0,80}")
_LABEL_KEYS = _words("env field header key name option parameter variable")
_VALUE_KEYS = _words("default val value values")


def is_secret_name(name: str) -> bool:
    """Whether a setting, header or option with this name holds a secret.

    >>> [is_secret_name(name) for name in ("hub_token", "--wandb-api-key", "X-Auth-Token", "accessKey", "passwd")]
    [True, True, True, True, True]
    >>> [is_secret_name(name) for name in ("eos_token_ids", "max_new_tokens", "token_budget", "tokenizer", "author")]
    [False, False, False, False, False]
    """
    words = _words_of(name)
    around = zip(["", *words], words, [*words[1:], ""], strict=False)
    return any(_is_secret_word(*three) for three in around)


def _words_of(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _is_secret_word(before: str, word: str, after: str) -> bool:
    if word in ("key", "keys"):
        return before in _BEFORE_KEY
    if word == "token":
        return not {before, after} & _TEXT_TOKEN
    if word in ("tokens", "pat"):
        return before in _BEFORE_TOKENS
    if word == "pass":
        return before in _BEFORE_PASS
    if word == "signature":
        return before in _BEFORE_SIGNATURE
    if word == "auth":
        return after not in ("method", "mode", "type")
    if word == "session":
        return after in ("id", "key")
    return word in _SECRET_WORDS


def redacted_text(text: str) -> str:
    """`text` with everything that looks like a secret replaced.

    >>> redacted_text("https://me:abc@host/x?token=abc, Authorization: Bearer abc, key hf_0123456789")
    'https://HIDDEN@host/x?token=HIDDEN, Authorization: HIDDEN'
    >>> redacted_text("https://bucket/train.parquet?versionId=3&X-Amz-Signature=abc")
    'https://bucket/train.parquet?versionId=3&X-Amz-Signature=HIDDEN'
    """
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _URL.sub(_without_login, text)
    text = _SECRET_PATH.sub(rf"\g<1>{HIDDEN}", text)
    text = _HEADER.sub(rf"\g<1>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<1>{HIDDEN}", text)
    text = _USER_OPTION.sub(rf"\g<1>{HIDDEN}", text)
    text = _BASIC.sub(_redacted_basic, text)
    text = _URL.sub(_without_login, _without_pairs(text))  # again: a hidden value may have had the end of a URL in it
    return _TOKEN_FORMS.sub(HIDDEN, text)


def _without_login(match: re.Match[str]) -> str:
    """A URL from its ``//`` on, without what stands before the "@"; the rest may hold further URLs."""
    url = match[0]
    kept, place, last = [], 0, url.rfind("@")
    last_with_host = max((found.start() for found in _AT_HOST.finditer(url)), default=-1)
    while (start := url.find("//", place)) >= 0:
        end = start + 2
        if _is_login(url, start, last, last_with_host):
            end = last
        elif host := _URL_HOST.match(url, start):
            end = max(end, url.rfind("@", start, host.end()))
        kept.append(url[place : start + 2])
        kept.append(HIDDEN if end > start + 2 else "")
        place = end
    return "".join((*kept, url[place:]))


def _is_login(url: str, start: int, last: int, last_with_host: int) -> bool:
    """Whether user:password, up to the last "@", stands at `start`."""
    if login := _URL_LOGIN.match(url, start):
        return login.end() <= last
    # "//user:123/abc@host/" is a login; "//host:8000/a@b" and what stands behind "localhost:8000/" is none.
    port = _URL_PORT.match(url, start)
    return bool(port and port.end() <= last_with_host and "localhost" not in port[0])


def _redacted_basic(match: re.Match[str]) -> str:
    """``Basic`` and user:password in base64; "Basic English" is something else."""
    try:
        is_login = b":" in base64.b64decode(match[2], validate=True)
    except (binascii.Error, ValueError):
        is_login = False
    return f"{match[1]}{HIDDEN}" if is_login else match[0]


def _without_pairs(text: str) -> str:
    """`text` without the values of ``name=value``, ``name: value`` and ``--name value`` whose name is a secret's."""
    kept, place = [], 0
    while name := _NAME.search(text, place):
        kept.append(text[place : name.end()])
        place = name.end()
        if _names_a_secret(name) and not _begins_a_pair(text, place):
            value = _value_at(text, place, name["name"])
            place += len(value)
            kept.append(_SCALAR.sub(_hidden_scalar, value) if value[:1] in ("[", "{") else _hidden(value))
    return "".join((*kept, text[place:]))


def _names_a_secret(name: re.Match[str]) -> bool:
    text, place = name.string, name.end()
    if not is_secret_name(name["name"]):
        is_parameter = name["sign"] == "=" and text[max(name.start() - 1, 0) : name.start()] in ("?", "&", ";")
        return is_parameter and bool(_SECRET_PARAMETERS & set(_words_of(name["name"])[-1:]))
    if not name["sign"]:
        return name["lead"] == "--" and not name["quote"] and text[place : place + 1] != "-"
    # Prose has colons too ("the password: never tell it"), but seldom behind such a name or before such a value.
    is_prose = name["sign"] == ":" and not name["quote"] and not _COMPOUND.search(name["name"])
    return not is_prose or bool(_DIGIT.search(_value_at(text[place : place + _PROSE_SEEN], 0, "")))


def _begins_a_pair(text: str, place: int) -> bool:
    """Whether another secret's name stands where a value is looked for: the value is missing, as in YAML."""
    name = _NAME.match(text, place)
    return bool(name and name["sign"] and is_secret_name(name["name"]))


def _value_at(text: str, place: int, name: str) -> str:
    """The value that begins at `place`: a word, a quoted text, a list or an object; empty if there is none."""
    if text[place : place + 1] in ("[", "{"):
        return text[place : _closing(text, place)]
    has_blanks = not _PASSWORD_WORDS.isdisjoint(_words_of(name)) or "pass" in _words_of(name)
    value = (_PASSPHRASE if has_blanks else _VALUE).match(text, place)
    return value[0] if value else ""


def _closing(text: str, place: int) -> int:
    """Where the list or object that begins at `place` ends; the end of the text if it is not closed."""
    depth = 0
    for match in _BRACKETS.finditer(text, place):
        depth += (match[0] in "[{") - (match[0] in "]}")
        if not depth:
            return match.end()
    return len(text)


def _hidden_scalar(match: re.Match[str]) -> str:
    return match[0] if match["key"] else _hidden(match[0])


def _hidden(value: str) -> str:
    """``HIDDEN`` in the value's quotes; null, true and false stay."""
    if value.strip("\\\"'").lower() in _INNOCENT_VALUES:
        return value
    quoted = _MARK.match(value)
    mark = quoted[0] if quoted else ""
    return f"{mark}{HIDDEN}{mark}"


def redacted(value: Any) -> Any:
    """JSON values without secrets, at any depth: by the names of keys, and by what texts look like.

    Under a secret key all texts and numbers are hidden. Null, true and false stay: they say whether there is a secret.

    >>> redacted({"api_key": "abc", "auth": {"user": "me"}, "eos_token": "<end>", "urls": ["http://me:abc@host"]})
    {'api_key': 'HIDDEN', 'auth': {'user': 'HIDDEN'}, 'eos_token': '<end>', 'urls': ['http://HIDDEN@host']}
    """
    return _redacted(value, is_secret=False)


def _redacted(value: Any, *, is_secret: bool) -> Any:
    if isinstance(value, Mapping):
        return _redacted_mapping(value, is_secret=is_secret)
    if isinstance(value, (list, tuple)):
        return _redacted_list(value, is_secret=is_secret)
    if value is None or isinstance(value, bool):
        return value
    if is_secret:
        return HIDDEN
    return redacted_text(value) if isinstance(value, str) else value


def _redacted_mapping(values: Mapping[Any, Any], *, is_secret: bool) -> dict[Any, Any]:
    # {"name": "api_key", "value": …}
    is_labelled = any(_is_secret_label(found) for key, found in values.items() if str(key).lower() in _LABEL_KEYS)
    return {
        redacted_text(key) if isinstance(key, str) else key: _redacted(
            found,
            is_secret=is_secret or is_secret_name(str(key)) or (is_labelled and str(key).lower() in _VALUE_KEYS),
        )
        for key, found in values.items()
    }


def _redacted_list(values: Sequence[Any], *, is_secret: bool) -> list[Any]:
    if not is_secret and any(_is_secret_option(entry) for entry in values) and all(isinstance(e, str) for e in values):
        return redacted_command(values)
    is_pair = len(values) == 2 and _is_secret_label(values[0])  # ["X-Api-Key", …]
    return [_redacted(entry, is_secret=is_secret or (is_pair and place == 1)) for place, entry in enumerate(values)]


def _is_secret_label(value: Any) -> bool:
    return isinstance(value, str) and bool(_LABEL.fullmatch(value)) and is_secret_name(value)


def _is_secret_option(value: Any) -> bool:
    return _is_secret_label(value) and value.startswith("-")


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
        is_secret = _is_secret_option(name)
        is_first = is_value = is_secret and not equals
        shown = HIDDEN if is_secret and equals else _redacted_value(value)
        if _LABEL.fullmatch(name):
            kept.append(f"{redacted_text(name)}{equals}{shown}")
        else:  # no option, but a text that may begin with dashes: a key in PEM form, options in one word
            kept.append(_redacted_value(argument))
    return kept


def _is_option(name: str, options: Collection[str], *, or_unknown: bool) -> bool:
    known = name.lstrip("-").replace("-", "_") in options
    is_option = name.startswith("--") and _LABEL.fullmatch(name) is not None
    return known or (is_option and (or_unknown or is_secret_name(name)))


def _redacted_value(text: str) -> str:
    """`text`; if it is JSON with a secret in it, as JSON without."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return redacted_text(text)
    hidden = redacted(value)
    return redacted_text(text if hidden == value else json.dumps(hidden, ensure_ascii=False))
