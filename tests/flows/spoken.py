"""Spoken calls through the example flows: one engine a flow, fake vendors behind, a phone before.

The vendors' speech carries the number of the text that it says, so that an `Ear` can tell from the
audio alone what a phone is hearing, and scripts wait for words and not for time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flowengine.api.app import create_app
from flowengine.api.server import serve
from flowengine.app import Engine
from flowengine.cli.demo_engines import SetClock
from flowengine.events import Fact, FaultMet, Json, MoveRefused, NodeEntered, UtteranceSpoken
from flowengine.media.g711 import ulaw_to_linear
from flowengine.media.recording import read_wav
from flowengine.ports import BYTES_PER_MS, CallRow, JournalRecord
from flowengine.settings import load_settings
from flowengine.testing.calendar_service import Calendar
from flowengine.testing.phone import DialPlan, Phone, PhoneCall
from flowengine.testing.phone_audio import is_audible
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.openai import Answer, FakeOpenAi
from flowengine.testing.providers.speech import MS_A_CHARACTER, TAGS, speech
from tests.flows.lines import FLOWS, TUESDAY
from tests.runtime.house import AUTH_TOKEN, Vendors, free_port

CALLER, CALLED = "+14155550100", "+14155550199"
SECRETS = {"support_token": "token-of-support", "crm_token": "token-of-crm"}

FRAME_BYTES = 20 * BYTES_PER_MS
_LOWEST_HZ, _STEP_HZ = 300, 50
"""The pitch of tag 0, and of one tag more, in `vendors.speech`. In 20 ms they tell apart."""

_TONES = np.exp(
    2j
    * np.pi
    * (_LOWEST_HZ + _STEP_HZ * np.arange(TAGS))[:, None]
    * np.arange(FRAME_BYTES)
    / (1000 * BYTES_PER_MS)
)


def tag_heard(frame: bytes) -> int | None:
    """The tag that a frame carries; None when it is quiet or holds the end of one text and more.

    As `tag_of` says, but for 20 ms and fast enough for many ears at a time.
    """
    if len(frame) != FRAME_BYTES or not is_audible(frame):
        return None
    samples = np.frombuffer(ulaw_to_linear(frame), dtype="<i2").astype(np.float64)
    power = np.abs(_TONES @ samples) ** 2
    best = int(power.argmax())
    all_of_it = float(samples @ samples) * FRAME_BYTES / 2
    return best if power[best] > 0.8 * all_of_it else None


class Ear:
    """A caller who knows what he is hearing."""

    def __init__(self, call: PhoneCall, said: Sequence[str]) -> None:
        self.call = call
        self._said = said

    async def hears(self, words: str, for_ms: int = 20, limit_s: float = 20.0) -> None:
        """Wait until the phone has played so much of the text that holds these words."""
        looked_at, heard_ms = len(self.call.played), 0

        def has_heard(now_ms: float) -> bool:
            nonlocal looked_at, heard_ms
            while looked_at + FRAME_BYTES <= len(self.call.played):
                tag = tag_heard(bytes(self.call.played[looked_at : looked_at + FRAME_BYTES]))
                looked_at += FRAME_BYTES
                is_it = tag is not None and tag < len(self._said) and words in self._said[tag]
                heard_ms = heard_ms + 20 if is_it else 0
                if heard_ms >= for_ms:
                    return True
            return False

        await self.call._wait(f"“{words}”", limit_s, has_heard)

    async def says(self, duration_ms: int = 900) -> None:
        """Speak; what it means is the next of the recogniser's plan."""
        await self.call.say(speech(duration_ms, 3))


def pieces_played(played: bytes, said: Sequence[str]) -> list[tuple[str, int]]:
    """What was really played: each text with how many ms of it, in order."""
    pieces: list[tuple[str, int]] = []
    was_quiet, last = True, None
    for at in range(0, len(played), FRAME_BYTES):
        frame = bytes(played[at : at + FRAME_BYTES])
        if not is_audible(frame):
            was_quiet = True
            continue
        tag = tag_heard(frame)
        if tag is not None and (was_quiet or tag != last):
            pieces.append((said[tag], 0))
            was_quiet, last = False, tag
        if pieces:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + 20)
    return pieces


