"""ElevenLabs' streaming text to speech as the engine's `Tts`.

A call's `Voice` keeps one `multi-stream-input` socket warm and speaks each utterance as one
context, flushed clause by clause; `ClauseAligner` turns the returned characters into clauses and
words. A server without that endpoint is spoken to over `stream-input` (a socket for each
utterance, the next one opened ahead), and one without sockets over plain HTTP streaming, a
request for each clause; what works is remembered for the process. Its speech to text stands in
`elevenlabs_scribe`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import Clause, SpeechChunk, TtsRequest
from flowengine.providers.alignment import ClauseAligner
from flowengine.providers.bare_audio import Length, check_audio
from flowengine.providers.elevenlabs_scribe import ScribeStt
from flowengine.providers.elevenlabs_tracks import (
    NAME,
    ClausesEnded,
    Frame,
    Inbox,
    MultiSocket,
    MultiTrack,
    SingleTrack,
)
from flowengine.providers.faults import fault, of_status
from flowengine.providers.settings import ProviderSettings, socket_url, web_url
from flowengine.providers.sockets import (
    CONNECT_S,
    hang_up,
    open_socket,
    refused_status,
    tls_context,
)

if TYPE_CHECKING:
    import httpx2

DEFAULT_URL = "https://api.elevenlabs.io"
Way = Literal["multi-stream-input", "stream-input", "stream"]
_WAYS: Final[tuple[Way, ...]] = ("multi-stream-input", "stream-input", "stream")
_REFUSALS: Final = frozenset({400, 403, 404, 405, 426, 501})
_VOICE_OPTIONS: Final = frozenset(
    {"stability", "similarity_boost", "style", "use_speaker_boost", "speed"}
)
_QUERY_OPTIONS: Final = frozenset(
    {"apply_text_normalization", "enable_logging", "enable_ssml_parsing", "seed"}
)
_BODY_OPTIONS: Final = frozenset({"apply_text_normalization", "seed"})
"""Of those, the ones that plain HTTP takes in its body."""
_LOCATORS: Final = "pronunciation_dictionary_locators"
_OPTIONS: Final = _VOICE_OPTIONS | _QUERY_OPTIONS | {"voice_settings", _LOCATORS}
_HTTP_CHUNK_BYTES: Final = 320
_QUIET_ALIGNED_S: Final = 0.2
_QUIET_PLAUSIBLE_S: Final = 0.8
_QUIET_SHORT_S: Final = 2.0
_READ_S: Final = 10.0


class ElevenLabsTts:
    """ElevenLabs at one base URL."""

    name = NAME

    def __init__(self, key: str, base_url: str = DEFAULT_URL) -> None:
        self.headers = {"xi-api-key": key}
        self._sockets_at = socket_url(base_url)
        self._web_at = web_url(base_url)
        self.way: Way = _WAYS[0]
        self._client: httpx2.AsyncClient | None = None

    async def open(self, request: TtsRequest) -> ElevenLabsVoice:
        unknown = sorted(set(request.options) - _OPTIONS)
        if unknown:
            raise fault("bad_request", f"knows no option {', '.join(unknown)}", NAME)
        voice = ElevenLabsVoice(self, request, manner_of(request.options))
        await voice.warm()
        return voice

    async def connect(self, request: TtsRequest) -> ClientConnection | None:
        """Open a socket in the best way that the server has; None means plain HTTP."""
        while self.way != "stream":
            try:
                return await open_socket(self._socket_url(request), self.headers, NAME)
            except ProviderError as error:
                if refused_status(error) not in _REFUSALS:
                    raise
                self.way = _WAYS[_WAYS.index(self.way) + 1]
        return None

    def _socket_url(self, request: TtsRequest) -> str:
        query: dict[str, Json] = {
            "model_id": request.model,
            "output_format": "ulaw_8000",
            "auto_mode": "true",
            "sync_alignment": "true",
            "inactivity_timeout": 180,
            **_language(request),
            **{
                name: str(value).lower() if isinstance(value, bool) else value
                for name, value in request.options.items()
                if name in _QUERY_OPTIONS
            },
        }
        voice = quote(request.voice, safe="")
        return f"{self._sockets_at}/v1/text-to-speech/{voice}/{self.way}?{urlencode(query)}"

    def web_url(self, request: TtsRequest) -> str:
        voice = quote(request.voice, safe="")
        return f"{self._web_at}/v1/text-to-speech/{voice}/stream?output_format=ulaw_8000"

    def client(self) -> httpx2.AsyncClient:
        if self._client is None:
            import httpx2

            self._client = httpx2.AsyncClient(
                verify=tls_context() if self._web_at.startswith("https:") else False,
                timeout=httpx2.Timeout(_READ_S, connect=CONNECT_S),
                limits=httpx2.Limits(max_connections=200, keepalive_expiry=120.0),
            )
        return self._client

    async def aclose(self) -> None:
        """Close the connections of plain HTTP."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


