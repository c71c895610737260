"""The three vendors in a process of their own, with set delays, that note when they did what.

Started by `bench.processes.Vendors`; one JSON object a line on stdin and stdout. Times are the
machine's monotonic clock in ms, the same in every process.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import uvloop

from bench import tickets
from flowengine.events import Json
from flowengine.testing.providers.deepgram import FakeDeepgram
from flowengine.testing.providers.deepgram_flux import FluxHabits
from flowengine.testing.providers.elevenlabs import FakeElevenLabs
from flowengine.testing.providers.openai import Answer, FakeOpenAi, chunks, saying
from flowengine.testing.providers.serving import FakeVendor, Fault
from flowengine.testing.providers.speech import MS_A_CHARACTER, TAGS, speech

STT_MS = 100
"""How late the recogniser says what it knows, on top of the quiet that it waits for."""
HEARS_OUT_MS = {"nova-3": 100, "nova-3-late": 0, "flux-general-en": 0}
"""By the way of hearing: from the last sound to the interim that has all the words; 0: none has."""
FLUX_EAGER_MS, FLUX_END_MS = 60, 200
"""Quiet after which Flux foresees a turn's end, and is sure of it: 160 and 300 ms with `STT_MS`."""
FIRST_TOKEN_MS = 350
TOKEN_MS = 12.5
FIRST_AUDIO_MS = 150

_PIECE_CHARS = 12


class Stamps:
    """When each vendor did its part for a ticket; the first time counts."""

    def __init__(self) -> None:
        self.at: dict[int, dict[str, float]] = {}
        self.said: dict[int, list[str]] = {}
        """What the voice was asked to say, by the ticket that it names."""

    def note(self, ticket: int | None, what: str) -> None:
        if ticket is not None:
            self.at.setdefault(ticket, {}).setdefault(what, time.monotonic() * 1000)


class BenchDeepgram(FakeDeepgram):
    """Hears tickets."""

    def __init__(self, stamps: Stamps) -> None:
        super().__init__(delay_ms=STT_MS)
        self.hears_out_ms = HEARS_OUT_MS["nova-3"]
        self.flux = FluxHabits(FLUX_EAGER_MS, FLUX_END_MS)
        self._stamps = stamps

    def words(self, audio: bytes, *, final: bool) -> str:
        ticket = tickets.heard(audio)
        if ticket is None:
            return "" if final else "My ticket is"
        return tickets.caller_says(ticket)

    def sending(self, body: dict[str, Json]) -> None:
        text = ""
        if body.get("is_final"):
            channel: Any = body["channel"]
            text = channel["alternatives"][0]["transcript"]
        elif body.get("event") == "EndOfTurn":
            text = str(body["transcript"])
        self._stamps.note(tickets.named_in(text), "final")


class BenchOpenAi(FakeOpenAi):
    """Answers the ticket that the caller's last words name."""

    def __init__(self, stamps: Stamps) -> None:
        super().__init__(answer=self._agree)
        self._stamps = stamps

    def _agree(self, body: Json) -> Answer:
        ticket = _asked(body)
        self._stamps.note(ticket, "asked")
        return saying("Which ticket do you mean?" if ticket is None else tickets.agent_says(ticket))

    async def _stream(self, body: Json, answer: Answer) -> AsyncGenerator[bytes, None]:
        ticket = _asked(body)
        loop = asyncio.get_running_loop()
        due = loop.time() + FIRST_TOKEN_MS / 1000
        for chunk in chunks(body, answer):
            choices: Any = chunk["choices"]
            content = choices[0]["delta"].get("content") if choices else None
            if content:
                await asyncio.sleep(max(0.0, due - loop.time()))
                due += TOKEN_MS / 1000
                self._stamps.note(ticket, "first_token")
                if content.rstrip().endswith((".", "?")):
                    self._stamps.note(ticket, "clause")
            yield b"data: " + orjson.dumps(chunk) + b"\n\n"
        yield b"data: [DONE]\n\n"


class BenchElevenLabs(FakeElevenLabs):
    """Sounds the ticket that a text names."""

    def __init__(self, stamps: Stamps) -> None:
        super().__init__(first_byte_ms=FIRST_AUDIO_MS)
        self._stamps = stamps

    def pieces(self, text: str) -> list[tuple[str, bytes]]:
        ticket = tickets.named_in(text)
        self._stamps.said.setdefault(ticket or 0, []).append(text)
        audio = tickets.sounding(ticket or 0, len(text) * MS_A_CHARACTER)
        self._stamps.note(ticket, "audio")
        size = _PIECE_CHARS * MS_A_CHARACTER * 8
        return [
            (text[at : at + _PIECE_CHARS], audio[nth * size : (nth + 1) * size])
            for nth, at in enumerate(range(0, len(text), _PIECE_CHARS))
        ]


def _asked(body: Json) -> int | None:
    """The ticket of the caller's last words."""
    users = [message for message in body["messages"] if message["role"] == "user"]
    return tickets.named_in(str(users[-1]["content"])) if users else None


class Desk:
    """Takes commands: `hears` (how the recogniser does), `faults` (a vendor misbehaves), `take`
    (what was noted since).
    """

    def __init__(self) -> None:
        self._stamps = Stamps()
        self._openai = BenchOpenAi(self._stamps)
        self._elevenlabs = BenchElevenLabs(self._stamps)
        self._deepgram = BenchDeepgram(self._stamps)
        self._vendors: dict[str, FakeVendor] = {
            "deepgram": self._deepgram,
            "openai": self._openai,
            "elevenlabs": self._elevenlabs,
        }

    async def run(self) -> None:
        for tag in range(TAGS):
            speech(20, tag)  # a pitch is made once; not while a caller waits for it
        for vendor in self._vendors.values():
            await vendor.start()
        self._say({name: vendor.url for name, vendor in self._vendors.items()})
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            self._say(self._obey(orjson.loads(line)))
        for vendor in self._vendors.values():
            await vendor.stop()

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "hears":
            self._deepgram.hears_out_ms = HEARS_OUT_MS[command["as"]]
            return {}
        if command["do"] == "faults":
            vendor = self._vendors[command["vendor"]]
            vendor.faults.clear()
            if command["kind"]:
                fault = Fault(command["kind"], command["after"], command["status"])
                vendor.faults.extend([fault] * command["times"])
            return {}
        taken = {
            "stamps": {str(ticket): at for ticket, at in self._stamps.at.items()},
            "said": {str(ticket): texts for ticket, texts in self._stamps.said.items()},
            "requests": self._openai.requests[:],
            "violations": {
                name: sorted(set(vendor.violations)) for name, vendor in self._vendors.items()
            },
            "connections": {name: vendor.connections for name, vendor in self._vendors.items()},
        }
        self._stamps.at.clear()
        self._stamps.said.clear()
        self._openai.requests.clear()
        self._deepgram.audio.clear()
        for vendor in self._vendors.values():
            vendor.violations.clear()
        return taken

    @staticmethod
    def _say(body: dict[str, Any]) -> None:
        sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    """Be the vendors until stdin ends."""
    uvloop.run(Desk().run())
