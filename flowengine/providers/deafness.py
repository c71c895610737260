"""Tells a recogniser that is deaf from a caller who is silent.

A vendor that hears audio sends results all the time, empty ones too (Deepgram with interim results:
about one a second). So when somebody clearly spoke and for seconds not a single message of any kind
came, the vendor is at fault and not the caller, however good the socket looks. Noise does not count
against a vendor that still answers: only its silence does.

Some vendors have words for words only (`Speaks`): their silence after one sound proves nothing. It
is suspicious after `SUSPICIOUS` sounds in a row that are as long as speech; then another one may
listen, and nobody is given up for it, for noise may have been all there was. Sessions that tell
nothing of what they got are not watched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from flowengine.media.gate import SpeechGate

SUSPICIOUS = 2
"""Sounds without a word before a vendor that says nothing of noise is suspected."""
SPEECH_MS = 600
"""A shorter sound may be a cough or a click, of which a vendor may have nothing to say."""


@runtime_checkable
class Answers(Protocol):
    """A session that counts the results that its vendor sent, empty ones too."""

    @property
    def results(self) -> int: ...


@runtime_checkable
class Speaks(Protocol):
    """A session that counts the messages of a vendor which says nothing of noise."""

    @property
    def messages(self) -> int: ...


class DeafnessWatch:
    """Watches one call's recogniser; `deaf` is called when it should have answered and did not,
    `suspected` when it only seems so.

    `answer_ms`: from the gate's end of speech to the first result. `again_ms`: the same for a
    session that was opened in place of a deaf one, from its opening: it is replayed the speech.
    """

    def __init__(
        self,
        deaf: Callable[[], None],
        suspected: Callable[[], None],
        *,
        answer_ms: int,
        again_ms: int,
    ) -> None:
        self._deaf = deaf
        self._suspected = suspected
        self._answer_ms = answer_ms
        self._again_ms = again_ms
        self._gate = SpeechGate()
        self._session: Answers | Speaks | None = None
        self._results = 0
        self._sounds = 0
        """Sounds of the length of speech since the last message."""
        self._suspicious = SUSPICIOUS
        self._timer: asyncio.TimerHandle | None = None
        self.is_second_chance = False
        """The session stands in for one that was deaf, and has not answered yet."""

    def begin(self, session: object) -> None:
        """Watch this session from now on."""
        self.stop()
        self._session = session if isinstance(session, (Answers, Speaks)) else None
        self._results = self._sounds = 0
        if self.is_second_chance:
            self._start(self._again_ms)

    def feed(self, audio: bytes) -> None:
        """Take the caller's audio, as it comes."""
        change = self._gate.feed(audio)
        if change is None or change.ended_ms is None:
            return
        if change.ended_ms - change.began_ms < SPEECH_MS:
            return
        if self._session is None:
            return
        self._sounds += 1
        if self._timer is None:
            if isinstance(self._session, Answers) or self._sounds == 1:
                self._results = _told(self._session)
            self._start(self._answer_ms)

    def stop(self) -> None:
        """Watch nothing."""
        self._session = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, wait_ms: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._look)

    def _look(self) -> None:
        session, self._timer = self._session, None
        if session is None:
            return
        if _told(session) > self._results:
            self.is_second_chance = False
            self._sounds, self._suspicious = 0, SUSPICIOUS
        elif isinstance(session, Answers):
            self._deaf()
        elif self.is_second_chance:
            # What it was replayed may have been no speech after all.
            self.is_second_chance = False
        elif self._sounds >= self._suspicious:
            # If it is noise, it must not go on like this for every second sound of the call.
            self._suspicious *= 2
            self._suspected()


def _told(session: Answers | Speaks) -> int:
    return session.results if isinstance(session, Answers) else session.messages
