"""Whether a prompt asks for another language than its own: a translation, or an answer in a language that it names."""

from __future__ import annotations

import re

from guard_reward.text.clipping import clipped

__all__ = ["asks_for_language"]

# In English, and as speakers of the language call it.
_LANGUAGES = (
    "arabic|armenian|bengali|bulgarian|chinese|mandarin|cantonese|croatian|czech|danish|dutch|english|estonian|finnish|"
    "french|georgian|german|greek|hebrew|hindi|hungarian|indonesian|italian|japanese|kazakh|korean|latvian|lithuanian|"
    "malay|norwegian|persian|farsi|polish|portuguese|punjabi|romanian|russian|serbian|slovak|spanish|swedish|tamil|"
    "telugu|thai|turkish|ukrainian|urdu|vietnamese|"
    "deutsch|englisch|französisch|spanisch|russisch|chinesisch|japanisch|arabisch|"
    "français|anglais|allemand|espagnol|russe|chinois|japonais|arabe|"
    "español|inglés|francés|alemán|ruso|chino|japonés|"
    "italiano|inglese|francese|tedesco|russo|cinese|giapponese"
)
_TRANSLATION = (
    r"translat(?:e|es|ed|ion|ions|ing)|übersetz\w*|traduc\w*|traduis\w*|tradu[cz]\w*|tłumacz\w*|çevir\w*|"
    r"перев(?:ед|ести|од)\w*|перекла\w*"
)
_ASKED = re.compile(
    rf"\b(?:{_TRANSLATION})\b"
    rf"|\b(?:in|into|to|auf|ins|en|al|in\s+lingua)\s+(?:\w+\s+)?(?:{_LANGUAGES})\b"
    rf"|\b(?:{_LANGUAGES})\s+(?:please|only|word|words|text|version)\b"
    r"|\b(?:на|по)[\s-]\w+(?:ском|цком|ски|цки)\b"
    r"|翻译|翻譯|译成|譯成|用\w{1,3}[语文語]|訳して|翻訳|語で|번역|\w어로\b|ترجم|תרגם|अनुवाद",
    re.IGNORECASE,
)


def asks_for_language(prompt: str) -> bool:
    """Whether a prompt asks for a translation, or for an answer in a language that it names.

    It may take a mention for a request, so that no answer that was asked for counts as a switch.

    >>> asks_for_language("Translate into Russian: tea"), asks_for_language("Sag es auf Deutsch."), (
    ...     asks_for_language("How do magnets work?"))
    (True, True, False)
    """
    return _ASKED.search(clipped(prompt)) is not None
