"""Closed sets: which of a few expected answers was said, and strings of digits.

Because the decode loop is ours, expected answers can be scored: each candidate is laid before the
decoder token by token (all of them as one batch) and its mean log-probability, with the end,
tells how well the audio fits. That holds in noise in which free decoding fails. It is for small
sets of what callers say word for word: yes and no, names of choices. Not for open menus.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from flowengine.providers.local.moonshine import Encoded, Moonshine, log_softmax
from flowengine.providers.local.transcript import NUMBER_WORDS, Transcript
from flowengine.providers.local.vocabulary import BEGIN, END

MOST_CANDIDATES = 64
"""Larger sets are decoded freely: 45 phrases cost about a quarter of a second."""

WORST_GAP = -2.0
"""A candidate may be so much less likely, a token, than what was decoded freely."""

LEAST_LEAD = 0.25
"""The best candidate must be so much likelier, a token, than the next."""

DIGITS_GAP = -0.7
"""Digits may be so much less likely than free words; below that, those are what was said."""

MOST_MORE_WORDS = 2
"""Free words in excess of the candidate's: the caller said more than the answer ..."""

CREDIBLE_LOGP = -0.7
"""... if they are this likely; less likely ones are invented from noise around the answer."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate, the mean log-probability of its tokens, and how many they are."""

    phrase: str
    logp: float
    tokens: int


def hear_candidates(model: Moonshine, encoded: Encoded, candidates: tuple[str, ...]) -> Transcript:
    """The candidate that was said, as it is written in the set; else the free words."""
    decoded = model.greedy(encoded)
    free = model.transcript(decoded, encoded)
    said = _bare(free.text)
    for phrase in candidates:
        if said and _bare(phrase) == said:
            return Transcript(phrase, free.confidence, free.logp)
    if len(candidates) > MOST_CANDIDATES or not candidates or not decoded.ids:
        return free
    ranked = score(model, encoded, candidates)
    best = ranked[0]
    excess = len(said.split()) - len(_bare(best.phrase).split())
    is_close = len(ranked) > 1 and best.logp - ranked[1].logp < LEAST_LEAD
    said_more = excess > MOST_MORE_WORDS and decoded.logp > CREDIBLE_LOGP
    if best.logp - decoded.logp < WORST_GAP or is_close or said_more:
        return free
    return Transcript(best.phrase, _share(ranked), best.logp)


def score(model: Moonshine, encoded: Encoded, candidates: tuple[str, ...]) -> list[Scored]:
    """All candidates, the likeliest first."""
    written = [model.vocabulary.encode(_sentence(phrase)) for phrase in candidates]
    longest = max(len(ids) for ids in written) + 1
    tokens = np.full((len(written), longest), END, dtype=np.int64)
    tokens[:, 0] = BEGIN
    for row, ids in enumerate(written):
        tokens[row, 1 : len(ids) + 1] = ids
    logits = model.logits(encoded, tokens)
    scored = []
    for row, (phrase, ids) in enumerate(zip(candidates, written, strict=True)):
        wanted = [*ids, END]
        logp = log_softmax(logits[row, : len(wanted)])
        mean = float(logp[np.arange(len(wanted)), wanted].mean())
        scored.append(Scored(phrase, mean, len(wanted)))
    return sorted(scored, key=lambda one: -one.logp)


def hear_digits(model: Moonshine, encoded: Encoded) -> Transcript:
    """A string of digits; the free words when they are a number already, or something else."""
    decoded = model.greedy(encoded)
    free = model.transcript(decoded, encoded)
    if is_number(free.text) or not decoded.ids:
        return free
    masked = model.greedy(encoded, digits=True)
    digits = model.transcript(masked, encoded)
    fits = masked.logp - decoded.logp >= DIGITS_GAP
    return digits if fits and is_number(digits.text) else free


def is_number(text: str) -> bool:
    """Whether the words are digits and number words only ("oh five double two")."""
    parts = re.findall(r"[a-z]+|[0-9]+", text.lower())
    return bool(parts) and all(part.isdigit() or part in NUMBER_WORDS for part in parts)


def _share(ranked: list[Scored]) -> float:
    """How far the best stands out: its part of all candidates' likelihood."""
    totals = [one.logp * one.tokens for one in ranked]
    most = max(totals)
    shares = [math.exp(total - most) for total in totals]
    return shares[0] / sum(shares)


def _sentence(phrase: str) -> str:
    """As the recogniser writes it: a capital first, a full stop last."""
    words = phrase.strip()
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '?', '!')) else '.'}"


def _bare(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))
