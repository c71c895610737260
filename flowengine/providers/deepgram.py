"""Deepgram as the engine's speech to text: `/v1/listen` for nova models, `/v2/listen` for Flux.

The request's model decides. Flux hears the end of a turn itself, and foresees it. Its text to
speech stands in `deepgram_speak`.
"""

from __future__ import annotations

from collections.abc import Callable

from flowengine.ports import SttEvent, SttRequest
from flowengine.providers import deepgram_flux, deepgram_nova
from flowengine.providers.deepgram_speak import DeepgramTts
from flowengine.providers.deepgram_stream import DeepgramSession
from flowengine.providers.settings import ProviderSettings, socket_url
from flowengine.providers.sockets import open_socket

DEFAULT_URL = "https://api.deepgram.com"


class DeepgramStt:
    """Deepgram as the engine's speech to text."""

    name = "deepgram"

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        self._headers = {"Authorization": f"Token {key}"}
        self._url = socket_url(base_url)

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> DeepgramSession:
        is_flux = request.model.startswith("flux-")
        if is_flux:
            path = f"v2/listen?{deepgram_flux.listen_query(request)}"
            wire = deepgram_flux.wire_of(request)
        else:
            path = f"v1/listen?{deepgram_nova.listen_query(request)}"
            wire = deepgram_nova.wire_of(request)
        socket = await open_socket(f"{self._url}/{path}", self._headers, self.name)
        reader = deepgram_flux.FluxEars(hear) if is_flux else deepgram_nova.ears_of(request, hear)
        return DeepgramSession(socket, request.model, hear, wire, reader)


def make_stt(settings: ProviderSettings) -> DeepgramStt:
    """Make the process's Deepgram from its settings."""
    return DeepgramStt(settings.key("deepgram"), settings.base_url("deepgram", DEFAULT_URL))


def make_tts(settings: ProviderSettings) -> DeepgramTts:
    """Make the process's Deepgram voices from its settings."""
    url = socket_url(settings.base_url("deepgram", DEFAULT_URL))
    return DeepgramTts(settings.key("deepgram"), url)
