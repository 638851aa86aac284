r"""Runs of an encoding in a text, decoded: Base64 and 32, hexadecimal, bits, percent signs, escapes, HTML entities.

A run is decoded only if it decodes to readable text, so that hashes, keys, colours and addresses stay as they are.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import urllib.parse

from guard_reward.text.words import readable

__all__ = ["decoded", "encoded_share"]

# Each takes linear time: what can follow a repeated part can not begin with it.
_BASE64 = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{6,}={0,6}(?![\w+/])")
_BASE32 = re.compile(r"[A-Z2-7]{16,}=*")
_HEX = re.compile(r"(?<!\w)(?:0x)?[0-9A-Fa-f]{2}(?:(?:, |[-\n ,.:;])?(?:0x)?[0-9A-Fa-f]{2}){7,}(?!\w)")
_BITS = re.compile(r"(?<!\w)[01]{7,8}(?:[ ,]?[01]{7,8}){3,}(?!\w)")
_ESCAPES = re.compile(r"(?:\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\u\{[0-9A-Fa-f]{1,4}\}|U\+[0-9A-Fa-f]{4} ?){3,}")
_LETTER = r"(?:[46][1-9A-Fa-f]|[57][0-9Aa])"  # the code of an ASCII letter, which no honest text escapes
_ESCAPED = re.compile(rf"&#[xX]0*{_LETTER};|&#(?:6[5-9]|[78]\d|90|9[7-9]|1[01]\d|12[012]);|\\u00{_LETTER}|\\x{_LETTER}")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2}[^\s%]*){3,}")
_ENTITIES = re.compile(r"(?:&#(?:\d{1,7}|[xX][0-9A-Fa-f]{1,6});? ?){3,}")
_LONG_WORD = re.compile(  # of no language, and no number
    r"(?<!\S)(?=[^\s]{0,80}[0-9])(?=[0-9]{0,80}[A-Za-z+/_-])[A-Za-z0-9+/_-]{40,}={0,6}(?!\S)"
)
_LETTERED_HEX = re.compile(  # no table of numbers, and no list of UUIDs
    r"(?<!\w)(?=[^A-Za-z]{0,80}[A-Fa-fx])(?:0x)?[0-9A-Fa-f]{2}(?:(?:, |[ ,:])?(?:0x)?[0-9A-Fa-f]{2}){7,}(?!\w)"
)
_RUNS = (_LONG_WORD, _LETTERED_HEX, _BITS, _ESCAPES, _PERCENT, _ENTITIES)
_LONG_TOKEN, _DIGITS = 40, 0.2  # without a long token and with few digits there is no run worth a look
_UNITS = re.compile(r"(?:\\u\{?|\\x|U\+)([0-9A-Fa-f]+)")
_DIGIT = re.compile(r"[0-9]")
_OF_NUMBERS = frozenset("-.;\n")  # separators that are also in numbers, and between them
_SEPARATORS = re.compile(r"0x|[-\n ,.:;]")
_READABLE = 0.9  # share of a decoded run's characters that are letters, digits, blanks and usual punctuation
_FEWEST = 2  # escaped letters that stand alone
_SHORT = 12  # letters of a run that could be a word
_ENGLISH = 0.5  # share of letters in words, where it is not sure that this is a run, or where it begins
_PUNCTUATION = frozenset(" \n\t.,;:!?'\"()-")


def decoded(text: str) -> str:
    r"""The text with its encoded runs as plain text.

    >>> decoded("Do this: aG93IHRvIG1ha2UgdGVh")
    'Do this: how to make tea'
    >>> decoded("686f7720746f206d616b6520746561, then how%20to%20make%20tea")
    'how to make tea, then how to make tea'
    """
    if "&#" in text:
        text = _ENTITIES.sub(lambda run: html.unescape(run[0]), text)
    if "\\" in text or "U+" in text:
        text = _ESCAPES.sub(lambda run: _unescaped(run[0]), text)
    if len(_ESCAPED.findall(text)) >= _FEWEST:
        text = _ESCAPED.sub(lambda one: html.unescape(one[0]) if one[0][0] == "&" else _unescaped(one[0]), text)
    if "%" in text:
        text = _PERCENT.sub(lambda run: _or_itself(_from_percent(run[0]), run[0]), text)
    if _DIGIT.search(text):  # in hexadecimal, every ASCII letter has one
        text = _BITS.sub(lambda run: _or_itself(_from_bits(run[0]), run[0]), text)
        text = _HEX.sub(lambda run: _from_hex(run[0]), text)
    return _BASE64.sub(lambda run: _from_base(run[0]), text)


def encoded_share(text: str) -> float:
    """The share of a text's characters in long runs of an encoding, whatever it decodes to, from 0 to 1.

    >>> encoded_share("c2FsdCBhbmQgcGVwcGVyLCBwbGVhc2UsIGFuZCBzb21lIHRlYQ=="), encoded_share("salt and pepper")
    (1.0, 0.0)
    """
    tokens = text.split()
    dense = sum(map(len, tokens))
    if max(map(len, tokens), default=0) < _LONG_TOKEN and sum(map(str.isdigit, text)) < _DIGITS * dense:
        return 0.0
    return max(sum(len("".join(run.split())) for run in runs.findall(text)) for runs in _RUNS) / dense


def _unescaped(run: str) -> str:
    units = [int(unit, 16) for unit in _UNITS.findall(run)]
    return b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "replace")


def _from_percent(run: str) -> bytes:
    return urllib.parse.unquote_to_bytes(run.encode(errors="replace"))  # halves of surrogate pairs have no UTF-8


def _from_bits(run: str) -> bytes:
    width = 7 if len(re.split("[ ,]", run)[0]) == 7 else 8
    bits = re.sub("[ ,]", "", run)
    return bytes(int(bits[start : start + width], 2) for start in range(0, len(bits) - width + 1, width))


def _from_hex(run: str) -> str:
    text = _or_itself(bytes.fromhex(_SEPARATORS.sub("", run)), run)
    is_sure = _OF_NUMBERS.isdisjoint(run) or readable(text) > _ENGLISH
    return text if is_sure else run


def _from_base(run: str) -> str:
    """A run of Base64 or 32 as text; of Base64 also with up to three characters in front that do not belong to it."""
    letters = run.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    if len(letters) < _SHORT:
        return _from_short_base64(letters, run)
    if _BASE32.fullmatch(run) and (text := _or_itself(_from_base32(run.rstrip("=")), run)) != run:
        return text
    for start in range(4):
        text = _or_itself(_from_base64(letters[start:]), run)
        if text != run and (start == 0 or readable(text) > _ENGLISH):
            return text
    return run


def _from_short_base64(letters: str, run: str) -> str:
    """A run that could be a word: as text only if that is one English word."""
    if letters.islower() or letters.istitle():
        return run
    text = _or_itself(_from_base64(letters), run)
    return text if text != run and text.isalpha() and len(text) > 3 and readable(text) == 1 else run


def _from_base64(letters: str) -> bytes:
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(letters + "=" * (-len(letters) % 4))


def _from_base32(letters: str) -> bytes:
    try:
        return base64.b32decode(letters + "=" * (-len(letters) % 8))
    except binascii.Error:
        return b""


def _or_itself(data: bytes, run: str) -> str:
    """The bytes as text if most of it is readable, else the run as it is: a wrong byte hides nothing."""
    is_wide = data[1::2].count(0) == len(data) // 2  # UTF-16 of ASCII
    text = (data[::2] if is_wide else data).decode(errors="replace")
    usual = sum(character.isalnum() or character in _PUNCTUATION for character in text)
    return text if usual >= max(_READABLE * len(text), 1) else run
