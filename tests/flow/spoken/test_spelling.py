"""Spelled words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.flow import aloud
from flowengine.flow.spoken import spelling

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("s m i t h", "SMITH"),
        ("S-M-I-T-H", "SMITH"),
        ("S. M. I.", "SMI"),
        ("my name is s m i t h", "SMITH"),
        ("sierra mike india", "SMI"),
        ("x-ray yankee zulu", "XYZ"),
        ("s as in sam, m as in mary", "SM"),
        ("b for bob", "B"),
        ("double l", "LL"),
        ("double u", "W"),
        ("bee cee dee", "BCD"),
        ("a b 1 two", "AB12"),
        ("capital a, then b", "AB"),
        ("a as in bravo", None),
        ("hello", None),
        ("a as in", None),
        ("", None),
    ],
)
def test_spelled(text: str, value: str | None) -> None:
    assert spelling.parse(text) == value


@given(st.text(alphabet="abcdefghjklmnpqrstvwxyz0123456789", min_size=1, max_size=12))
def test_what_is_spelled_aloud_is_understood(word: str) -> None:
    assert spelling.parse(aloud.spell(word)) == word.upper()
