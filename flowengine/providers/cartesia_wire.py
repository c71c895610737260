"""What Cartesia's sockets share: the version that is spoken, who asks, and its error message.

All of it is plain `websockets`; its SDK is the other side in the tests. Source: its pages on API
conventions and API errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flowengine.errors import ProviderError
from flowengine.events import Json
from flowengine.providers.faults import fault, of_status, of_word

NAME: Final = "cartesia"
DEFAULT_URL: Final = "https://api.cartesia.ai"
VERSION: Final = "2026-08-14"
"""Of the API, as cartesia 4.2 asks for it."""


def headers(key: str) -> dict[str, str]:
    """The headers of every handshake."""
    return {"Authorization": f"Bearer {key}", "Cartesia-Version": VERSION}


def error_of(body: Mapping[str, Json]) -> ProviderError:
    """The error that a message of type `error` tells; its own sentence may hold what was said."""
    word = str(body.get("error_code") or "")
    status = body.get("status_code")
    known = of_status(status, NAME, word) if isinstance(status, int) else of_word(word, NAME)
    return fault(known.code, f"reported {word or 'an error'} (status {status})", NAME)
