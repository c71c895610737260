"""Finds out locally, without a model, which of several things a caller means.

Serves menus, choices, enums, and intent edges in nodes that call no LLM. Two steps:

1. A phrase of a candidate ("billing", "the second one") that the text contains as whole words is a
   full match (1.0), unless it is negated there ("not billing"). The longest such phrase wins.
2. Otherwise the text is compared with each candidate's phrases by two cosines of TF-IDF vectors:
   over words (stems, with a small table of words that callers use alike) and over the words'
   character trigrams to pentagrams, which survive a recogniser's typos.

Scores lie between 0 and 1. Below `DEFAULT_THRESHOLD`, or when two candidates are as good as equal,
nothing is matched: asking again is cheaper than the wrong way. A candidate may have phrases that
it does *not* mean: a text nearer to one of those is not for it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

DEFAULT_THRESHOLD = 0.25
"""The least score that counts as a match."""

LEAST_LEAD = 0.015
"""How far the best candidate must lie before the next."""

_WORD_SHARE = 0.65
_NGRAM_SHARE = 1 - _WORD_SHARE
_SINGLE_SHARE, _UNION_SHARE = 0.65, 0.525
"""What the nearest phrase and the phrases as a whole count when both are looked at. They sum up to
more than 1 because a whole of many phrases is never near to one short text."""

_UNKNOWN_WEIGHT = 0.55
"""Of a text's words that no candidate has, in parts of the rarest known word."""

_TYPO_SHARED = 0.6
_TYPO_LETTERS = 6
"""Words of so many letters that share so many trigrams are taken for the same word."""

_BESIDE_FULL = 0.9
"""The score of a phrase that is contained, but is shorter than another candidate's."""

_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[,.;:!?]")

_STOP_WORDS = """
    a an the i i'm i'd i'll i've im me my mine we we're us our you your it it's its this that
    that's these those he she they them his her is are am was were be been do does did done have
    has had having will would can could should shall may might must to of in on at for with from
    by about as and or but so if then than there here what what's which who when where why how
    please thanks thank hello hi hey well just really very some any one ones want wants wanted
    wanna need needs needed like get got go going gonna make let know tell say said ask asks
    asking trying try caller caller's calling call called customer user wondering okay ok yes
    yeah uh um er right now also too up out over into someone's ever give take way thing
    something anything all more maybe possible think guess see look
"""
STOP_WORDS = frozenset(re.findall(r"\S+", _STOP_WORDS))
"""Words that say little about what is meant."""

_ALIKE = """
    person human agent representative rep operator somebody someone people staff receptionist
    advisor adviser colleague employee manager supervisor live; speak talk chat; bill invoice
    charge charged payment billing statement fee overcharged balance; pay paying settle;
    appointment booking reservation visit slot consultation; book schedule reserve arrange;
    reschedule move change shift postpone different another rearrange; cancel cancellation
    terminate scrap; hours open opening close closing closed opens closes; order package parcel
    delivery shipment purchase; track tracking arrive arrived arrives arriving whereabouts
    status eta; broken working works crash crashes crashing error fault faulty issue problem
    trouble wrong fails failing malfunction slow; refund money reimburse reimbursement return;
    buy purchase sale sales pricing price prices quote cost costs; password login log sign
    account credentials locked; address location directions located find; internet wifi
    connection network router modem; stop quit end goodbye bye unsubscribe; repeat again; new
    first
"""
"""Words that callers use alike, group by group; a word counts for the first group it is in."""

_NEGATIONS = frozenset(
    ("not", "no", "never", "don't", "isn't", "without", "nicht", "kein", "keine", "pas", "niet")
    + ("doesn't", "didn't", "wasn't", "geen", "except", "neither", "nor", "anything")
)
_BETWEEN_NEGATED = frozenset(
    ("the", "a", "an", "my", "want", "need", "for", "to", "about", "speak", "talk", "with", "any")
    + ("calling", "but", "your", "mean", "said", "say", "your")
)
_ORDINALS = (
    *(("first", "one", "1", "1st"), ("second", "two", "2", "2nd"), ("third", "three", "3", "3rd")),
    *(("fourth", "four", "4", "4th"), ("fifth", "five", "5", "5th"), ("sixth", "six", "6", "6th")),
    *(("seventh", "seven", "7", "7th"), ("eighth", "eight", "8", "8th")),
    ("ninth", "nine", "9", "9th"),
)
_POSITION = re.compile(
    r"(?:the )?(?:number|option|choice) (?P<number>\w+)"
    r"|(?:the )?(?P<ordinal>\w+)(?: (?:one|option|choice|of those))?"
)

_Vector = dict[str, float]


@dataclass(frozen=True, slots=True)
class Match:
    """A candidate and how well it fits, 0 to 1."""

    name: str
    score: float


