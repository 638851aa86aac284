"""Replies that begin and never come to an answer: ``Sure, here is``. In English."""

from __future__ import annotations

import re

__all__ = ["is_only_an_opener"]

_LONGEST = 400  # characters; a longer text of openers alone is a repetition
_MANY = 3  # assents without anything else, none of which answers yes
_YES = re.compile(r"yes\b", re.IGNORECASE)
_OPEN = (":", "…", "...")
_CONTENT = re.compile(r"\d\W*\Z|[\"“”`,]|\s[-–—]\s|://")  # there is more than a name of what would come
_SENTENCE = re.compile(r"([^.!?…:;\n]+)([.!?…:;\s]*)")
_ASSENT = (
    r"sure(?: thing)?|certainly|of course|absolutely|definitely|ok|okay|alright|all right|great|yes|got it|no problem|"
    r"understood|i (?:completely |fully )?understand(?: (?:that|you|this|your (?:question|request|concern)s?))?|"
    r"i see|noted|well|so|now|"
    r"(?:that'?s|that is|what) an? (?:great|good|interesting|excellent) question|(?:great|good|excellent) question|"
    r"thank you(?: (?:so much|very much))?(?: for (?:asking|your (?:question|request)|reaching out))?|thanks|"
    r"as an ai(?: language model| assistant)?"
)
_OFFER = (
    r"(?:i(?:'m| am)|i(?:'d| would) be) (?:happy|glad|here) to (?:help|assist|explain|answer)(?: you)?"
    r"(?: (?:with (?:that|this|your (?:question|request)))| out)?|"
    r"i can (?:help|assist)(?: you)?(?: with (?:that|this))?"
)
_HERE = r"here(?:'s| is| are)|below (?:is|are)"
_PLAN = (
    r"let me (?:explain|show|tell|walk|give|start|begin|break)|"
    r"i(?:'ll| will) (?:now )?(?:explain|show|tell|walk|give|provide|start|begin|answer)"
)
_ASSENTS = re.compile(rf"(?:(?:{_ASSENT}|{_OFFER})(?:[,\s]+|$))+", re.IGNORECASE)
_PROMISE = re.compile(
    rf"(?P<assent>(?:(?:{_ASSENT}|{_OFFER})[,\s]+)*)(?:(?P<here>{_HERE})|{_PLAN})(?P<what> .{{0,80}})?", re.IGNORECASE
)


def is_only_an_opener(text: str) -> bool:
    """Whether a text assents or promises and then ends, without a word of an answer; one assent alone is an answer.

    >>> is_only_an_opener("Sure, here is"), is_only_an_opener("Of course! Here is a poem about the sea:")
    (True, True)
    >>> is_only_an_opener("Sure."), is_only_an_opener("Sure, here is the answer: 42.")
    (False, False)
    >>> is_only_an_opener("Sure, here is a prime, 7."), is_only_an_opener("Sure, here is a prime.")
    (False, True)
    """
    text = text.replace("’", "'").strip()
    if not 0 < len(text) <= _LONGEST:
        return False
    sentences = [(words.strip(" ,-*_#\"'"), end.strip()) for words, end in _SENTENCE.findall(text)]
    sentences = [(words, end) for words, end in sentences if words]
    if not sentences or "?" in text:
        return False
    promise = _PROMISE.fullmatch(sentences[-1][0])
    before = [words for words, _ in (sentences[:-1] if promise else sentences)]
    if not all(map(_ASSENTS.fullmatch, before)):
        return False
    if promise:
        is_open = sentences[-1][1] in _OPEN or (bool(promise["here"]) and not promise["what"])
        is_closed = bool(promise["here"]) and bool(promise["assent"] or before)
        return is_open or (is_closed and not _CONTENT.search(promise["what"] or ""))
    is_twice = len(set(before)) < len(before) and max(len(words.split()) for words in before) > 1
    is_yes = any(_YES.match(words) for words in before)
    return (len(before) >= _MANY and not is_yes) or is_twice
