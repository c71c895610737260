"""A simulated caller that behaves as Twilio does: the engine cannot tell it from the real one.

It posts the signed voice webhook, follows the TwiML that comes back, opens the media stream, sends
a frame every 20 ms in real time, plays what it is sent in real time and echoes marks. A script
drives it like a person: listen, say, press, hang up. It keeps its own record of what was really
played, and measures what a caller notices.

    phone = Phone("http://127.0.0.1:8080", auth_token)
    async with phone.call("+15550100", "+15550199") as call:
        await call.hears()
        await call.say(babble(1500))
        await call.hears()
    print(call.report())
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from flowengine.errors import FlowengineError
from flowengine.media.g711 import ULAW_BYTES_PER_MS, ULAW_SILENCE
from flowengine.media.recording import Recorder
from flowengine.testing.phone_audio import (
    FRAME_BYTES,
    SILENT_FRAME,
    frames_of,
    is_audible,
)
from flowengine.testing.phone_measures import CallReport, Measures
from flowengine.testing.phone_route import DialPlan, PlacedCall, Route, Webhooks
from flowengine.testing.phone_stream import PhoneStream, StreamHooks
from flowengine.testing.phone_ticker import Ticker
from flowengine.testing.phone_twiml import Verb

__all__ = ["Clear", "DialPlan", "Mark", "Phone", "PhoneCall", "PhoneError", "PlacedCall"]

HANG_UP_LIMIT_S = 20.0
"""How long a call may take to end after the caller has hung up."""

_KEY_GAP_MS = 200
_SAVE_BYTES = 10_000 * ULAW_BYTES_PER_MS


class PhoneError(FlowengineError):
    """What a script waited for did not happen."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that was sent back; `played_bytes` is how long the record `played` was then."""

    name: str
    was_played: bool
    at_ms: float
    played_bytes: int


@dataclass(frozen=True, slots=True)
class Clear:
    """A `clear`: how much it threw away, and how long the record `played` was then."""

    dropped_bytes: int
    at_ms: float
    played_bytes: int


@dataclass(slots=True, eq=False)
class _Utterance:
    frames: deque[tuple[bytes, bool]]
    done: asyncio.Future[None]
    has_begun: bool = False


@dataclass(slots=True)
class _Wait:
    is_over: Callable[[float], bool]
    done: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Phone:
    """Somebody who can call the engine at `base_url`; many calls at a time if wished."""

    def __init__(
        self, base_url: str, auth_token: str, *, background: Sequence[bytes] = (SILENT_FRAME,)
    ) -> None:
        """`background`: the frames, over and over, that are sent while the caller is silent."""
        self._webhooks = Webhooks(base_url.rstrip("/"), auth_token)
        self._ticker = Ticker()
        self._background = background

    @asynccontextmanager
    async def call(
        self, from_: str, to: str, *, dials: Sequence[DialPlan] = ()
    ) -> AsyncIterator[PhoneCall]:
        """Ring, and hang up at the end of the block.

        Each transfer takes the next of `dials`; without one it is answered and over at once.
        Raises PhoneError(`no_answer`) when the voice webhook is not answered with TwiML.
        """
        async with self._webhooks as webhooks:
            call = PhoneCall(webhooks, self._ticker, (from_, to), dials, self._background)
            await call.ring()
            try:
                yield call
            finally:
                await call.hang_up()

    @asynccontextmanager
    async def answers(
        self, placed: PlacedCall, *, dials: Sequence[DialPlan] = ()
    ) -> AsyncIterator[PhoneCall]:
        """Take a call that the engine had made, and hang up at the end of the block."""
        numbers = (placed.from_number, placed.to_number)
        async with self._webhooks as webhooks:
            call = PhoneCall(webhooks, self._ticker, numbers, dials, self._background, placed)
            await call.ring()
            ended = asyncio.create_task(call.hang_up_when(placed.hung_up))
            try:
                yield call
            finally:
                ended.cancel()
                await call.hang_up()

    async def misses(self, placed: PlacedCall, status: str = "no-answer") -> None:
        """Let a call that the engine had made ring in vain; `status` as Twilio reports it."""
        numbers = (placed.from_number, placed.to_number)
        async with self._webhooks as webhooks:
            await PhoneCall(webhooks, self._ticker, numbers, (), self._background, placed).miss(
                status
            )


