"""Text and JSON that both databases can hold: what a request may carry into the store."""

from __future__ import annotations

from typing import Annotated

import orjson
from pydantic import AfterValidator

from flowengine.events import Json

MOST_JSON_BYTES = 65_536
MOST_DOCUMENT_BYTES = 2 * 1024 * 1024


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _storable(most: int) -> AfterValidator:
    def check(value: dict[str, Json]) -> dict[str, Json]:
        try:
            text = orjson.dumps(value)
        except (TypeError, ValueError) as error:
            # Lone surrogates, integers over 64 bits, nesting without end.
            raise ValueError("holds what is no plain JSON") from error
        if len(text) > most:
            raise ValueError(f"has more than {most} bytes")
        if b"\\u0000" in text:
            raise ValueError("holds a NUL character")
        return value

    return AfterValidator(check)


PlainText = Annotated[str, AfterValidator(_without_nul)]
JsonObject = Annotated[dict[str, Json], _storable(MOST_JSON_BYTES)]
Document = Annotated[dict[str, Json], _storable(MOST_DOCUMENT_BYTES)]
"""A flow or a routing table."""
