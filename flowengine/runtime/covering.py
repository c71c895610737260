"""A phrase for a caller who waits too long for what the LLM will say.

Pure part of the actor. Its wait is `cover`: it runs from the moment that an answer is asked for to
the answer's first sound, through failovers, hedges and tools. The phrase is at hand (it is a static
prompt), so that no vendor who is late can delay it; it is said once a turn, before an answer of
which nothing was sent yet. The LLM does not see it: they are not its words, and it would copy them.
"""

from __future__ import annotations

from flowengine.runtime.context import Context
from flowengine.runtime.speaking import Speaking

COVER = "cover"
"""The name of the wait."""
COVER_MS = 2500


class Covering:
    """Covers the silence of one answer at a time."""

    def __init__(self, context: Context, speaking: Speaking) -> None:
        self._context = context
        self._speaking = speaking
        self._place = 0
        """The generation of the first request for this answer: the phrase can stand there, before
        all that the answer says."""

    def begin(self) -> None:
        """Another answer is waited for."""
        self._place = 0
        self._context.waits.stop(COVER)

    def asked(self, generation: int) -> None:
        """The LLM was asked; later rounds of the same answer change nothing."""
        if not self._place:
            self._place = generation
            self._context.waits.start(COVER, self._context.now_ms, COVER_MS)

    def sounds(self, generation: int) -> None:
        """The line has audio of this utterance; if it is the answer's, the wait is over."""
        if self._place and generation > self._place:
            self._context.waits.stop(COVER)

    def fill(self, *, caller_is_speaking: bool) -> None:
        """The wait is over: say the phrase, or wait again while somebody speaks."""
        context, speaking = self._context, self._speaking
        owed_ms = speaking.owed_ms
        if caller_is_speaking or speaking.is_paused or owed_ms:
            context.waits.start(COVER, context.now_ms, owed_ms + COVER_MS)
        else:
            speaking.cover(self._place)