@dataclass
class Spoken:
    """One call through one flow, and all that is known of it afterwards."""

    folder: Path
    """Its own, among those of the other calls."""
    vendors: Vendors
    base_url: str
    engine: Engine
    facts: list[tuple[int, Fact]] = field(default_factory=list)
    phone: PhoneCall | None = None
    rows: list[CallRow] = field(default_factory=list)
    journal: list[JournalRecord] = field(default_factory=list)
    office: Office | None = None
    """The flow's customer system, if it has one."""
    calendar: Calendar | None = None

    @asynccontextmanager
    async def call(self, *dials: DialPlan) -> AsyncIterator[Ear]:
        """Ring; the call is over, and all of it is stored, when the block has ended."""
        phone = Phone(self.base_url, AUTH_TOKEN)
        async with phone.call(CALLER, CALLED, dials=dials) as self.phone:
            yield Ear(self.phone, self.said)
        await self.engine.supervisor.drain(10)
        self.rows = await self.engine.store.calls(10)
        for row in self.rows:
            await self.engine.store.written(row.id)
            self.journal += await self.engine.store.journal(row.id)

    @property
    def said(self) -> list[str]:
        return self.vendors.elevenlabs.said

    @property
    def played(self) -> bytes:
        assert self.phone is not None
        return bytes(self.phone.played)

    @property
    def path(self) -> list[str]:
        """The nodes in the order in which they were entered."""
        return [fact.node for fact in self.of(NodeEntered) if fact.by != "resume"]

    @property
    def recording(self) -> Path:
        return self.engine.settings.data / "recordings" / f"{self.rows[0].id}.wav"

    def of(self, kind: type[Any]) -> list[Any]:
        return [fact for _, fact in self.facts if isinstance(fact, kind)]

    def entered_ms(self, node: str) -> int:
        """Call time at which a node was first entered."""
        return next(
            at for at, fact in self.facts if isinstance(fact, NodeEntered) and fact.node == node
        )


def noting(text: str = "", **values: Json) -> Answer:
    """The LLM writes values down, and may say something."""
    return Answer(pieces=(text,) if text else (), tools=(("note", orjson.dumps(values).decode()),))


@asynccontextmanager
async def on_port(app: Any, port: int) -> AsyncIterator[str]:
    """Serve an application on loopback."""
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, "127.0.0.1", port, ready=ready.set_result, stop=stop))
    try:
        yield f"http://127.0.0.1:{await ready}"
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def answering(
    name: str,
    folder: Path,
    *,
    hears: Sequence[str] = (),
    thinks: Sequence[Answer] = (),
    defaults: Mapping[str, str] | None = None,
) -> AsyncIterator[Spoken]:
    """An engine of its own for a flow. `hears`, `thinks`: what recogniser and LLM will say.

    `defaults` replaces the defaults of variables: where the flow's own services listen.
    """
    flow = _copy(name, folder / name, defaults or {})
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        vendors = Vendors(
            await stack.enter_async_context(FakeDeepgram(hears)),
            await stack.enter_async_context(FakeOpenAi(thinks)),
            await stack.enter_async_context(FakeElevenLabs()),
        )
        environment = {
            "FLOWENGINE_DATA": str(folder / name / "data"),
            "FLOWENGINE_PUBLIC_URL": base_url,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            **vendors.environment(),
        }
        facts: list[tuple[int, Fact]] = []
        engine = Engine(
            load_settings(environment),
            flow / "flow.json",
            others=sorted(path for path in flow.glob("*.json") if path.name != "flow.json"),
            secrets=SECRETS,
            allow_private_tools=True,
            watch=lambda call_id, event, at_ms: (
                facts.append((at_ms, event)) if isinstance(event, Fact) else None
            ),
            clock=SetClock(TUESDAY),
        )
        # Without prompts made ahead every text is said once, by a call: tags stay unique.
        await engine.warm(prompts=False)
        await stack.enter_async_context(
            on_port(create_app(engine.carriers, engine.not_ready), port)
        )
        try:
            yield Spoken(folder / name, vendors, base_url, engine, facts)
        finally:
            await engine.close(0)


