"""Whisper on a server of one's own that has OpenAI's `audio/transcriptions`: Speaches, vLLM.

`WHISPER_BASE_URL` says where (Speaches' place on this machine when it is not set); without
`WHISPER_API_KEY` such servers get the word `none`, since the SDK must send one.
"""

from __future__ import annotations

from flowengine.providers.openai_transcription import OpenAiStt
from flowengine.providers.settings import ProviderSettings

DEFAULT_URL = "http://localhost:8000/v1"
_NO_KEY = "none"


def make_stt(settings: ProviderSettings) -> OpenAiStt:
    """Make the process's ears at a server of one's own from its settings."""
    key = settings.values.get("WHISPER_API_KEY", "").strip() or _NO_KEY
    return OpenAiStt(key, settings.base_url("whisper", DEFAULT_URL), "whisper")
