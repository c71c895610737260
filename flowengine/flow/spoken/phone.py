"""Phone numbers as E.164: "five five five, one two three, four five six seven", "+33 6 11 …".

A number without a country code is one of the given region. The length must be right for its
country; whether the number is in use nobody can tell, so ranges are not held against it.
"""

from __future__ import annotations

import re

import phonenumbers

from flowengine.flow.spoken.digits import read_digits
from flowengine.flow.spoken.words import drop, plain_words

_BETWEEN = frozenset(("dash", "hyphen", "space", "then", "area", "code", "-", "/", "number", "dot"))
_EXTENSION = frozenset(("extension", "ext", "x", "#", "*"))


def parse(text: str, *, region: str = "US") -> str | None:
    """The number as E.164, or None; an extension is refused, as it would be lost."""
    is_international = bool(re.match(r"\s*\+", text))
    words = drop(plain_words(text), _BETWEEN)
    if _EXTENSION & set(words):
        return None
    if words[:1] in (["plus"], ["+"]):
        words, is_international = words[1:], True
    if words[:2] == ["double", "plus"] or not words:
        return None
    digits = read_digits([word.replace("/", "") for word in words if word != "+"])
    if digits is None:
        return None
    return to_e164(f"+{digits}" if is_international else digits, region)


def to_e164(number: str, region: str) -> str | None:
    """A number in digits as E.164, if its length is right."""
    try:
        found = phonenumbers.parse(number, region.upper())
    except phonenumbers.NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(found)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
