"""What a flow may know of a call and its caller, from the call's row."""

from __future__ import annotations

from functools import cache
from typing import Literal, cast

import phonenumbers

from flowengine.flow.scope import CallFacts
from flowengine.ports import CallRow

_WITHHELD = {"anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"}
_STAND_INS = {"+266696687", "+2562533", "+7378742833", "+86282452253", "+8656696"}
"""Carriers that must give a number spell anonymous, blocked, restricted, unavailable or unknown
on the keys of a phone."""

_LONGEST_NATIONAL = 14
"""Digits after the country code in E.164."""


def facts_of(row: CallRow) -> CallFacts:
    """The `call` of expressions."""
    other = row.from_number if row.direction == "inbound" else row.to_number
    return CallFacts(
        id=row.id,
        direction=cast("Literal['inbound', 'outbound']", row.direction),
        from_=number(row.from_number),
        to=number(row.to_number),
        country=country(other),
    )


def number(address: str) -> str:
    """An E.164 number, or "" for a caller who is withheld, an extension or a SIP address."""
    is_number = address.startswith("+") and address[1:].isdigit()
    return address if is_number and address not in _STAND_INS else ""


def is_withheld(address: str) -> bool:
    """Whether the caller does not say who it is: no address, or a word in place of one."""
    user = address.casefold().removeprefix("sip:").partition("@")[0]
    return not user or user in _WITHHELD or address in _STAND_INS


def country(address: str) -> str:
    """The two letters of a number's country; "" when it does not tell."""
    regions, national = _regions(address)
    if len(regions) == 1 and 2 <= len(national) <= _LONGEST_NATIONAL:
        # Most country codes are of one country: no need to take the number apart.
        return regions[0]
    try:
        parsed = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException:
        return ""
    return phonenumbers.region_code_for_number(parsed) or ""


@cache
def prepare_countries() -> None:
    """Load what tells apart the countries that share a code (+1, +7, +44): 0.1 s, once."""
    for regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.values():
        for region in regions if len(regions) > 1 else ():
            example = phonenumbers.example_number(region)
            if example is not None:
                country(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164))


def _regions(address: str) -> tuple[tuple[str, ...], str]:
    """The countries of an E.164 number's code, and what follows the code; () when it has none."""
    digits = address[1:]
    if address[:1] == "+" and digits.isascii() and digits.isdigit():
        for length in (1, 2, 3):
            regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length]))
            if regions is not None:
                return regions, digits[length:]
    return (), ""
