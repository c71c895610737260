"""OpenAI's live transcription (`wss://…/v1/realtime?intent=transcription`) for one call.

Two ways, by the model. Where the vendor finds the turns (`server_vad`), all audio goes to it and
its silence is our endpointing. Models without that (`gpt-live-transcribe`, `gpt-realtime-whisper`)
get speech only, as our own gate finds it, and a commit where it ends: so quiet costs nothing and
has no words made up for it. Plain `websockets`, as for all sockets of the hot path; µ-law as it
is. Source: OpenAI's guide to realtime transcription and its reference of client events.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from flowengine.errors import ProviderError
from flowengine.events import EndpointReached, HearingFailed, Json, Usage
from flowengine.media.gate import SpeechGate
from flowengine.ports import BYTES_PER_MS, SttEvent, SttHints, SttRequest
from flowengine.providers.deafness import SPEECH_MS
from flowengine.providers.faults import fault, of_word
from flowengine.providers.openai_live_items import Commit, LiveEars
from flowengine.providers.openai_transcripts import check_options, hints
from flowengine.providers.settings import socket_url
from flowengine.providers.sockets import CONNECT_S, SEND_S, hang_up, of_close, open_socket, send
from flowengine.providers.utterances import (
    ANSWER_S,
    DIGITS_ENDPOINTING_MS,
    PREROLL_MS,
    Utterance,
    Utterances,
)

_OPTIONS: Final = frozenset({"delay", "live", "noise_reduction", "prompt", "threshold"})
_WITHOUT_TURNS: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")
_BATCH_BYTES: Final = 40 * BYTES_PER_MS
_SPEECH_BATCH_BYTES: Final = 20 * BYTES_PER_MS
"""While the caller speaks: what waits here is added to the time to the end of his turn."""
_LOOK_S: Final = 1.0
_FINALIZE_S: Final = 2.0


def is_live(request: SttRequest) -> bool:
    """Whether a model is asked over the socket: by its name, or by the option `live`."""
    return request.model.startswith(_WITHOUT_TURNS) or request.options.get("live") is True


async def open_live(
    base_url: str, key: str, provider: str, request: SttRequest, hear: Callable[[SttEvent], None]
) -> LiveSession:
    """Open a session that the vendor has accepted. Raises ProviderError."""
    check_options(request, _OPTIONS, provider)
    # The model is the session's: one in the URL would make it a conversation.
    url = f"{socket_url(base_url)}/realtime?intent=transcription"
    socket = await open_socket(url, {"Authorization": f"Bearer {key}"}, provider)
    accepted = False
    try:
        await send(socket, session_update(request, patient=False), provider)
        await _accepted(socket, provider)
        accepted = True
    finally:
        if not accepted:
            await hang_up(socket)
    return LiveSession(socket, provider, request, hear)


async def _accepted(socket: ClientConnection, provider: str) -> None:
    try:
        async with asyncio.timeout(CONNECT_S):
            while True:
                body = orjson.loads(await socket.recv())
                if body["type"] == "session.updated":
                    return
                if body["type"] == "error":
                    error = body["error"]
                    raise of_word(f"{error.get('code')} {error.get('type')}", provider)
    except TimeoutError as error:
        raise fault("deadline", "did not take the session in time", provider) from error
    except ConnectionClosed as closed:
        raise of_close(closed, provider) from closed
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise fault("protocol", "sent a message that cannot be read", provider) from error


def session_update(request: SttRequest, *, patient: bool) -> str:
    """The session as we want it; `patient`: a short pause ends no turn."""
    options = request.options
    transcription: dict[str, Json] = {"model": request.model, **hints(request)}
    if "delay" in options:
        transcription["delay"] = options["delay"]
    detection: dict[str, Json] | None = None
    if not request.model.startswith(_WITHOUT_TURNS):
        least_ms = DIGITS_ENDPOINTING_MS if patient else 0
        detection = {
            "type": "server_vad",
            "prefix_padding_ms": PREROLL_MS,
            "silence_duration_ms": max(request.endpointing_ms, least_ms),
        }
        if "threshold" in options:
            detection["threshold"] = options["threshold"]
    heard: dict[str, Json] = {
        "format": {"type": "audio/pcmu"},
        "transcription": transcription,
        "turn_detection": detection,
    }
    if "noise_reduction" in options:
        heard["noise_reduction"] = {"type": options["noise_reduction"]}
    session = {"type": "transcription", "audio": {"input": heard}}
    return orjson.dumps({"type": "session.update", "session": session}).decode()


class LiveSession:
    """One call's stream. A broken socket is reported once as `HearingFailed`."""

    replay_speed = 4.0
    """The buffer is the client's to fill; this much keeps the words coming while it is replayed."""

    def __init__(
        self,
        socket: ClientConnection,
        provider: str,
        request: SttRequest,
        hear: Callable[[SttEvent], None],
    ) -> None:
        self._socket = socket
        self._provider = provider
        self._request = request
        self._hear = hear
        self._ears = LiveEars(hear, provider, request.model)
        self._gate = SpeechGate()
        self._signs_before = 0
        self._utterances: Utterances | None = None
        """Our own ends of turns, where the vendor finds none."""
        if request.model.startswith(_WITHOUT_TURNS):
            self._utterances = Utterances(request.endpointing_ms)
        self._streamed = 0
        """How much of the open utterance is on its way."""
        self._patient = False
        self._held = bytearray()
        self._outbox: list[str] = []
        self._wake = asyncio.Event()
        self._fed_bytes = 0
        self._sent_bytes = 0
        self._commits = 0
        self._failed = False
        self._closing = False
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._sending_since: float | None = None
        self._owing_since: float | None = None
        self._looking = loop.call_later(_LOOK_S, self._look)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        self._finalizing: asyncio.Task[None] | None = None

    @property
    def settled_bytes(self) -> int:
        """How much of the audio fed so far needs no second hearing."""
        return min(self._ears.settled_ms * BYTES_PER_MS, self._fed_bytes)

    def feed(self, audio: bytes) -> None:
        if self._failed or self._closing:
            return
        self._fed_bytes += len(audio)
        if self._utterances is None:
            self._watch(audio)
            self._hold(audio)
            return
        for happened in self._utterances.feed(audio):
            if isinstance(happened, Utterance):
                self._end(happened)
            else:
                self._hear(happened)
        fresh = self._utterances.since(self._streamed)
        self._streamed += len(fresh)
        self._hold(fresh)

    def hint(self, hints: SttHints) -> None:
        if self._utterances is not None:
            self._utterances.patient = hints.digits
        elif hints.digits != self._patient:
            self._patient = hints.digits
            self._command(session_update(self._request, patient=hints.digits))

    def finalize(self) -> None:
        if self._failed or self._closing:
            return
        self._ears.finalized.clear()
        utterance = None if self._utterances is None else self._utterances.finalize()
        if utterance is not None:
            self._end(utterance)
        elif self._ears.is_hearing or self._gate.speaking:
            self._commit(endpoint=True)
        elif not self._ears.owes:
            self._hear(EndpointReached())
        if self._ears.owes and (self._finalizing is None or self._finalizing.done()):
            self._finalizing = asyncio.create_task(self._await_final())

    async def close(self) -> Usage | None:
        if not self._closing:
            self._closing = True
            self._looking.cancel()
            tasks = [*self._tasks, *([self._finalizing] if self._finalizing else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await hang_up(self._socket)
        used = self._ears.used
        if used is None:
            heard_ms = self._sent_bytes // BYTES_PER_MS
            model = self._request.model
            return Usage(self._provider, model, "audio_ms", heard_ms, estimated=heard_ms > 0)
        return replace(used, estimated=self._ears.owes or self._ears.has_untold)

    def _end(self, utterance: Utterance) -> None:
        """Our gate found the end of an utterance."""
        self._hold(utterance.audio[self._streamed :])
        was_streamed, self._streamed = self._streamed > 0, 0
        if utterance.audio:
            self._commit(endpoint=utterance.endpoint, end_bytes=utterance.end_bytes)
            return
        if was_streamed:
            self._held.clear()
            self._command('{"type":"input_audio_buffer.clear"}')
        if utterance.endpoint and not self._ears.owes:
            self._hear(EndpointReached())

    def _commit(self, *, endpoint: bool, end_bytes: int | None = None) -> None:
        self._commits += 1
        end_ms = (self._fed_bytes if end_bytes is None else end_bytes) // BYTES_PER_MS
        commit = Commit(f"commit_{self._commits}", endpoint, end_ms)
        self._ears.committed(commit)
        kind = "input_audio_buffer.commit"
        self._command(f'{{"type":"{kind}","event_id":"{commit.event_id}"}}')

    def _watch(self, audio: bytes) -> None:
        """Somebody clearly spoke and the vendor said nothing: have it show that it lives.

        What our gate takes for speech may be noise to the vendor; its silence alone tells nothing.
        """
        change = self._gate.feed(audio)
        if change is None:
            return
        if change.ended_ms is None:
            self._signs_before = self._ears.signs
        elif (
            change.ended_ms - change.began_ms >= SPEECH_MS
            and self._ears.signs == self._signs_before
        ):
            self._probe()

    def _probe(self) -> None:
        """Ask for what is always answered: the session as it is."""
        if not self._ears.probes:
            self._ears.probes += 1
            self._command(session_update(self._request, patient=self._patient))

    def _hold(self, audio: bytes) -> None:
        self._held += audio
        hearing = self._ears.is_hearing or self._utterances is not None
        if len(self._held) >= (_SPEECH_BATCH_BYTES if hearing else _BATCH_BYTES):
            self._pack()

    def _pack(self) -> None:
        if self._held:
            audio = base64.b64encode(self._held).decode()
            self._outbox.append(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')
            self._sent_bytes += len(self._held)
            self._held.clear()
            self._wake.set()

    def _command(self, text: str) -> None:
        """Send a command behind the audio that was fed before it."""
        self._pack()
        self._outbox.append(text)
        self._wake.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                messages, self._outbox = self._outbox, []
                for message in messages:
                    self._sending_since = self._clock()
                    await self._socket.send(message)
                self._sending_since = None
        except ConnectionClosed as closed:
            self._fail(of_close(closed, self._provider))

    async def _read(self) -> None:
        try:
            while True:
                error = self._ears.read(await self._socket.recv())
                self._owing_since = None
                if error is not None:
                    self._fail(error)
                    return
        except ConnectionClosed as closed:
            self._fail(of_close(closed, self._provider))

    def _look(self) -> None:
        """Once a second: a send that hangs, words that are owed and do not come."""
        now = self._clock()
        hears_quiet = self._ears.is_hearing and not self._gate.speaking
        if not (self._ears.owes or hears_quiet):
            self._owing_since = None
        elif self._owing_since is None:
            self._owing_since = now
        elif now - self._owing_since >= ANSWER_S:
            if self._ears.owes:
                self._fail(fault("stalled", "owes words and says nothing", self._provider))
                return
            self._owing_since = now
            self._probe()
        if self._sending_since is not None and now - self._sending_since >= SEND_S:
            self._fail(fault("stalled", "takes no more audio", self._provider))
            return
        self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    async def _await_final(self) -> None:
        try:
            async with asyncio.timeout(_FINALIZE_S):
                await self._ears.finalized.wait()
        except TimeoutError:
            self._ears.end_turn()

    def _fail(self, error: ProviderError) -> None:
        if self._failed:
            return
        self._failed = True
        self._looking.cancel()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if not self._closing:
            self._hear(HearingFailed(error.code))