class ElevenLabsVoice:
    """One call's voice."""

    def __init__(
        self, vendor: ElevenLabsTts, request: TtsRequest, manner: Mapping[str, Json]
    ) -> None:
        self._vendor = vendor
        self._request = request
        self._manner = manner
        self._multi: MultiSocket | None = None
        self._ahead: ClientConnection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._characters = 0

    async def warm(self) -> None:
        """Have a socket open, if the way of speaking has one."""
        if self._multi is not None or self._ahead is not None:
            return
        socket = await self._vendor.connect(self._request)
        if socket is None:
            return
        if self._vendor.way == "multi-stream-input":
            self._multi = MultiSocket(socket, self._manner)
        else:
            self._ahead = socket

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        inbox: Inbox = asyncio.Queue()
        track = await self._track(inbox)
        if track is None:
            async for chunk in self._speak_http(clauses):
                yield chunk
            return
        feeding = asyncio.create_task(_feed(clauses, inbox))
        utterance = _Utterance(track, inbox)
        try:
            while not utterance.over:
                for chunk in await utterance.step():
                    yield chunk
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            self._characters += utterance.characters
            await track.drop(finished=utterance.finished)
            self._open_ahead()

    async def close(self) -> Usage | None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._multi is not None:
            await self._multi.close()
            self._multi = None
        if self._ahead is not None:
            await hang_up(self._ahead)
            self._ahead = None
        return Usage(
            NAME, self._request.model, "characters", amount_in=self._characters, estimated=True
        )

    async def _track(self, inbox: Inbox) -> MultiTrack | SingleTrack | None:
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
            self._opening = None
        await self._renew()
        if self._multi is not None:
            return self._multi.track(inbox)
        if self._ahead is not None:
            socket, self._ahead = self._ahead, None
            return SingleTrack(socket, self._manner, inbox)
        return None

    async def _renew(self) -> None:
        """Put a live socket in the place of one that is dead or full."""
        if self._multi is not None and not self._multi.is_usable:
            spent, self._multi = self._multi, None
            await spent.close()
        if self._ahead is not None and self._ahead.state is not State.OPEN:
            gone, self._ahead = self._ahead, None
            await hang_up(gone)
        await self.warm()

    def _open_ahead(self) -> None:
        """Have the next utterance's socket ready before it is wanted."""
        spent = self._multi is not None and not self._multi.is_usable
        if self._opening is None and (spent or self._vendor.way == "stream-input"):
            self._opening = asyncio.create_task(self._renew())

    async def _speak_http(
        self, clauses: AsyncIterator[Clause]
    ) -> AsyncGenerator[SpeechChunk, None]:
        import httpx2

        client = self._vendor.client()
        body: dict[str, Json] = {
            "model_id": self._request.model,
            **_language(self._request),
            **self._manner,
            **{
                name: value
                for name, value in self._request.options.items()
                if name in _BODY_OPTIONS
            },
        }
        async for clause in clauses:
            if not clause.text.strip():
                yield SpeechChunk(clause.number, b"", last=True)
                continue
            self._characters += len(clause.text)
            try:
                async with client.stream(
                    "POST",
                    self._vendor.web_url(self._request),
                    headers=self._vendor.headers,
                    json={"text": clause.text, **body},
                ) as response:
                    if response.status_code != 200:
                        if response.status_code in _REFUSALS:
                            # The sockets were not refused for being sockets.
                            self._vendor.way = _WAYS[0]
                        raise of_status(response.status_code, NAME, headers=response.headers)
                    check_audio(response.headers, NAME)
                    heard = Length(clause.text)
                    async for audio in response.aiter_bytes(_HTTP_CHUNK_BYTES):
                        heard.add(len(audio))
                        yield SpeechChunk(clause.number, audio)
                    heard.check(NAME)
            except httpx2.TimeoutException as error:
                raise fault("stalled", "sends no audio", NAME) from error
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                raise fault("dropped", "lost the connection", NAME) from error
            yield SpeechChunk(clause.number, b"", last=True)


