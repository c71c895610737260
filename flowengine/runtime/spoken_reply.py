"""A reply that the LLM speaks itself: its sound, shared out among the clauses of its text.

Text and sound come side by side and nothing says which belongs to which. A clause gets as much
sound as its text takes to say at an ordinary pace, the last one all the rest; so what of a reply
was heard when the caller breaks in is known about as well as with a voice that gives no times.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Final

from flowengine.ports import BYTES_PER_MS, Clause, SpeechChunk

MS_A_CHARACTER: Final = 62
"""About 16 characters a second, as English voices speak."""


class Shares:
    """Pure: which of the sound goes to which clause, as both come in."""

    def __init__(self) -> None:
        self._clauses: list[Clause] = []
        self._place = 0
        self._given = 0
        """Bytes that the clause at `place` has had."""
        self._waiting = bytearray()
        self._has_all_text = False
        self._has_all_sound = False

    @property
    def is_over(self) -> bool:
        """Everything came and was given out."""
        return self._has_all_text and self._has_all_sound and self._place == len(self._clauses)

    def text(self, clause: Clause) -> list[SpeechChunk]:
        """A clause came."""
        self._clauses.append(clause)
        return self._give()

    def sound(self, audio: bytes) -> list[SpeechChunk]:
        """Sound came."""
        self._waiting += audio
        return self._give()

    def text_over(self) -> list[SpeechChunk]:
        """No clause comes any more."""
        self._has_all_text = True
        return self._give()

    def sound_over(self) -> list[SpeechChunk]:
        """No sound comes any more."""
        self._has_all_sound = True
        return self._give()

    def _give(self) -> list[SpeechChunk]:
        chunks = []
        while self._place < len(self._clauses):
            clause = self._clauses[self._place]
            is_last = self._place == len(self._clauses) - 1
            share = len(clause.text) * MS_A_CHARACTER * BYTES_PER_MS
            # What is over waits for the next clause's text, which comes long before it is due.
            takes_all = is_last and self._has_all_text
            most = len(self._waiting) if takes_all else max(0, share - self._given)
            audio = bytes(self._waiting[:most])
            del self._waiting[:most]
            self._given += len(audio)
            is_full = not is_last and (self._given >= share or self._has_all_sound)
            is_done = is_full or (is_last and self._has_all_text and self._has_all_sound)
            if audio or is_done:
                chunks.append(SpeechChunk(clause.number, audio, last=is_done))
            if not is_done:
                break
            self._place, self._given = self._place + 1, 0
        return chunks


class SpokenReply:
    """The sound of one reply, fed by the LLM's answer and spoken clause by clause."""

    def __init__(self) -> None:
        self._shares = Shares()
        self._chunks: asyncio.Queue[SpeechChunk | None] = asyncio.Queue()
        self._is_ended = False

    def feed(self, audio: bytes) -> None:
        """Sound came."""
        if audio and not self._is_ended:
            self._put(self._shares.sound(audio))

    def end(self) -> None:
        """No more comes. Idempotent."""
        if not self._is_ended:
            self._is_ended = True
            self._put(self._shares.sound_over())

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        """As `ports.Voice.speak`: every clause ends with a last chunk."""
        reading = asyncio.create_task(self._read(clauses))
        try:
            while not self._shares.is_over or not self._chunks.empty():
                chunk = await self._chunks.get()
                if chunk is not None:
                    yield chunk
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _read(self, clauses: AsyncIterator[Clause]) -> None:
        async for clause in clauses:
            self._put(self._shares.text(clause))
        self._put(self._shares.text_over())

    def _put(self, chunks: list[SpeechChunk]) -> None:
        for chunk in chunks:
            self._chunks.put_nowait(chunk)
        # Whoever waits looks again whether it is over.
        self._chunks.put_nowait(None)
