"""What the runtime of a call asks for by name: providers, recordings, tools.

`app` makes these from settings; nothing in `runtime` knows a vendor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from flowengine.events import Json
from flowengine.flow.defaults import LlmUse, SttUse, TtsUse
from flowengine.ports import Llm, Stt, Tts
from flowengine.runtime.audio_files import AudioFiles
from flowengine.runtime.prompts import PromptCache
from flowengine.runtime.tools import ToolRunner


class Vendors(Protocol):
    """Supervised providers, made once for a process. All raise ConfigError or ProviderError."""

    def stt(self, use: SttUse) -> Stt: ...

    def llm(self, provider: str, fallback: Sequence[Mapping[str, Json]]) -> Llm: ...

    def tts(self, use: TtsUse) -> Tts: ...

    def hears(self, use: LlmUse) -> bool:
        """Whether the LLM, or one of its fallbacks, hears the caller and speaks by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What all calls of a process share."""

    vendors: Vendors
    prompts: PromptCache
    audio: AudioFiles
    tools: ToolRunner
