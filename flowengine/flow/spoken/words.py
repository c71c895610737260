"""The words of an answer, made even for the grammars: small letters, no filler, no punctuation.

Every grammar of this package first asks `plain_words` for the words, so all of them tolerate the
same politeness around an answer and nothing else: what is left must parse as a whole.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-"})

_HESITATIONS = frozenset(("uh", "um", "er", "erm", "ehm", "hmm", "hm", "mm", "ah", "eh", "äh"))
"""Words without meaning wherever they stand."""


def _phrases(text: str) -> tuple[tuple[str, ...], ...]:
    """Phrases as words, the longest first."""
    found = {tuple(phrase.split()) for phrase in text.split("|")}
    return tuple(sorted(found, key=len, reverse=True))


_LEADING = _phrases(
    "well|so|okay|ok|alright|yes|yeah|yep|sure|hi|hello|please|just|like|maybe|perhaps|it's|its"
    "|it is|it was|it would be|it'll be|it will be|that's|that is|that would be|that will be"
    "|that'll be|this is|i'm|i am|i was|i'd like|i would like|i'd like it|i want|i'll take"
    "|i will take|i'd prefer|i need|i said|i think|i think it's|i guess|i believe|let's say"
    "|let's do|let's make it|let me see|let me think|make it|make that|how about|what about"
    "|can we do|could we do|can you do|do you have|you can have|here it is|here you go|here is"
    "|the answer is|the number is|the code is|the date is|the time is|we are|we're|there are"
    "|there will be|there is|there's|sorry|no sorry|oh sorry|of course|you know|thanks"
    "|would be|will be|should be|probably"
)
_TRAILING = _phrases(
    "please|thanks|thank you|thank you very much|thanks a lot|sir|ma'am|madam|i think|i guess"
    "|i believe|if possible|if that's possible|if that works|would be great|would be good"
    "|would be fine|would be nice|would be perfect|would work|works|works for me|is fine"
    "|is good|is great|is perfect|sounds good|will do|would do|okay|ok|right|that's it|that is it"
    "|that's all|then|for me|actually|instead|if you can|if i may|bitte|danke|s'il vous plaît"
    "|merci|por favor|gracias|alsjeblieft|alstublieft|dank u"
)
_OWNER = re.compile(
    r"(?:and )?(?:my|our|the|your|her|his) (?:[a-z']+ ){1,4}?(?:is|are|was|would be) "
)
"""A lead such as "my account number is"."""


def plain(text: str) -> str:
    """The text in small letters with plain quotes and dashes."""
    return unicodedata.normalize("NFKC", text).translate(_QUOTES).casefold().strip()


def strip_fillers(words: Sequence[str]) -> list[str]:
    """The words without politeness before and after, and without hesitations."""
    left = [word for word in words if word not in _HESITATIONS]
    changed = True
    while changed and left:
        changed = False
        owner = _OWNER.match(" ".join(left) + " ")
        if owner and owner.end() < len(" ".join(left)):
            left = left[len(owner[0].split()) :]
            changed = True
            continue
        for phrase in _LEADING:
            if len(left) > len(phrase) and tuple(left[: len(phrase)]) == phrase:
                left, changed = left[len(phrase) :], True
                break
        for phrase in _TRAILING:
            if len(left) > len(phrase) and tuple(left[-len(phrase) :]) == phrase:
                left, changed = left[: -len(phrase)], True
                break
    return left


_TOKEN = re.compile(
    r"\d+(?:st|nd|rd|th)\b|\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['.][^\W\d_]+)*\.?|[$€£¥%#*+@&/_-]"
)


def plain_words(text: str) -> list[str]:
    """The words of an answer without fillers.

    Numbers keep what stands inside them ("1,000.50", "3:30", "31/1/2026"), "p.m." becomes "pm",
    "twenty-one" two words; signs that carry meaning stand alone.
    """
    words = []
    for found in _TOKEN.findall(plain(text)):
        word = found
        if found[0].isalpha():
            word = found.replace(".", "") if _is_dotted(found) else found.rstrip(".")
        if word != "-":
            words.append(word)
    return strip_fillers(words)


def _is_dotted(token: str) -> bool:
    """True of "p.m." and "u.s.a", whose stops are no ends."""
    return all(len(part) <= 1 for part in token.split("."))


def drop(words: Iterable[str], unwanted: frozenset[str]) -> list[str]:
    """The words that are not among the unwanted."""
    return [word for word in words if word not in unwanted]
