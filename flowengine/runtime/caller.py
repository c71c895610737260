"""What a flow may know of a call and its caller, from the call's row."""

from __future__ import annotations

from typing import Literal, cast

import phonenumbers

from flowengine.flow.scope import CallFacts
from flowengine.ports import CallRow

_WITHHELD = {"anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"}
_STAND_INS = {"+266696687", "+2562533", "+7378742833", "+86282452253", "+8656696"}
"""Carriers that must give a number spell anonymous, blocked, restricted, unavailable or unknown
on the keys of a phone."""


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
    try:
        parsed = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException:
        return ""
    return phonenumbers.region_code_for_number(parsed) or ""
