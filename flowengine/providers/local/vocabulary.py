"""The recogniser's vocabulary: token ids to text and text to token ids.

The file holds the tokens in order of their ids, each as a length (one byte, or two when the first
has its top bit set: low 7 bits, then the rest times 128) and so many bytes of UTF-8. The
vocabulary is byte-pair-encoded: of all neighbours that can be joined, those whose joined token
has the lowest id are joined first. A word begins with U+2581.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

BEGIN = 1
END = 2
_FIRST_BYTE = 3
_BYTES = range(_FIRST_BYTE, _FIRST_BYTE + 256)
"""Tokens that stand for one raw byte each."""

_WORD_MARK = "\u2581"
_LONG_LENGTH = 0x80
_DIGIT_TOKEN = re.compile(rf"{_WORD_MARK}?[0-9,.\-]?")


def read_tokens(blob: bytes) -> list[bytes]:
    """The tokens of a vocabulary file; raises ValueError when it is cut off."""
    tokens: list[bytes] = []
    at = 0
    while at < len(blob):
        length = blob[at]
        at += 1
        if length >= _LONG_LENGTH:
            if at >= len(blob):
                raise ValueError("the vocabulary ends inside a length")
            length = length - _LONG_LENGTH + blob[at] * _LONG_LENGTH
            at += 1
        if at + length > len(blob):
            raise ValueError("the vocabulary ends inside a token")
        tokens.append(blob[at : at + length])
        at += length
    return tokens


class Vocabulary:
    """Token ids of one recogniser."""

    def __init__(self, blob: bytes) -> None:
        self._tokens = read_tokens(blob)
        self._ids: dict[str, int] = {}
        for number, token in enumerate(self._tokens):
            if number not in _BYTES and number > END:
                self._ids.setdefault(token.decode(errors="replace"), number)

    def __len__(self) -> int:
        return len(self._tokens)

    def text(self, ids: Iterable[int]) -> str:
        """What the ids spell, without the marks of begin and end."""
        pieces: list[bytes] = []
        for number in ids:
            if number in _BYTES:
                pieces.append(bytes([number - _FIRST_BYTE]))
            elif number > END and number < len(self._tokens):
                pieces.append(self._tokens[number])
        spelt = b"".join(pieces).decode(errors="replace")
        return spelt.replace(_WORD_MARK, " ").strip()

    def encode(self, text: str) -> list[int]:
        """The ids of a text; a letter that no token holds goes by its bytes."""
        parts = list(_WORD_MARK + text.strip().replace(" ", _WORD_MARK))
        while len(parts) > 1:
            ranks = [self._ids.get(a + b) for a, b in pairwise(parts)]
            known = [rank for rank in ranks if rank is not None]
            if not known:
                break
            at = ranks.index(min(known))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        ids: list[int] = []
        for part in parts:
            number = self._ids.get(part)
            if number is not None:
                ids.append(number)
            else:
                ids.extend(_FIRST_BYTE + byte for byte in part.encode())
        return ids

    def digit_ids(self) -> list[int]:
        """Tokens that a string of digits is written with, and the end."""
        fitting = (number for token, number in self._ids.items() if _DIGIT_TOKEN.fullmatch(token))
        return sorted({END, *fitting})
