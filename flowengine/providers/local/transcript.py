"""What is done to a recogniser's words before anybody acts on them. Pure.

A small recogniser that hears noise loops ("Speak to Bill. Speak to Bill.") or invents a sentence.
Loops are cut to their first round; words that are too unlikely or too fast are dropped.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

LEAST_LOGP = -1.6
"""Mean log-probability of a token below which words are taken as invented."""

WORDS_A_SECOND = 8.0
"""Nobody speaks faster; short noises give whole sentences."""

LONE_ROUNDS = 8
"""One or two words so often in a row are a loop; no number has one digit so often."""

_LONGEST_LOOP = 12

_PHANTOMS = frozenset({"you"})
"""What this recogniser writes for noise, often with confidence; nobody says it alone."""

_NUMBERS = (
    "zero oh o one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    " fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty"
    " ninety hundred thousand double triple"
)
NUMBER_WORDS = frozenset(_NUMBERS.split())


@dataclass(frozen=True, slots=True)
class Transcript:
    """Words of an utterance; `confidence` from 0 to 1, `logp` a token's mean log-probability.

    An empty text means that nothing was said that one can act on.
    """

    text: str
    confidence: float
    logp: float


def tidy(text: str, logp: float, *, speech_ms: int) -> Transcript:
    """Cut loops, and drop what was surely not said."""
    words = cut_loops(text.split())
    said = " ".join(filter(None, map(_bare, words)))
    too_fast = len(words) > 3 + WORDS_A_SECOND * speech_ms / 1000
    if not said or said in _PHANTOMS or logp < LEAST_LOGP or too_fast:
        return Transcript("", 0.0, logp)
    return Transcript(" ".join(words), math.exp(min(0.0, logp)), logp)


def cut_loops(words: list[str]) -> list[str]:
    """Words without phrases that are said again and again at once.

    Three words or more are a loop at their second round, fewer at the eighth; a phrase of numbers
    is none, because callers say "one two three one two three".
    """
    kept = list(words)
    bare = [_bare(word) for word in kept]
    for length in range(1, min(_LONGEST_LOOP, len(kept) // 2) + 1):
        at = 0
        while at + 2 * length <= len(kept):
            rounds = _rounds(bare, at, length)
            if rounds >= (2 if length > 2 else LONE_ROUNDS) and not _is_number(bare, at, length):
                end = at + rounds * length
                del kept[at + length : end], bare[at + length : end]
            at += 1
    return kept


def _rounds(bare: list[str], at: int, length: int) -> int:
    phrase = bare[at : at + length]
    rounds = 1
    while bare[at + rounds * length : at + (rounds + 1) * length] == phrase:
        rounds += 1
    return rounds


def _is_number(bare: list[str], at: int, length: int) -> bool:
    return all(word.isdigit() or word in NUMBER_WORDS for word in bare[at : at + length])


def _bare(word: str) -> str:
    return re.sub(r"[^\w']", "", word.lower())
