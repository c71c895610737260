"""Cartesia: Sonic speaks and Ink hears. The key is `CARTESIA_API_KEY`; nothing needs its SDK."""

from __future__ import annotations

from flowengine.providers.cartesia_ink import CartesiaStt
from flowengine.providers.cartesia_speech import CartesiaTts
from flowengine.providers.cartesia_wire import DEFAULT_URL, NAME
from flowengine.providers.settings import ProviderSettings, socket_url


def make_stt(settings: ProviderSettings) -> CartesiaStt:
    """Make the process's Cartesia from its settings."""
    return CartesiaStt(settings.key(NAME), socket_url(settings.base_url(NAME, DEFAULT_URL)))


def make_tts(settings: ProviderSettings) -> CartesiaTts:
    """Make the process's Cartesia voices from its settings."""
    return CartesiaTts(settings.key(NAME), socket_url(settings.base_url(NAME, DEFAULT_URL)))
