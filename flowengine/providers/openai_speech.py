"""OpenAI's text to speech (`POST /v1/audio/speech`), and that of compatible hosts, as a `Tts`.

One request for each clause, streamed as PCM at 24 kHz and turned into phone audio as it comes; the
next clause's request runs while one is spoken, so there is no gap between them. The vendor has no
alignment. Models that bill tokens (`gpt-…`) are asked for events (`stream_format: sse`), whose
last one tells the usage; a host that answers with plain audio all the same is understood. All else
is billed by the characters of its input. Source: OpenAI's reference of `audio/speech`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

import orjson

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.media.g711 import linear_to_ulaw
from flowengine.ports import Clause, SpeechChunk, TtsRequest
from flowengine.providers.bare_audio import Length, check_audio
from flowengine.providers.connections import read_out
from flowengine.providers.faults import fault, of_word
from flowengine.providers.openai_client import DEFAULT_URL, OpenAiClient, openai_faults
from flowengine.providers.sse import SseReader

_OPTIONS: Final = frozenset({"instructions", "speed"})
_SPEEDS: Final = (0.25, 4.0)
_AT_ONCE: Final = 2
"""Requests under way: the clause that is spoken, and the next."""


_PCM_TO_ULAW: Final = 6
"""Bytes of 16-bit audio at 24 kHz for one of µ-law at 8 kHz."""


class OpenAiTts:
    """A host that speaks."""

    def __init__(self, key: str, base_url: str = DEFAULT_URL, name: str = "openai") -> None:
        self.name = name
        self._client = OpenAiClient(name, key, base_url)

    async def warm(self) -> None:
        """Import what speaking needs and open a connection."""
        from flowengine.media import resample  # noqa: F401

        await self._client.warm()

    async def open(self, request: TtsRequest) -> OpenAiVoice:
        return OpenAiVoice(self._client, request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class OpenAiVoice:
    """One call's voice. Raises ProviderError(`bad_request`) for options that are none."""

    def __init__(self, client: OpenAiClient, request: TtsRequest) -> None:
        self._client = client
        self._asked: dict[str, Any] = {
            "model": request.model,
            "voice": request.voice,
            "response_format": "pcm",
            **_options(request.options, client.provider),
        }
        self._bills_tokens = request.model.startswith("gpt-")
        if self._bills_tokens:
            self._asked["stream_format"] = "sse"
        self._model = request.model
        self._characters = 0
        self._told_characters = 0
        """Of them: those of requests whose tokens are known."""
        self._tokens_in = 0
        self._tokens_out = 0

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        takes = asyncio.Queue[_Take | None]()
        free = asyncio.Semaphore(_AT_ONCE)
        running: list[asyncio.Task[None]] = []

        async def ask() -> None:
            try:
                async for clause in clauses:
                    await free.acquire()
                    take = _Take(clause)
                    running.append(asyncio.create_task(self._record(take)))
                    takes.put_nowait(take)
            finally:
                takes.put_nowait(None)

        asking = asyncio.create_task(ask())
        try:
            while (take := await takes.get()) is not None:
                async with aclosing(take.chunks()) as chunks:
                    async for chunk in chunks:
                        yield chunk
                free.release()
            await asyncio.gather(asking, *running)
        finally:
            asking.cancel()
            for task in running:
                task.cancel()
            await asyncio.gather(asking, *running, return_exceptions=True)

    async def close(self) -> Usage | None:
        name, model = self._client.provider, self._model
        if not self._told_characters:
            return Usage(name, model, "characters", self._characters, estimated=self._bills_tokens)
        # A request that was cut tells no tokens; it used them all the same.
        share = self._characters / self._told_characters
        return Usage(
            name,
            model,
            "tokens",
            amount_in=round(self._tokens_in * share),
            amount_out=round(self._tokens_out * share),
            audio_out=round(self._tokens_out * share),
            estimated=self._characters != self._told_characters,
        )

    async def _record(self, take: _Take) -> None:
        """Have a clause spoken; what goes wrong is raised when its turn to be heard comes."""
        text = take.clause.text
        if not text.strip():
            take.end()
            return
        self._characters += len(text)
        try:
            with openai_faults(self._client.provider, take):
                speech = self._client.sdk.audio.speech.with_streaming_response
                async with speech.create(input=text, **self._asked) as response:
                    pieces = response.iter_bytes()
                    if "event-stream" in response.headers.get("content-type", ""):
                        await self._read_events(pieces, take)
                    else:
                        check_audio(response.headers, self._client.provider)
                        heard = Length(text, float(self._asked.get("speed", 1.0)))
                        async for pcm in pieces:
                            heard.add(len(pcm) // _PCM_TO_ULAW)
                            take.hear(pcm)
                        heard.check(self._client.provider)
                        self._end(take)
        except ProviderError as error:
            take.fail(error)

    def _end(self, take: _Take) -> None:
        if not take.began:
            raise fault("protocol", "answered without audio", self._client.provider)
        take.end()

    async def _read_events(self, pieces: AsyncIterator[bytes], take: _Take) -> None:
        """Read a body of server-sent events up to the one that tells its end."""
        provider = self._client.provider
        body = SseReader()
        async for piece in pieces:
            for data in body.read(piece):
                if data != b"[DONE]" and self._is_last(data, take):
                    self._end(take)
                    await read_out(pieces)
                    return
        raise fault("dropped" if take.began else "protocol", "broke off", provider)

    def _is_last(self, data: bytes, take: _Take) -> bool:
        provider = self._client.provider
        try:
            event = orjson.loads(data)
            error = event.get("error")
            if error:
                raise of_word(f"{error.get('code')} {error.get('type')}", provider)
            if event["type"] == "speech.audio.delta":
                take.hear(base64.b64decode(event["audio"], validate=True))
            if event["type"] != "speech.audio.done":
                return False
            usage = event.get("usage")
            if usage:
                self._tokens_in += int(usage["input_tokens"])
                self._tokens_out += int(usage["output_tokens"])
                self._told_characters += len(take.clause.text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise fault("protocol", "sent an event that cannot be read", provider) from error
        return True


class _Take:
    """One clause's audio: as it comes in, and as it is spoken."""

    def __init__(self, clause: Clause) -> None:
        from flowengine.media.resample import Stream24to8

        self.clause = clause
        self.began = False
        self._inbox = asyncio.Queue[SpeechChunk | ProviderError]()
        self._resampler = Stream24to8()

    def hear(self, pcm: bytes) -> None:
        """Take linear audio at 24 kHz; a sample may lie in two pieces."""
        if not pcm:
            return
        self.began = True
        audio = linear_to_ulaw(self._resampler.feed(pcm))
        if audio:
            self._inbox.put_nowait(SpeechChunk(self.clause.number, audio))

    def end(self) -> None:
        rest = linear_to_ulaw(self._resampler.finish()) if self.began else b""
        self._inbox.put_nowait(SpeechChunk(self.clause.number, rest, last=True))

    def fail(self, error: ProviderError) -> None:
        self._inbox.put_nowait(error)

    async def chunks(self) -> AsyncGenerator[SpeechChunk, None]:
        """What is spoken, up to the last chunk; raises ProviderError where the audio broke."""
        while True:
            item = await self._inbox.get()
            if isinstance(item, ProviderError):
                raise item
            yield item
            if item.last:
                return


def _options(options: Mapping[str, Json], provider: str) -> dict[str, Json]:
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise fault("bad_request", f"knows no option {', '.join(unknown)}", provider)
    if not isinstance(options.get("instructions", ""), str):
        raise fault("bad_request", "the option instructions is no text", provider)
    speed = options.get("speed", 1.0)
    least, most = _SPEEDS
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not least <= speed <= most:
        raise fault("bad_request", f"the option speed is not in {least} to {most}", provider)
    return dict(options)