def _tokens(text: str) -> list[str]:
    """Words in small letters, and the punctuation between them."""
    return _TOKEN.findall(text.replace("’", "'").casefold())


def _words(text: str) -> list[str]:
    return [token for token in _tokens(text) if token[0].isalnum()]


def _bare(word: str) -> str:
    """A word without the common English endings."""
    base = word.removesuffix("'s")
    for ending, least in (("ing", 6), ("ed", 5), ("es", 5), ("s", 4)):
        if base.endswith(ending) and len(base) >= least and not base.endswith("ss"):
            base = base.removesuffix(ending)
            if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "aeiouls":
                base = base[:-1]
            break
    if len(base) > 3:
        base = base.removesuffix("e")
        base = base[:-1] + "i" if base.endswith("y") else base
    return base


_GROUP_OF = {
    _bare(word): f"{number}:{group.split()[0]}"
    for number, group in reversed(list(enumerate(_ALIKE.split(";"))))
    for word in group.split()
}


@lru_cache(maxsize=8192)
def _stem(word: str) -> str:
    """What a word counts as: its bare form, or the group of words that callers use alike."""
    bare = _bare(word)
    return _GROUP_OF.get(bare, bare)


@lru_cache(maxsize=8192)
def _ngrams(word: str) -> tuple[str, ...]:
    padded = f"<{word}>"
    sizes = (3, 4, 5)
    return tuple(padded[at : at + n] for n in sizes for at in range(len(padded) - n + 1))


def _content(words: Iterable[str]) -> list[str]:
    """The words that mean something; all of them, if none does."""
    listed = list(words)
    return [word for word in listed if word not in STOP_WORDS] or listed


def _stems(words: Sequence[str]) -> Counter[str]:
    return Counter(_stem(word) for word in words)


def _grams(words: Sequence[str]) -> Counter[str]:
    return Counter(gram for word in words for gram in _ngrams(word))


@lru_cache(maxsize=8192)
def _trigrams(word: str) -> frozenset[str]:
    return frozenset(gram for gram in _ngrams(word) if len(gram) == 3)


def _shared(one: str, other: str) -> float:
    """How many trigrams two words share, 0 to 1."""
    first, second = _trigrams(one), _trigrams(other)
    return 2 * len(first & second) / (len(first) + len(second))


def _cosine(one: _Vector, other: _Vector) -> float:
    if len(other) < len(one):
        one, other = other, one
    return sum(weight * other[key] for key, weight in one.items() if key in other)


class _Weights:
    """Inverse frequencies of features over the candidates."""

    def __init__(self, documents: Sequence[Counter[str]]) -> None:
        seen = Counter(key for document in documents for key in document)
        self._weights = {key: math.log(1 + len(documents) / count) for key, count in seen.items()}
        self._unknown = _UNKNOWN_WEIGHT * math.log(1 + max(1, len(documents)))

    def __contains__(self, key: str) -> bool:
        return key in self._weights

    def vector(self, counts: Counter[str]) -> _Vector:
        """A vector of length one; repeated features count little more than single ones."""
        raw = {
            key: (1 + math.log(count)) * self._weights.get(key, self._unknown)
            for key, count in counts.items()
        }
        norm = math.sqrt(sum(weight * weight for weight in raw.values()))
        return {key: weight / norm for key, weight in raw.items()} if norm else {}


@dataclass(frozen=True, slots=True)
class _Phrase:
    words: tuple[str, ...]
    stems: _Vector
    grams: _Vector