class _Utterance:
    """Drives one utterance over a track: text out, frames in, and when it is over."""

    def __init__(self, track: MultiTrack | SingleTrack, inbox: Inbox) -> None:
        self._track = track
        self._inbox = inbox
        self._aligner = ClauseAligner()
        self._ended = False
        self.finished = False
        self.over = False
        self.characters = 0

    async def step(self) -> list[SpeechChunk]:
        """Wait for the next thing to happen; returns the chunks that come of it."""
        try:
            async with asyncio.timeout(self._patience_s()):
                item = await self._inbox.get()
        except TimeoutError:
            return await self._quiet()
        if isinstance(item, Frame):
            return self._frame(item)
        if isinstance(item, Clause):
            return await self._say(item)
        if isinstance(item, ClausesEnded):
            return await self._no_more()
        if self._ended and not self._aligner.owes:
            self.over = True
            return []
        if self.finished and self._aligner.is_plausible:
            return self._done()
        raise item

    def _patience_s(self) -> float | None:
        """How long a silence of the vendor tells that it has nothing left to say."""
        aligner = self._aligner
        if not aligner.owes or not aligner.has_begun:
            return None
        if aligner.is_spoken:
            return _QUIET_ALIGNED_S
        if self.finished:
            return _QUIET_SHORT_S
        if self._ended or aligner.is_plausible:
            return _QUIET_PLAUSIBLE_S
        return _QUIET_SHORT_S

    async def _quiet(self) -> list[SpeechChunk]:
        if self._ended and not self.finished and not self._aligner.is_spoken:
            self.finished = True
            await self._track.finish()
            return []
        if self._ended:
            return self._done()
        return self._aligner.settle()

    async def _say(self, clause: Clause) -> list[SpeechChunk]:
        chunks = self._aligner.give(clause)
        if clause.text.strip():
            self.characters += len(clause.text)
            await self._track.say(clause.text)
        return chunks

    async def _no_more(self) -> list[SpeechChunk]:
        self._ended = True
        if not self._aligner.owes:
            self.over = True
        elif self._track.finishes_at_end:
            self.finished = True
            await self._track.finish()
        return []

    def _frame(self, frame: Frame) -> list[SpeechChunk]:
        chunks = self._aligner.take(frame.audio, frame.alignment)
        if frame.final:
            if self.finished and self._aligner.lacks_audio:
                raise fault("dropped", "ended before all was said", NAME)
            chunks += self._aligner.settle(only_heard=not self.finished)
        if self._ended and not self._aligner.owes:
            self.over = True
        return chunks

    def _done(self) -> list[SpeechChunk]:
        self.over = True
        return self._aligner.settle()


async def _feed(clauses: AsyncIterator[Clause], inbox: Inbox) -> None:
    try:
        async for clause in clauses:
            inbox.put_nowait(clause)
    finally:
        inbox.put_nowait(ClausesEnded())


def manner_of(options: Mapping[str, Json]) -> dict[str, Json]:
    """What goes with the first text: settings of the voice and dictionaries of pronunciation.

    A flow writes the settings of the voice as options of their own (`stability` …), as the
    vendor does (`voice_settings`), or both. Raises ProviderError(`bad_request`).
    """
    whole = options.get("voice_settings", {})
    if not isinstance(whole, Mapping) or set(whole) - _VOICE_OPTIONS:
        known = ", ".join(sorted(_VOICE_OPTIONS))
        raise fault("bad_request", f"needs voice_settings with {known} only", NAME)
    locators = options.get(_LOCATORS, [])
    if not isinstance(locators, list) or not all(map(_is_locator, locators)):
        what = f"needs {_LOCATORS} as a list of pronunciation_dictionary_id and version_id"
        raise fault("bad_request", what, NAME)
    own = {name: value for name, value in options.items() if name in _VOICE_OPTIONS}
    manner: dict[str, Json] = {}
    if whole or own:
        manner["voice_settings"] = {**whole, **own}
    if locators:
        manner[_LOCATORS] = locators
    return manner


def _is_locator(value: Json) -> bool:
    return (
        isinstance(value, dict)
        and bool(value.get("pronunciation_dictionary_id"))
        and set(value) <= {"pronunciation_dictionary_id", "version_id"}
    )


def _language(request: TtsRequest) -> dict[str, Json]:
    """The language, for models that take one; others refuse the request that names it."""
    takes = any(part in request.model for part in ("_v2_5", "_v3", "_v4"))
    if not takes or not request.language:
        return {}
    return {"language_code": request.language.split("-")[0].lower()}


def make_tts(settings: ProviderSettings) -> ElevenLabsTts:
    """Make the process's ElevenLabs from its settings."""
    return ElevenLabsTts(settings.key("elevenlabs"), settings.base_url("elevenlabs", DEFAULT_URL))


def make_stt(settings: ProviderSettings) -> ScribeStt:
    """Make the process's Scribe from its settings."""
    url = socket_url(settings.base_url("elevenlabs", DEFAULT_URL))
    return ScribeStt(settings.key("elevenlabs"), url)
