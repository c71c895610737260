"""What a flow may know of a call and its caller, from the call's row."""

from __future__ import annotations

from typing import Literal, cast

import phonenumbers

from flowengine.flow.scope import CallFacts
from flowengine.ports import CallRow


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
    return address if address.startswith("+") and address[1:].isdigit() else ""


def country(address: str) -> str:
    """The two letters of a number's country; "" when it does not tell."""
    try:
        parsed = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException:
        return ""
    return phonenumbers.region_code_for_number(parsed) or ""
