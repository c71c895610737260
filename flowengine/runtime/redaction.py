"""Takes out of words what tells who somebody is: `[card]`, `[iban]`, `[email]`, `[phone]`.

Numbers are held against their checksums (Luhn, ISO 7064) or their country's plan, so that an order
number stays readable. What a recogniser wrote out in words ("four one one one") is not found, and
neither is a number that was said over two turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import phonenumbers

from flowengine.runtime.caller import country
from flowengine.runtime.transcript import TranscriptTurn

Span = tuple[int, int, str]
"""Where something was found, from and to, and what it is."""

_EMAIL = re.compile(
    r"[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"
    # As it is spelled to somebody: jane dot doe at example dot com.
    r"|\b[\w-]+(?:\s(?:dot|dash|hyphen|underscore)\s[\w-]+){0,8}\sat\s[\w-]+(?:\sdot\s[\w-]+){1,8}",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"(?<!\w)\d(?:[ ,.\-]{0,2}\d){12,}(?!\w)")
_CARD_LENGTHS = range(13, 20)
# Each place is looked at: what only looks like the beginning of one must not hide the next.
_IBAN = re.compile(
    r"(?<![^\W_])(?=([A-Z] ?[A-Z] ?\d ?\d(?:[ -]?[A-Z0-9]){11,30}))", re.IGNORECASE | re.ASCII
)
_FEWEST_DIGITS = 7
_MAY_BE_EMAIL = re.compile(r"@|\sat\s", re.IGNORECASE)

_IBAN_LENGTHS = {
    length: frozenset(countries.split())
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH CR HR LI LV",
        22: "BG BH DE GB GE IE ME RS",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        33: "RU",
        32: "LC",
    }.items()
}
"""Of ISO 13616, by country."""
_LENGTH_OF = {name: length for length, names in _IBAN_LENGTHS.items() for name in names}


def redact(text: str, regions: Sequence[str] = ()) -> str:
    """The text without them. `regions` (`US`, `FR`): whose national phone numbers are known, too;
    numbers that begin with + always are.
    """
    while spans := _merged(_found(text, regions)):
        parts, end = [], 0
        for start, stop, kind in spans:
            parts += [text[end:start], f"[{kind}]"]
            end = stop
        # Again: what stood right beside a number may be one, now that it stands alone.
        text = "".join(parts) + text[end:]
    return text


def redacted_turns(turns: Iterable[TranscriptTurn], *ends: str) -> list[TranscriptTurn]:
    """A transcript without them; numbers are read as in the countries of the call's two `ends`."""
    regions = regions_of(*ends)
    return [
        replace(turn, text=redact(turn.text, regions), whole=redact(turn.whole, regions))
        for turn in turns
    ]


def regions_of(*addresses: str) -> tuple[str, ...]:
    """The countries of phone numbers, each once; addresses that are none have no country."""
    found = (country(address) for address in addresses)
    return tuple(dict.fromkeys(region for region in found if region))


def _found(text: str, regions: Sequence[str]) -> Iterator[Span]:
    if _MAY_BE_EMAIL.search(text):
        yield from ((found.start(), found.end(), "email") for found in _EMAIL.finditer(text))
    if sum(map(str.isdigit, text)) < _FEWEST_DIGITS:
        return
    yield from _ibans(text)
    for run in _DIGITS.finditer(text):
        yield from _cards(run[0], run.start())
    for region in regions or (None,):
        for number in phonenumbers.PhoneNumberMatcher(text, region):
            yield number.start, number.end, "phone"


def _merged(spans: Iterable[Span]) -> list[Span]:
    """In order; those that overlap as one, so that none leaves a half of another behind."""
    merged: list[Span] = []
    for start, stop, kind in sorted(spans):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            longer = kind if stop - start > before[1] - before[0] else before[2]
            merged[-1] = (before[0], max(before[1], stop), longer)
        else:
            merged.append((start, stop, kind))
    return merged


def _cards(run: str, offset: int) -> Iterator[Span]:
    """Card numbers in a run of digits: a whole number of its groups, the longest that is right."""
    places = [place for place, char in enumerate(run) if char.isdigit()]
    digits = [int(run[place]) for place in places]
    first = 0
    while first + _CARD_LENGTHS[0] <= len(digits):
        for length in reversed(_CARD_LENGTHS):
            end = first + length
            if end <= len(digits) and _stand_alone(places, first, end) and _luhn(digits[first:end]):
                yield offset + places[first], offset + places[end - 1] + 1, "card"
                first = end
                break
        else:
            first += 1


def _stand_alone(places: Sequence[int], first: int, end: int) -> bool:
    begins = first == 0 or places[first] - places[first - 1] > 1
    return begins and (end == len(places) or places[end] - places[end - 1] > 1)


def _luhn(digits: Sequence[int]) -> bool:
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _ibans(text: str) -> Iterator[Span]:
    for found in _IBAN.finditer(text):
        places = [place for place, char in enumerate(found[1]) if char.isalnum()]
        length = _LENGTH_OF.get("".join(found[1][place] for place in places[:2]).upper(), 0)
        if not 0 < length <= len(places):
            continue
        end = found.start() + places[length - 1] + 1
        is_whole = not text[end : end + 1].isalnum()
        if is_whole and _is_iban("".join(found[1][place] for place in places[:length])):
            yield found.start(), end, "iban"


def _is_iban(text: str) -> bool:
    turned = text[4:] + text[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1
