"""Token ids to text and back, on a vocabulary made by hand."""

from __future__ import annotations

import pytest

from flowengine.providers.local.vocabulary import END, Vocabulary, read_tokens

pytestmark = pytest.mark.unit

PIECES = ["\u2581", "a", "b", "c", "ab", "bc", "\u2581ab", "\u25817", "7", ",", "x" * 200]
FIRST = 259


def _blob(tokens: list[bytes]) -> bytes:
    parts = []
    for token in tokens:
        size = len(token)
        head = bytes([size]) if size < 128 else bytes([128 + size % 128, size // 128])
        parts.append(head + token)
    return b"".join(parts)


def _vocabulary() -> Vocabulary:
    special = [b"<unk>", b"<s>", b"</s>"]
    raw = [f"<0x{byte:02X}>".encode() for byte in range(256)]
    return Vocabulary(_blob([*special, *raw, *(piece.encode() for piece in PIECES)]))


def test_lengths_of_one_and_two_bytes_are_read() -> None:
    tokens = [b"ab", b"", b"y" * 127, b"z" * 128, b"w" * 1000]
    assert read_tokens(_blob(tokens)) == tokens


@pytest.mark.parametrize("blob", [b"\x05ab", b"\x80"])
def test_cut_off_file_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="ends inside"):
        read_tokens(blob)


def test_lowest_joined_token_is_joined_first() -> None:
    # "ab" has a lower id than "bc", so "abc" is "ab" and "c", and then the word's mark joins.
    assert _vocabulary().encode("abc") == [FIRST + 6, FIRST + 3]


def test_text_of_ids_leaves_marks_out() -> None:
    vocabulary = _vocabulary()
    assert vocabulary.text([1, FIRST + 6, FIRST + 3, FIRST + 7, END]) == "abc 7"


def test_unknown_letters_go_by_their_bytes_and_come_back() -> None:
    vocabulary = _vocabulary()
    ids = vocabulary.encode("aé")
    assert ids[-2:] == [3 + 0xC3, 3 + 0xA9]
    assert vocabulary.text(ids) == "aé"


def test_digit_tokens_are_digits_marks_and_the_end() -> None:
    assert _vocabulary().digit_ids() == [END, FIRST, FIRST + 7, FIRST + 8, FIRST + 9]