class PhoneCall:
    """One call, as the caller's script sees it. `spoken` and `played` run side by side."""

    def __init__(
        self,
        webhooks: Webhooks,
        ticker: Ticker,
        numbers: tuple[str, str],
        dials: Sequence[DialPlan],
        background: Sequence[bytes],
        placed: PlacedCall | None = None,
    ) -> None:
        self.ended = asyncio.Event()
        self.spoken = bytearray()
        """The caller's side from the first ring on, silence included."""
        self.played = bytearray()
        """What he heard in the same time."""
        self.marks: list[Mark] = []
        self.clears: list[Clear] = []
        self.began_at_ms: float | None = None
        """The loop's time at the first frame of `spoken` and `played`, in ms."""
        self.measures = Measures()
        hooks = StreamHooks(self._cleared, self._marked, self.measures.faults.append)
        self._route = Route(webhooks, numbers, dials, hooks, self._stream_changed, placed)
        self._ticker = ticker
        self._background = cycle(background)
        self._mouth: deque[_Utterance] = deque()
        self._waits: list[_Wait] = []
        self._following: asyncio.Task[None] | None = None
        self._now_ms = _now_ms()
        self._heard_from = 0
        self._has_heard = False

    # --- what a script does ---

    async def say(self, audio: bytes) -> None:
        """Speak µ-law audio in real time; returns when the last frame has been sent.

        A caller who is not through yet (no stream is open) waits until he is.
        """
        frames = deque((frame, is_audible(frame)) for frame in frames_of(audio))
        utterance = _Utterance(frames, asyncio.get_running_loop().create_future())
        self._check_goes_on("say something")
        self._mouth.append(utterance)
        try:
            await utterance.done
        finally:
            if utterance in self._mouth:
                self._mouth.remove(utterance)
        self._forget_heard()

    async def press(self, keys: str) -> None:
        """Press keys, one after the other."""
        await self.connected()
        for number, key in enumerate(keys):
            if number:
                await self.pause(_KEY_GAP_MS)
            if self._route.stream is not None:
                self._route.stream.send_digit(key)
            self.measures.key_pressed(_now_ms())
        self._forget_heard()

    async def connected(self, limit_s: float = 15.0) -> None:
        """Wait until a media stream is open."""
        await self._wait("the media stream", limit_s, lambda now_ms: self.is_connected)

    async def hears_speech(self, *, what: str = "the bot to speak", limit_s: float = 15.0) -> None:
        """Wait until the bot has begun to speak since the caller last said or heard something."""
        await self._wait(what, limit_s, lambda now_ms: self._has_heard)

    async def hears(
        self, quiet_ms: int = 700, *, what: str = "the bot to finish", limit_s: float = 30.0
    ) -> bytes:
        """Wait until the bot has spoken and then been quiet; returns what was heard.

        Counts from the end of what the caller last said, pressed or heard; what a `clear` cut off
        does not count. When the stream or the call ends, what was heard is returned at once.
        """

        def is_quiet(now_ms: float) -> bool:
            heard = self.measures.bot_heard_at_ms
            if not self._has_heard or heard is None:
                return False
            stream = self._route.stream
            if stream is None or not stream.is_open:
                return True
            return now_ms - heard >= quiet_ms and not stream.playout.has_speech

        await self._wait(what, limit_s, is_quiet)
        audio = bytes(self.played[self._heard_from :])
        self._forget_heard()
        return audio

    async def pause(self, duration_ms: float) -> None:
        """Say nothing for a while."""
        until_ms = _now_ms() + duration_ms
        await self._wait("time to pass", duration_ms / 1000 + 30, lambda now_ms: now_ms >= until_ms)

    async def hang_up(self) -> None:
        """Put the receiver down, and wait until the call is over. Idempotent."""
        if self._following is None:
            return
        self._route.hang_up()
        try:
            async with asyncio.timeout(HANG_UP_LIMIT_S):
                await asyncio.shield(self._following)
        except TimeoutError as error:
            self._following.cancel()
            raise PhoneError("no_end", f"The call did not end in {HANG_UP_LIMIT_S} s.") from error

    async def hang_up_when(self, ended: asyncio.Event) -> None:
        """Let the carrier end the call once it was told to."""
        await ended.wait()
        self._route.hang_up()

    async def miss(self, status: str) -> None:
        """Do not answer."""
        await self._route.miss(status)

    async def over(self, limit_s: float = 30.0) -> None:
        """Wait until the engine has ended the call."""
        try:
            async with asyncio.timeout(limit_s):
                await self.ended.wait()
        except TimeoutError as error:
            raise _waited("the call to end", limit_s) from error

    @property
    def call_sid(self) -> str:
        return self._route.call_sid

    @property
    def verbs(self) -> Sequence[Verb]:
        """TwiML verbs in the order in which they were followed."""
        return self._route.verbs

    @property
    def is_connected(self) -> bool:
        return self._route.stream is not None and self._route.stream.is_open

    @property
    def stream(self) -> PhoneStream:
        """The open stream, for scripts that misbehave."""
        if self._route.stream is None:
            raise PhoneError("no_stream", "No media stream is open.")
        return self._route.stream

    def report(self) -> CallReport:
        """What the caller noticed."""
        return self.measures.report()

    def save(self, path: Path) -> None:
        """Write both sides to a stereo WAV, the caller left."""
        with path.open("wb") as file:
            recorder = Recorder(file)
            for start in range(0, len(self.spoken), _SAVE_BYTES):
                end = min(start + _SAVE_BYTES, len(self.spoken))
                at_ms = start // ULAW_BYTES_PER_MS
                recorder.caller(at_ms, bytes(self.spoken[start:end]))
                recorder.bot(at_ms, bytes(self.played[start:end]))
                recorder.advance(end // ULAW_BYTES_PER_MS)
            recorder.close()

    # --- its beginning and end ---

    async def ring(self) -> None:
        """Post the voice webhook and begin to follow what comes back."""
        verbs = await self._route.ring()
        if verbs is None:
            raise PhoneError("no_answer", self.measures.faults[-1], where="/twilio/voice")
        self._ticker.add(self._tick)
        self._following = asyncio.create_task(self._follow(verbs))

    async def _follow(self, verbs: list[Verb]) -> None:
        try:
            await self._route.follow(verbs)
        finally:
            self._end()

    def _end(self) -> None:
        self._ticker.remove(self._tick)
        self.ended.set()
        for utterance in self._mouth:
            if not utterance.done.done():
                utterance.done.set_exception(_call_over("the caller had finished speaking"))
        for wait in self._waits:
            if wait.done.done():
                continue
            if wait.is_over(self._now_ms):
                wait.done.set_result(None)
            else:
                wait.done.set_exception(_call_over("what the script waited for"))

    # --- every 20 ms ---

    def _tick(self, now_ms: float) -> None:
        self._now_ms = now_ms
        if self.began_at_ms is None:
            self.began_at_ms = now_ms
        frame, is_loud = SILENT_FRAME, False
        stream = self._route.stream
        heard = b""
        if stream is not None and stream.is_open:
            frame, is_loud = self._next_frame()
            stream.send_frame(frame)
            heard = stream.play_frame()
            self.measures.played(now_ms, len(heard), ends_at_mark=stream.playout.ends_at_mark)
        bot_is_loud = is_audible(heard)
        if is_loud or bot_is_loud:
            begins = is_loud and self.measures.is_new_utterance
            more = begins and stream is not None and stream.playout.has_speech
            self.measures.frame(now_ms, caller=is_loud, bot=bot_is_loud, more=more)
        self.spoken += frame
        self.played += heard.ljust(FRAME_BYTES, ULAW_SILENCE)
        if bot_is_loud:
            self._has_heard = True
        self._close_utterance()
        if self._waits:
            self._check_waits(now_ms)

    def _next_frame(self) -> tuple[bytes, bool]:
        if not self._mouth:
            return next(self._background), False
        utterance = self._mouth[0]
        if not utterance.has_begun:
            utterance.has_begun = True
            self.measures.utterance_started()
        return utterance.frames.popleft() if utterance.frames else (next(self._background), False)

    def _close_utterance(self) -> None:
        if self._mouth and self._mouth[0].has_begun and not self._mouth[0].frames:
            utterance = self._mouth.popleft()
            self.measures.utterance_ended()
            if not utterance.done.done():
                utterance.done.set_result(None)

    def _check_waits(self, now_ms: float) -> None:
        for wait in tuple(self._waits):
            if not wait.done.done() and wait.is_over(now_ms):
                wait.done.set_result(None)

    # --- small things ---

    async def _wait(self, what: str, limit_s: float, is_over: Callable[[float], bool]) -> None:
        if is_over(self._now_ms):
            return
        self._check_goes_on(what)
        wait = _Wait(is_over)
        self._waits.append(wait)
        try:
            async with asyncio.timeout(limit_s):
                await wait.done
        except TimeoutError as error:
            raise _waited(what, limit_s) from error
        finally:
            self._waits.remove(wait)

    def _check_goes_on(self, what: str) -> None:
        if self.ended.is_set():
            raise _call_over(what)

    def _forget_heard(self) -> None:
        self._has_heard = False
        self._heard_from = len(self.played)

    def _stream_changed(self) -> None:
        if self._route.stream is not None:
            self.measures.stream_started(_now_ms())
        self._check_waits(_now_ms())

    def _cleared(self, dropped: int) -> None:
        now_ms = _now_ms()
        self.measures.cleared(now_ms)
        self.clears.append(Clear(dropped, now_ms, len(self.played)))
        if dropped:
            self._forget_heard()

    def _marked(self, name: str, was_played: bool) -> None:
        self.marks.append(Mark(name, was_played, _now_ms(), len(self.played)))


def _now_ms() -> float:
    return asyncio.get_running_loop().time() * 1000


def _waited(what: str, limit_s: float) -> PhoneError:
    return PhoneError("waited_too_long", f"Waited {limit_s:g} s for {what}.")


def _call_over(what: str) -> PhoneError:
    return PhoneError("call_over", f"The call was over before {what}.")
