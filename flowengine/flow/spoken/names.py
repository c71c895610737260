"""Names of people: "my name is john smith", "it's Anne-Marie O'Neil, thanks".

What surrounds the name is dropped, the name gets capitals. Answers that are no name (numbers,
questions, "I don't know") are refused.
"""

from __future__ import annotations

import re

from flowengine.flow.spoken.words import plain

_LEAD = re.compile(
    r"^(?:(?:uh|um|er|erm|hmm|well|so|yes|yeah|sure|hi|hello|okay|ok|oh|of course)\b[\s,.]*)*"
    r"(?:(?:(?:and )?(?:my|the|our|his|her) "
    r"(?:(?:full|first|last|family|middle|sur) ?)?name(?:'s| is)"
    r"|it is|it's|its|this is|that is|that's|that would be|i am|i'm|call me|you can call me"
    r"|they call me|people call me|name is|speaking is|mi nombre es|me llamo|je m'appelle"
    r"|ich heiße|mein name ist|ik heet|mijn naam is)\b[\s,:]*)*",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:[\s,]*\b(?:please|thanks|thank you|speaking|here|sir|ma'am))*[\s.,!?]*$", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?")
_NO_NAMES = frozenset(
    ("yes", "no", "yeah", "what", "why", "who", "don't", "know", "not", "sorry", "hello", "want")
    + ("the", "a", "is", "you", "to", "i", "can", "my", "it", "do", "please", "calling", "about")
    + ("need", "help", "have", "would", "like", "speak", "talk", "person", "agent", "operator")
)
_SMALL = frozenset(("van", "von", "de", "der", "den", "del", "della", "di", "da", "la", "le", "y"))
_MOST_WORDS = 5


def _capital(word: str, *, is_first: bool) -> str:
    if word != word.lower() and not word.isupper():
        return word
    small = word.lower()
    if small in _SMALL and not is_first:
        return small
    return re.sub(r"(^|[-'’])(\w)", lambda at: at[1] + at[2].upper(), small)


def parse(text: str) -> str | None:
    """The name with capitals, or None."""
    said = text.strip()
    lead = _LEAD.match(said)
    said = said[lead.end() :] if lead else said
    said = _TAIL.sub("", said).strip(" ,.")
    words = said.replace(",", " ").split()
    if not words or len(words) > _MOST_WORDS or not all(_WORD.fullmatch(word) for word in words):
        return None
    if any(plain(word) in _NO_NAMES for word in words):
        return None
    return " ".join(_capital(word, is_first=not at) for at, word in enumerate(words))