def _copy(name: str, folder: Path, defaults: Mapping[str, str]) -> Path:
    """The flow as it is shipped, but for where its services listen."""
    folder.mkdir(parents=True)
    for path in (FLOWS / name).glob("*.json"):
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for variable, value in defaults.items():
            if variable in document.get("variables", {}):
                document["variables"][variable]["default"] = value
        (folder / path.name).write_text(json.dumps(document), encoding="utf-8")
    return folder


@dataclass
class Office:
    """The customer systems of support and sales: fixed answers, and what was asked."""

    answers: Mapping[tuple[str, str], Json]
    token: str
    asked: list[tuple[str, str, Json]] = field(default_factory=list)

    def application(self) -> Starlette:
        async def page(request: Request) -> Response:
            if request.headers.get("authorization") != f"Bearer {self.token}":
                return JSONResponse({"error": "no token"}, status_code=401)
            body = orjson.loads(await request.body() or b"null")
            self.asked.append((request.method, request.url.path, body))
            known = self.answers.get((request.method, request.url.path))
            return JSONResponse(known, status_code=404 if known is None else 200)

        return Starlette(routes=[Route("/{rest:path}", page, methods=["GET", "POST"])])


def check_engine_and_vendors(spoken: Spoken) -> None:
    """Nobody broke a protocol, refused a move or met a fault; speech had no holes."""
    assert spoken.phone is not None
    report = spoken.phone.report()
    assert report.faults == ()
    assert report.gaps_ms == ()
    assert spoken.of(MoveRefused) == []
    assert spoken.of(FaultMet) == []
    vendors = spoken.vendors
    assert vendors.deepgram.connections
    assert vendors.elevenlabs.connections
    for vendor in (vendors.deepgram, vendors.openai, vendors.elevenlabs):
        assert vendor.violations == []
    assert not vendors.deepgram.plan
    assert not vendors.openai.plan


def check_what_was_heard(spoken: Spoken) -> None:
    """The phone played what the engine believes; after a cut, one word more at most."""
    assert len(spoken.said) <= TAGS, "tags repeat, so nobody knows what was played"
    pieces = pieces_played(spoken.played, spoken.said)
    played = squeezed("".join(text[: round(ms / MS_A_CHARACTER)] for text, ms in pieces))
    place, slack = 0, 0
    for fact in spoken.of(UtteranceSpoken):
        heard = squeezed(fact.heard)
        if heard:
            found = played.find(heard, place, place + slack + len(heard))
            assert found >= 0, (fact.heard, played[place:])
            place, slack = found + len(heard), 0
        if fact.cut:
            slack += max(map(len, fact.text.split())) + 1
    assert len(played) - place <= slack


def squeezed(text: str) -> str:
    """A text without white space, of which fragments have more and less."""
    return "".join(text.split())


def recorded_ms(spoken: Spoken) -> tuple[int, int]:
    """How many ms of the caller and of the bot are audible in the recording."""
    caller, bot = read_wav(spoken.recording)
    # The caller's frames lie in the recording from wherever his stream began: a grid beside theirs
    # would count the edge of every burst twice.
    aligned = min(audible_ms(caller[shift:]) for shift in range(0, FRAME_BYTES, BYTES_PER_MS))
    return aligned, audible_ms(bot)


def audible_ms(audio: bytes, begin_ms: int = 0, end_ms: int | None = None) -> int:
    """How many ms of a stretch of µ-law audio somebody would hear."""
    end = len(audio) if end_ms is None else end_ms * BYTES_PER_MS
    starts = range(begin_ms * BYTES_PER_MS, end, FRAME_BYTES)
    return 20 * sum(is_audible(audio[at : at + FRAME_BYTES]) for at in starts)
