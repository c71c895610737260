"""OpenAI's speech to text as the engine's `Stt`, and that of compatible hosts.

The request's model decides: models that transcribe live are asked over a socket
(`openai_live_transcription`), the others by utterance over `POST /v1/audio/transcriptions`, as any
Whisper server has it. OpenAI's own models stream the words; all else answers in one piece, and a
host that streams nothing though asked is understood.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import orjson

from flowengine.events import Json
from flowengine.ports import SttEvent, SttRequest, SttSession
from flowengine.providers.connections import read_out
from flowengine.providers.faults import fault, of_word
from flowengine.providers.openai_client import DEFAULT_URL, OpenAiClient, openai_faults
from flowengine.providers.openai_live_transcription import is_live, open_live
from flowengine.providers.openai_transcripts import check_options, hints, usage_of
from flowengine.providers.sse import SseReader
from flowengine.providers.utterances import Heard, UtteranceSession, wav

_OPTIONS: Final = frozenset({"prompt", "temperature", "live"})


class OpenAiStt:
    """A host that hears."""

    def __init__(self, key: str, base_url: str = DEFAULT_URL, name: str = "openai") -> None:
        self.name = name
        self._key = key
        self._client = OpenAiClient(name, key, base_url)

    async def warm(self) -> None:
        """Import the SDK and open a connection."""
        await self._client.warm()

    async def open(self, request: SttRequest, hear: Callable[[SttEvent], None]) -> SttSession:
        if is_live(request):
            return await open_live(self._client.base_url, self._key, self.name, request, hear)
        check_options(request, _OPTIONS, self.name)
        await self._client.reach()
        transcriber = _Transcriber(self._client, request)
        return UtteranceSession(self.name, request, hear, transcriber.recognise)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class _Transcriber:
    """Turns utterances into words."""

    def __init__(self, client: OpenAiClient, request: SttRequest) -> None:
        self._client = client
        self._model = request.model
        self._asked: dict[str, Any] = {"model": request.model, **hints(request)}
        if "temperature" in request.options:
            self._asked["temperature"] = request.options["temperature"]
        if request.model.startswith("gpt-"):
            self._asked["stream"] = True

    async def recognise(self, audio: bytes, so_far: Callable[[str], None]) -> Heard:
        answer = _Answer(self._client.provider, self._model, so_far)
        with openai_faults(self._client.provider, answer):
            transcriptions = self._client.sdk.audio.transcriptions.with_streaming_response
            file = ("speech.wav", wav(audio), "audio/wav")
            async with transcriptions.create(file=file, **self._asked) as response:
                if "event-stream" not in response.headers.get("content-type", ""):
                    return answer.whole(await response.read())
                return await _streamed(response.iter_bytes(), answer)


class _Answer:
    """Reads the answer to one file, whole or as events."""

    def __init__(self, provider: str, model: str, so_far: Callable[[str], None]) -> None:
        self.provider = provider
        self._model = model
        self._so_far = so_far
        self._text = ""
        self.began = False

    def whole(self, body: bytes) -> Heard:
        try:
            return self._heard(orjson.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise fault("protocol", "sent no readable transcript", self.provider) from error

    def read(self, data: bytes) -> Heard | None:
        """Take one event's data; returns the transcript when it is complete."""
        try:
            event = orjson.loads(data)
            self.began = True
            kind = event.get("type")
            if kind == "transcript.text.done" or event.get("error"):
                return self._heard(event)
            if kind == "transcript.text.delta":
                self._text += event["delta"]
                self._so_far(self._text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise fault("protocol", "sent an event that cannot be read", self.provider) from error
        return None

    def _heard(self, body: dict[str, Json]) -> Heard:
        error = body.get("error")
        if error:
            raise of_word(f"{error.get('code')} {error.get('type')}", self.provider)
        text = body["text"]
        if not isinstance(text, str):
            raise TypeError("a text that is none")
        return Heard(text, usage_of(body.get("usage"), self.provider, self._model))


async def _streamed(pieces: AsyncIterator[bytes], answer: _Answer) -> Heard:
    body = SseReader()
    async for piece in pieces:
        for data in body.read(piece):
            heard = None if data == b"[DONE]" else answer.read(data)
            if heard is not None:
                await read_out(pieces)
                return heard
    raise fault("dropped" if answer.began else "protocol", "broke off", answer.provider)
