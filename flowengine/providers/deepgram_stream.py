"""What Deepgram's two listening protocols share: their session and their key terms.

Number from Deepgram's streaming reference: 500 tokens of key terms at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from websockets.asyncio.client import ClientConnection

from flowengine.ports import SttEvent
from flowengine.providers.listening import ListeningSession, Reader, Wire

NAME: Final = "deepgram"
CLOSE: Final = '{"type":"CloseStream"}'
_KEYTERM_TOKENS: Final = 450


class SettlingReader(Reader, Protocol):
    """A reader that knows how far into the stream the words are final."""

    settled_ms: int
    results: int
    """How many results came, empty ones too."""


class DeepgramSession(ListeningSession):
    """One call's stream at Deepgram, which answers all audio and says what of it is final."""

    replay_speed = 1.25
    """More is not taken (its page on recovering from lost connections)."""

    def __init__(
        self,
        socket: ClientConnection,
        model: str,
        hear: Callable[[SttEvent], None],
        wire: Wire,
        reader: SettlingReader,
    ) -> None:
        super().__init__(socket, model, hear, wire, reader)
        self._settling = reader

    @property
    def settled_bytes(self) -> int:
        """How much of the audio fed so far needs no second hearing."""
        return self.fed_before(self._settling.settled_ms)

    @property
    def results(self) -> int:
        """How many results the vendor sent."""
        return self._settling.results


def fitting(keyterms: tuple[str, ...]) -> list[str]:
    """The first key terms that are sure to be under the vendor's limit of tokens.

    Beyond it the vendor stops transcribing without a word, so fewer are better than all.
    """
    fitting: list[str] = []
    tokens = 0
    for term in keyterms:
        tokens += 1 + len(term.encode()) // 2
        if tokens > _KEYTERM_TOKENS:
            break
        fitting.append(term)
    return fitting
