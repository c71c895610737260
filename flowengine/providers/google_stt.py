"""Google as the engine's speech to text: Gemini writes down what it hears, by utterance.

Our own gate cuts the caller's utterances; each goes whole to `streamGenerateContent`, and the words
come as they are written. Gemini is a language model: it is told to write down and nothing else, at
temperature 0, and a reply that says there was nothing to hear is no words. Live transcription over
a socket (`BidiGenerateContent`) always has the model answer as well, and bill for it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final

from flowengine.events import Json
from flowengine.ports import LlmEnd, LlmText, SttEvent, SttRequest, SttSession
from flowengine.providers.faults import fault
from flowengine.providers.google_content import quick
from flowengine.providers.google_llm import DEFAULT_URL, GoogleHost
from flowengine.providers.utterances import Heard, UtteranceSession, wav

NOTHING: Final = "[silence]"
_RULE: Final = (
    "You are a transcriber of phone calls. Write down word for word what is said in the audio,"
    " with ordinary spelling and punctuation, in the language in which it is said. Write nothing"
    f" else: no remarks, no translation, no answer. If no words are spoken, write {NOTHING}"
)
_OPTIONS: Final = frozenset({"thinkingConfig"})


class GoogleStt:
    """Gemini as ears."""

    name = "google"

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        self._host = GoogleHost(key, base_url)

    async def warm(self) -> None:
        """Open a connection."""
        await self._host.warm()

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> SttSession:
        unknown = sorted(set(request.options) - _OPTIONS)
        if unknown:
            raise fault("bad_request", f"knows no option {', '.join(unknown)}", self.name)
        await self._host.reach(request.model)

        async def recognise(audio: bytes, so_far: Callable[[str], None]) -> Heard:
            text, heard = "", None
            events = self._host.answer(request.model, transcription(request, audio), {})
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, LlmText):
                        text += event.text
                        if not NOTHING.startswith(text.strip()):
                            so_far(text)
                    elif isinstance(event, LlmEnd):
                        heard = Heard("" if text.strip() == NOTHING else text, event.usage)
            if heard is None:
                raise fault("dropped", "broke off", self.name)
            return heard

        return UtteranceSession(self.name, request, hear, recognise)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._host.aclose()


def transcription(request: SttRequest, audio: bytes) -> Mapping[str, Json]:
    """What is asked of an utterance (µ-law)."""
    rule = _RULE
    if request.language:
        rule += f" Most likely it is in {request.language}."
    if request.keyterms:
        rule += f" These words may occur: {', '.join(request.keyterms)}."
    data = base64.b64encode(wav(audio)).decode()
    return {
        "systemInstruction": {"parts": [{"text": rule}]},
        "contents": [
            {"role": "user", "parts": [{"inlineData": {"mimeType": "audio/wav", "data": data}}]}
        ],
        "generationConfig": {"temperature": 0, **quick(request.model), **request.options},
    }