class Matcher:
    """Compares what callers say with the phrases of named candidates."""

    def __init__(
        self,
        candidates: Mapping[str, Sequence[str]],
        *,
        negatives: Mapping[str, Sequence[str]] | None = None,
        positions: bool = False,
    ) -> None:
        """`negatives`: phrases that a candidate does not mean. `positions`: "the second one" is
        the second candidate, for lists that were read to the caller.
        """
        self._names = list(candidates)
        self._positions = positions
        contents = {
            name: [_content(_words(phrase)) for phrase in phrases]
            for name, phrases in candidates.items()
        }
        unions = {
            name: [word for words in lists for word in words] for name, lists in contents.items()
        }
        self._stem_weights = _Weights([_stems(words) for words in unions.values()])
        self._vocabulary = sorted({word for words in unions.values() for word in words})
        self._gram_weights = _Weights([_grams(words) for words in unions.values()])
        self._phrases = {
            name: [self._phrase(phrase) for phrase in phrases]
            for name, phrases in candidates.items()
        }
        self._unions = {name: self._vectors(words) for name, words in unions.items()}
        self._negatives = {
            name: [self._phrase(phrase) for phrase in phrases]
            for name, phrases in (negatives or {}).items()
        }

    def rank(self, text: str) -> list[Match]:
        """All candidates, the best first; equal ones in their own order."""
        words = _words(text)
        said = _Phrase(tuple(words), *self._vectors(self._as_known(_content(words))))
        full, negated = self._contained(_tokens(text))
        longest = max(full.values(), default=0)
        found = []
        for name in self._names:
            if name in full:
                score = 1.0 if full[name] == longest else _BESIDE_FULL
            elif name in negated or not said.words:
                score = 0.0
            else:
                score = self._similarity(name, said)
            found.append(Match(name, round(min(score, 1.0), 4)))
        position = self._position(text) if self._positions and not longest else None
        if position is not None:
            found = [Match(match.name, float(match.name == position)) for match in found]
        return sorted(found, key=lambda match: -match.score)

    def best(self, text: str, threshold: float = DEFAULT_THRESHOLD) -> Match | None:
        """The candidate that is meant, or None if none is or two may be."""
        ranked = self.rank(text)
        if not ranked or ranked[0].score < threshold:
            return None
        if len(ranked) > 1 and ranked[0].score - ranked[1].score < LEAST_LEAD:
            return None
        return ranked[0]

    def _phrase(self, text: str) -> _Phrase:
        words = _words(text)
        return _Phrase(tuple(words), *self._vectors(_content(words)))

    def _vectors(self, content: Sequence[str]) -> tuple[_Vector, _Vector]:
        stems = self._stem_weights.vector(_stems(content))
        return stems, self._gram_weights.vector(_grams(content))

    def _as_known(self, words: Sequence[str]) -> list[str]:
        """The words, those that are nearly a known one (a typo) replaced by it."""
        return [word if _stem(word) in self._stem_weights else self._known(word) for word in words]

    def _known(self, word: str) -> str:
        if len(word) < _TYPO_LETTERS:
            return word
        nearest = max(self._vocabulary, key=lambda known: _shared(word, known), default=word)
        return nearest if _shared(word, nearest) >= _TYPO_SHARED else word

    def _near(self, said: _Phrase, stems: _Vector, grams: _Vector) -> float:
        return _WORD_SHARE * _cosine(said.stems, stems) + _NGRAM_SHARE * _cosine(said.grams, grams)

    def _similarity(self, name: str, said: _Phrase) -> float:
        """Of a text to a candidate: its nearest phrase, and its phrases as a whole."""
        single = max((self._near(said, p.stems, p.grams) for p in self._phrases[name]), default=0.0)
        against = self._negatives.get(name, ())
        if any(self._near(said, p.stems, p.grams) > single for p in against):
            return 0.0
        whole = self._near(said, *self._unions[name])
        return max(single, _SINGLE_SHARE * single + _UNION_SHARE * whole)

    def _contained(self, tokens: list[str]) -> tuple[dict[str, int], set[str]]:
        """Candidates with a phrase in the text, by the length of the longest, and the negated."""
        full: dict[str, int] = {}
        negated: set[str] = set()
        for name, phrases in self._phrases.items():
            for phrase in phrases:
                for at in _places(tokens, phrase.words):
                    if _is_negated(tokens, at):
                        negated.add(name)
                    else:
                        full[name] = max(full.get(name, 0), len(phrase.words))
        for name, phrases in self._negatives.items():
            lengths = [len(p.words) for p in phrases if _places(tokens, p.words)]
            if lengths and max(lengths) >= full.get(name, 0):
                full.pop(name, None)
                negated.add(name)
        return full, negated

    def _position(self, text: str) -> str | None:
        """The candidate that the text names by its place in the list."""
        words = [
            word for word in _words(text) if word not in ("please", "i'll", "take", "um", "uh")
        ]
        found = _POSITION.fullmatch(" ".join(words))
        if found is None:
            return None
        word = found["ordinal"] or found["number"]
        if word == "last":
            return self._names[-1] if self._names else None
        for name, forms in zip(self._names, _ORDINALS, strict=False):
            if word in forms:
                return name
        return None


def _places(tokens: Sequence[str], phrase: tuple[str, ...]) -> list[int]:
    """Where a phrase stands in the text as whole words.

    A phrase of small words alone ("yes", "call me") counts only among small words.
    """
    if not phrase:
        return []
    if STOP_WORDS.issuperset(phrase):
        others = (token for token in tokens if token[0].isalnum())
        if not STOP_WORDS.issuperset(others):
            return []
    size = len(phrase)
    return [at for at in range(len(tokens) - size + 1) if tuple(tokens[at : at + size]) == phrase]


def _is_negated(tokens: Sequence[str], at: int) -> bool:
    """True if a negation stands before the place with nothing but small words between."""
    for before in reversed(tokens[max(0, at - 4) : at]):
        if before in _NEGATIONS:
            return True
        if before not in _BETWEEN_NEGATED:
            return False
    return False
