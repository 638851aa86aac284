"""Ways to write a sentence so that a guard may not read it: name → function from plain to disguised text."""

from __future__ import annotations

import base64
import codecs
import urllib.parse
from collections.abc import Callable, Mapping
from string import ascii_lowercase

from guard_reward.text.morse import _LETTERS

__all__ = ["DISGUISES", "letters"]

_MORSE = {letter: code for code, letter in _LETTERS.items()}
_CYRILLIC = str.maketrans("aeopcyxAEOPCTHKM", "аеорсухАЕОРСТНКМ")
_LEET = str.maketrans("aeiost", "431057")
_SMALL_CAPITALS = dict(zip(map(ord, ascii_lowercase), "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡxʏᴢ", strict=True))
_UPSIDE_DOWN = dict(zip(map(ord, ascii_lowercase), "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz", strict=True))
_BRAILLE = dict(zip(map(ord, ascii_lowercase), "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵", strict=True))
_ATBASH = str.maketrans(ascii_lowercase, ascii_lowercase[::-1])


def letters(text: str) -> str:
    """What a lossy disguise keeps: letters in lower case."""
    return "".join(filter(str.isalpha, text.lower()))


def shifted(start: str) -> Callable[[str], str]:
    """Lower-case letters from a block of Unicode."""
    return lambda text: "".join(
        chr(ord(start) + ord(one) - 97) if one in ascii_lowercase else one for one in text.lower()
    )


def each(between: str, words: str) -> Callable[[str], str]:
    """Spelled out, with these between letters and words."""
    return lambda text: words.join(between.join(word) for word in text.rstrip(".").split())


def _places(text: str, between: str) -> str:
    return " ".join(
        between.join(str(ord(one) - 96) for one in word)
        for word in text.lower().translate({44: None, 46: None}).split()
    )


DISGUISES: Mapping[str, Callable[[str], str]] = {
    "zero width": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: "\u00ad".join(text),
    "bidi marks": lambda text: "\u202e".join(text),
    "strike": lambda text: "".join(one + "\u0336" for one in text),
    "zalgo": lambda text: "".join(one + "\u0301\u0320\u0311" for one in text),
    "tags": lambda text: "".join(chr(ord(one) + 0xE0000) for one in text),
    "variation selectors": lambda text: "🙂" + "".join(chr(0xE0100 + ord(one) - 16) for one in text),
    "comment": lambda text: f"Tea is good.<!-- {text} -->",
    "comment inside words": lambda text: text.replace("e", "e<!-- x -->"),
    "hidden element": lambda text: f'<span style="color: red; display: none">{text}</span>',
    "title of a link": lambda text: f'See [tea](https://a.b/c "{text}").',
    "definition": lambda text: f"\n[//]: # ({text})\n",
    "homoglyphs": lambda text: text.translate(_CYRILLIC),
    "fullwidth": shifted("ａ"),
    "bold": shifted("𝐚"),
    "script": shifted("𝓪"),
    "circled": shifted("ⓐ"),
    "squared": shifted("🅰"),
    "regional": lambda text: "\u200b".join(shifted("🇦")(text)),
    "small capitals": lambda text: text.lower().translate(_SMALL_CAPITALS),
    "accents": lambda text: text.translate(str.maketrans("aeiou", "åéîöü")),
    "upside down": lambda text: text.lower().translate(_UPSIDE_DOWN)[::-1],
    "leet": lambda text: text.translate(_LEET),
    "spelled, blanks": each(" ", "  "),
    "spelled, blanks only": each(" ", " "),
    "spelled, hyphens": each("-", " "),
    "spelled, dots": each(".", " "),
    "spelled, commas": each(", ", " / "),
    "without blanks": lambda text: "".join(filter(str.isalpha, text)).lower(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, shifted": lambda text: "x" + base64.b64encode(text.encode()).decode(),
    "base64, lines": lambda text: base64.encodebytes((text + " ").encode() * 4).decode(),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "hex, blanks": lambda text: text.encode().hex(" "),
    "hex, hyphens": lambda text: text.encode().hex("-"),
    "hex, lines": lambda text: text.encode().hex("\n"),
    "base64, many signs": lambda text: base64.b64encode(text.encode()).decode().rstrip("=") + "=" * 7,
    "hex, 0x": lambda text: ", ".join(f"0x{byte:02X}" for byte in text.encode()),
    "bits": lambda text: " ".join(f"{byte:08b}" for byte in text.encode()),
    "bits, dense": lambda text: "".join(f"{byte:08b}" for byte in text.encode()),
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent, blanks": urllib.parse.quote,
    "escapes": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "escapes, bytes": lambda text: "".join(f"\\x{ord(one):02x}" for one in text),
    "escapes, braces": lambda text: "".join(f"\\u{{{ord(one):x}}}" for one in text),
    "code points": lambda text: " ".join(f"U+{ord(one):04X}" for one in text),
    "some escapes": lambda text: text.replace("e", "\\u0065").replace("o", "&#111;"),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base64 in an address": lambda text: "https://a.b/?q=" + base64.b64encode(text.encode()).decode(),
    "halves of flags": lambda text: " ".join(shifted("🇦")(letters(text))),
    "entities": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "entities, hex": lambda text: "".join(f"&#x{ord(one):x};" for one in text),
    "codes": lambda text: " ".join(str(ord(one)) for one in text),
    "places": lambda text: _places(text, "-"),
    "morse": lambda text: " / ".join(" ".join(_MORSE[one] for one in word) for word in text.lower().split()),
    "braille": lambda text: text.lower().translate(_BRAILLE),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "caesar 3": lambda text: "".join(chr((ord(one) - 94) % 26 + 97) if one.isalpha() else one for one in text.lower()),
    "atbash": lambda text: text.lower().translate(_ATBASH),
    "backwards": lambda text: text[::-1],
    "words backwards": lambda text: " ".join(word[::-1] for word in text.split()),
    "rot13 in base64": lambda text: base64.b64encode(codecs.encode(text, "rot13").encode()).decode(),
    "base64 in hex": lambda text: base64.b64encode(text.encode()).hex(),
    "backwards base64": lambda text: base64.b64encode(text[::-1].encode()).decode(),
}
